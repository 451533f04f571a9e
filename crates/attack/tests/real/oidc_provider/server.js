// An authorization server with oidc-provider: its own adapter in memory, or one on PostgreSQL if DATABASE_URL is set.
"use strict";

const http = require("node:http");
const pg = require("pg");
const { Provider } = require("oidc-provider");

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const pool = process.env.DATABASE_URL && new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
if (pool) {
  pool.on("error", (error) => console.error(error.message));
  pool.on("connect", (db) => db.on("error", (error) => console.error(error.message)));
}
const callback = "https://shop.example/callback";

// The adapter that the documentation asks for; deleted rows stay, so that they can be counted.
class PostgresAdapter {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    await pool.query(
      `INSERT INTO oidc (model, id, payload, grant_id, uid, expires_at)
       VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second')
       ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
      [this.model, id, payload, payload.grantId, payload.uid, expiresIn],
    );
  }

  async one(column, value) {
    const { rows } = await pool.query(
      `SELECT payload, consumed_at FROM oidc WHERE model = $1 AND ${column} = $2 AND deleted_at IS NULL`,
      [this.model, value],
    );
    if (rows.length === 0) return undefined;
    return rows[0].consumed_at ? { ...rows[0].payload, consumed: rows[0].consumed_at } : rows[0].payload;
  }

  async find(id) {
    return this.one("id", id);
  }

  async findByUid(uid) {
    return this.one("uid", uid);
  }

  async consume(id) {
    await pool.query("UPDATE oidc SET consumed_at = now() WHERE model = $1 AND id = $2", [this.model, id]);
  }

  async destroy(id) {
    await pool.query("UPDATE oidc SET deleted_at = now() WHERE model = $1 AND id = $2", [this.model, id]);
  }

  async revokeByGrantId(grantId) {
    await pool.query("UPDATE oidc SET deleted_at = now() WHERE model = $1 AND grant_id = $2", [this.model, grantId]);
  }
}

const provider = new Provider(issuer, {
  adapter: pool ? PostgresAdapter : undefined,
  clients: [{ client_id: "shop", redirect_uris: [callback], token_endpoint_auth_method: "none" }],
  cookies: { keys: ["only for tests"] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  // Consent is implied, as the documentation shows for one's own clients.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid");
    await grant.save();
    return grant;
  },
});

// How many access tokens were issued for the grant of a code, whether or not they were revoked afterwards.
const grants = new Map();
const issued = new Map();
provider.on("access_token.saved", ({ grantId }) => issued.set(grantId, (issued.get(grantId) ?? 0) + 1));

// What a browser does: follows the redirects from /auth through the login to the code, and keeps the cookies.
async function signIn(challenge) {
  const query = new URLSearchParams({
    client_id: "shop",
    response_type: "code",
    scope: "openid",
    redirect_uri: callback,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  const cookies = new Map();
  let location = `${issuer}/auth?${query}`;
  for (let redirects = 0; redirects < 10; redirects++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(location, { redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";", 1)[0].split(/=(.*)/s);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    if (!response.headers.has("location")) throw new Error(`${response.status}: ${await response.text()}`);
    const next = new URL(response.headers.get("location"), issuer);
    location = next.href;
    if (location.startsWith(callback)) return next.searchParams.get("code");
  }
  throw new Error("too many redirects");
}

const handle = provider.callback();

async function answer(request, response) {
  const url = new URL(request.url, issuer);
  const reply = (body) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (url.pathname === "/healthz") {
    reply({ ok: true });
  } else if (url.pathname.startsWith("/interaction/")) {
    await provider.interactionFinished(request, response, { login: { accountId: "alice" } });
  } else if (url.pathname === "/test/code") {
    const code = await signIn(url.searchParams.get("challenge"));
    grants.set(code, (await provider.AuthorizationCode.find(code)).grantId);
    reply({ code });
  } else if (url.pathname === "/test/tokens") {
    const code = url.searchParams.get("code");
    const found = await provider.AuthorizationCode.find(code, { ignoreExpiration: true });
    if (!pool && !grants.has(code)) {
      // Its memory is gone: that says nothing about its use.
      response.writeHead(404).end();
      return;
    }
    // A code that is used again is deleted together with its tokens.
    reply({ issued: issued.get(grants.get(code)) ?? 0, used: !found || Boolean(found.consumed) });
  } else {
    handle(request, response);
  }
}

const schema = `
  CREATE TABLE IF NOT EXISTS oidc (model text, id text, payload jsonb NOT NULL, grant_id text, uid text,
    expires_at timestamptz, consumed_at timestamptz, deleted_at timestamptz, PRIMARY KEY (model, id));
  CREATE INDEX IF NOT EXISTS oidc_grant ON oidc (grant_id);
  CREATE INDEX IF NOT EXISTS oidc_uid ON oidc (uid);
`;
const server = http.createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
});
Promise.resolve(pool?.query(schema)).then(() => server.listen(port, "127.0.0.1"));
