"""Gift cards of a shop, correct: SELECT … FOR UPDATE decides who redeems a card."""

import json
import os
import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (id text PRIMARY KEY, open boolean NOT NULL DEFAULT true);
CREATE TABLE IF NOT EXISTS cards (code text PRIMARY KEY, amount int NOT NULL, state text NOT NULL DEFAULT 'new',
    expires_at timestamptz NOT NULL DEFAULT now() + interval '1 year');
CREATE TABLE IF NOT EXISTS credits (id bigserial PRIMARY KEY, account text NOT NULL, code text NOT NULL, amount int NOT NULL);
"""

pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=2, max_size=10, open=False)
routes = []


def route(method, pattern):
    def register(handler):
        routes.append((method, re.compile(pattern), handler))
        return handler

    return register


@route("GET", "/healthz")
def health(_body):
    return 200, {"ok": True}


@route("POST", "/accounts")
def open_account(_body):
    account = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute("INSERT INTO accounts (id) VALUES (%s)", (account,))
    return 201, {"id": account}


@route("PUT", "/accounts/([a-z0-9]+)")
def change_account(body, account):
    with pool.connection() as db:
        db.execute("UPDATE accounts SET open = %s WHERE id = %s", (body["open"], account))
    return 200, {"id": account, "open": body["open"]}


@route("POST", "/cards")
def issue_card(body):
    code = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute("INSERT INTO cards (code, amount) VALUES (%s, %s)", (code, body["amount"]))
    return 201, {"code": code}


@route("POST", "/cards/([a-z0-9]+)/activate")
def activate_card(_body, code):
    with pool.connection() as db:
        done = db.execute("UPDATE cards SET state = 'active' WHERE code = %s AND state = 'new'", (code,))
    return (200, {"code": code}) if done.rowcount else (409, {"error": "already activated"})


@route("POST", "/cards/([a-z0-9]+)/expire")
def expire_card(_body, code):
    with pool.connection() as db:
        db.execute("UPDATE cards SET expires_at = now() - interval '1 day' WHERE code = %s", (code,))
    return 200, {"code": code}


@route("POST", "/cards/([a-z0-9]+)/redeem")
def redeem_card(body, code):
    with pool.connection() as db:
        card = db.execute(
            "SELECT amount, state, expires_at > clock_timestamp() FROM cards WHERE code = %s FOR UPDATE", (code,)
        ).fetchone()
        if card is None:
            return 404, {"error": "no such card"}
        amount, state, valid = card
        if state != "active":
            return 409, {"error": f"the card is {state}"}
        if not valid:
            return 410, {"error": "the card has expired"}
        account = db.execute("SELECT open FROM accounts WHERE id = %s", (body["account"],)).fetchone()
        if account is None or not account[0]:
            return 422, {"error": "the account is closed"}
        db.execute("UPDATE cards SET state = 'redeemed' WHERE code = %s", (code,))
        db.execute(
            "INSERT INTO credits (account, code, amount) VALUES (%s, %s, %s)", (body["account"], code, amount)
        )
    return 200, {"code": code, "amount": amount}


@route("GET", "/cards/([a-z0-9]+)")
def show_card(_body, code):
    with pool.connection() as db:
        card = db.execute("SELECT amount, state FROM cards WHERE code = %s", (code,)).fetchone()
    return (200, {"code": code, "amount": card[0], "state": card[1]}) if card else (404, {"error": "no such card"})


@route("GET", "/accounts/([a-z0-9]+)/credits")
def list_credits(_body, account):
    with pool.connection() as db:
        rows = db.execute("SELECT code, amount FROM credits WHERE account = %s ORDER BY id", (account,)).fetchall()
    return 200, {"credits": [{"code": code, "amount": amount} for code, amount in rows]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        status, reply = 404, {"error": "not found"}
        for method, pattern, handler in routes:
            match = pattern.fullmatch(self.path)
            if method == self.command and match:
                try:
                    status, reply = handler(body, *match.groups())
                except Exception as error:
                    self.log_error("%r", error)
                    status, reply = 500, {"error": "internal error"}
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer

    def log_request(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    pool.open(wait=True)
    with pool.connection() as db:
        db.execute(SCHEMA)
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
