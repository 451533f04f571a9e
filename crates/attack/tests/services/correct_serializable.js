// Gift cards of a shop, correct: SERIALIZABLE transactions, retried when PostgreSQL says so.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS accounts (id text PRIMARY KEY, open boolean NOT NULL DEFAULT true);
  CREATE TABLE IF NOT EXISTS cards (code text PRIMARY KEY, amount int NOT NULL, state text NOT NULL DEFAULT 'active');
  CREATE TABLE IF NOT EXISTS credits (id bigserial PRIMARY KEY, account text NOT NULL, code text NOT NULL,
    amount int NOT NULL);
`;

const SERIALIZATION_FAILURE = "40001";
const DEADLOCK_DETECTED = "40P01";

async function serializable(work) {
  for (;;) {
    const db = await pool.connect();
    try {
      await db.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
      const result = await work(db);
      await db.query("COMMIT");
      return result;
    } catch (error) {
      await db.query("ROLLBACK");
      if (error.code !== SERIALIZATION_FAILURE && error.code !== DEADLOCK_DETECTED) throw error;
    } finally {
      db.release();
    }
  }
}

async function openAccount() {
  const id = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO accounts (id) VALUES ($1)", [id]);
  return [201, { id }];
}

async function changeAccount({ open }, id) {
  await pool.query("UPDATE accounts SET open = $2 WHERE id = $1", [id, open]);
  return [200, { id, open }];
}

async function issueCard({ amount }) {
  const code = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO cards (code, amount) VALUES ($1, $2)", [code, amount]);
  return [201, { code }];
}

async function redeem({ account }, code) {
  return serializable(async (db) => {
    const cards = await db.query("SELECT amount, state FROM cards WHERE code = $1", [code]);
    if (cards.rows.length === 0) return [404, { error: "no such card" }];
    const { amount, state } = cards.rows[0];
    if (state !== "active") return [409, { error: `the card is ${state}` }];
    const accounts = await db.query("SELECT open FROM accounts WHERE id = $1", [account]);
    if (!accounts.rows[0]?.open) return [422, { error: "the account is closed" }];
    await db.query("UPDATE cards SET state = 'redeemed' WHERE code = $1", [code]);
    await db.query("INSERT INTO credits (account, code, amount) VALUES ($1, $2, $3)", [account, code, amount]);
    return [200, { code, amount }];
  });
}

async function showCard(_body, code) {
  const { rows } = await pool.query("SELECT amount, state FROM cards WHERE code = $1", [code]);
  return rows.length === 1 ? [200, { code, ...rows[0] }] : [404, { error: "no such card" }];
}

async function listCredits(_body, account) {
  const { rows } = await pool.query("SELECT code, amount FROM credits WHERE account = $1 ORDER BY id", [account]);
  return [200, { credits: rows }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/accounts$/, openAccount],
  ["PUT", /^\/accounts\/(\w+)$/, changeAccount],
  ["POST", /^\/cards$/, issueCard],
  ["POST", /^\/cards\/(\w+)\/redeem$/, redeem],
  ["GET", /^\/cards\/(\w+)$/, showCard],
  ["GET", /^\/accounts\/(\w+)\/credits$/, listCredits],
];

async function readJson(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

async function answer(request, response) {
  let [status, reply] = [404, { error: "not found" }];
  try {
    const body = await readJson(request);
    for (const [method, pattern, handler] of routes) {
      const match = method === request.method && pattern.exec(request.url);
      if (match) {
        [status, reply] = await handler(body, match[1], request);
        break;
      }
    }
  } catch (error) {
    console.error(error);
    [status, reply] = [500, { error: "internal error" }];
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(reply));
}

pool.query(schema).then(() => http.createServer(answer).listen(Number(process.env.PORT), "127.0.0.1"));
