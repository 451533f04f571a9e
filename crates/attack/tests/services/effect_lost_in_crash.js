// Credits for training runs: an order is confirmed once, and the customer gets the credits shortly afterwards.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, credits int NOT NULL, confirmed_at timestamptz);
  CREATE TABLE IF NOT EXISTS grants (id bigserial PRIMARY KEY, order_id text NOT NULL, credits int NOT NULL);
`;

const queue = [];
let working = false;

async function work() {
  if (working) return;
  working = true;
  while (queue.length > 0) {
    const { id, credits } = queue.shift();
    try {
      await pool.query("INSERT INTO grants (order_id, credits) VALUES ($1, $2)", [id, credits]);
    } catch (error) {
      console.error(error);
    }
  }
  working = false;
}

async function createOrder({ credits }) {
  const id = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO orders (id, credits) VALUES ($1, $2)", [id, credits]);
  return [201, { id }];
}

async function confirmOrder(_body, id) {
  const { rows } = await pool.query(
    "UPDATE orders SET confirmed_at = now() WHERE id = $1 AND confirmed_at IS NULL RETURNING credits",
    [id],
  );
  if (rows.length === 0) return [409, { error: "no such order, or it was confirmed before" }];
  // What is in this queue dies with the process. Fix: insert the grant in the statement above (WITH … INSERT).
  queue.push({ id, credits: rows[0].credits });
  setImmediate(work);
  return [202, { id, credits: rows[0].credits }];
}

async function showOrder(_body, id) {
  const { rows } = await pool.query("SELECT credits, confirmed_at FROM orders WHERE id = $1", [id]);
  if (rows.length === 0) return [404, { error: "no such order" }];
  return [200, { id, credits: rows[0].credits, state: rows[0].confirmed_at ? "confirmed" : "open" }];
}

async function listGrants(_body, id) {
  const { rows } = await pool.query("SELECT credits FROM grants WHERE order_id = $1 ORDER BY id", [id]);
  return [200, { grants: rows }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/orders$/, createOrder],
  ["POST", /^\/orders\/(\w+)\/confirm$/, confirmOrder],
  ["GET", /^\/orders\/(\w+)$/, showOrder],
  ["GET", /^\/orders\/(\w+)\/grants$/, listGrants],
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
