// Invitations to a team: the mail has a link; the app of the team accepts by POST.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS invitations (token text PRIMARY KEY, team text NOT NULL, email text NOT NULL,
    accepted_at timestamptz);
  CREATE TABLE IF NOT EXISTS members (id bigserial PRIMARY KEY, team text NOT NULL, email text NOT NULL);
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

async function invite({ team, email }) {
  const token = randomBytes(12).toString("hex");
  await pool.query("INSERT INTO invitations (token, team, email) VALUES ($1, $2, $3)", [token, team, email]);
  return [201, { token, team }];
}

async function accept(_body, token) {
  return transaction(async (db) => {
    const { rows } = await db.query(
      "UPDATE invitations SET accepted_at = now() WHERE token = $1 AND accepted_at IS NULL RETURNING team, email",
      [token],
    );
    if (rows.length === 0) return [409, { error: "this invitation does not exist or was accepted" }];
    await db.query("INSERT INTO members (team, email) VALUES ($1, $2)", [rows[0].team, rows[0].email]);
    return [200, { joined: rows[0].team }];
  });
}

async function showState(_body, token) {
  const { rows } = await pool.query("SELECT accepted_at FROM invitations WHERE token = $1", [token]);
  if (rows.length === 0) return [404, { error: "no such invitation" }];
  return [200, { state: rows[0].accepted_at ? "accepted" : "open" }];
}

async function listMembers(_body, team) {
  const { rows } = await pool.query("SELECT email FROM members WHERE team = $1 ORDER BY id", [team]);
  return [200, { members: rows.map((row) => row.email) }];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/invitations$/, invite],
  // The link of the mail. Fix: answer it with showState (a page with a button that POSTs).
  ["GET", /^\/invitations\/(\w+)$/, accept],
  ["POST", /^\/invitations\/(\w+)\/accept$/, accept],
  ["GET", /^\/invitations\/(\w+)\/state$/, showState],
  ["GET", /^\/teams\/([\w-]+)\/members$/, listMembers],
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
