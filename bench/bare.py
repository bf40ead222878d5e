"""The limits: a bare Flask route that checks an HMAC, inserts one row with SQLAlchemy core and commits; and a bare page
that finds who is signed in, reads 24 products with SQLAlchemy core and renders them.
"""

import contextlib
import hashlib
import hmac
import os

import sqlalchemy as sa
from flask import Flask, Response, jsonify, render_template_string, request

engine = sa.create_engine(os.environ["DATABASE_URL"], pool_size=8)
metadata = sa.MetaData()
events = sa.Table(
    "bare_events",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("delivery_key", sa.Text, unique=True),
    sa.Column("body", sa.Text),
)
# Of two processes that start at once one makes the table, and the other one is told that it is there.
with contextlib.suppress(sa.exc.DatabaseError):
    metadata.create_all(engine)

app = Flask(__name__)


@app.post("/webhook")
def webhook() -> Response:
    """Check, insert, commit, answer."""
    body = request.get_data()
    header = request.headers["Stripe-Signature"]
    seconds, _, signature = header.removeprefix("t=").partition(",v1=")
    expected = hmac.new(b"whsec_test_secret", seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature):
        return Response(status=400)
    with engine.begin() as connection:
        connection.execute(events.insert().values(delivery_key=header, body=body.decode()))
    return jsonify(status="accepted")


_PAGE = """<!doctype html><html lang="en"><head><title>Packages</title></head><body><h1>Packages</h1>
<p>{{ who }}</p>{% for row in rows %}<article><h2><a href="/packages/{{ row.slug }}">{{ row.name }}</a></h2>
<p>{{ row.category }}</p><p>{{ row.short_description }}</p>
{% for tool in row.tools %}<span>{{ tool }}</span>{% endfor %}
<strong>{{ row.price_minor / 100 }} {{ row.currency }}</strong>
<form method="post" action="/cart/add"><input type="hidden" name="csrf_token" value="x">
<input type="hidden" name="slug" value="{{ row.slug }}"><button>Add</button></form></article>{% endfor %}
</body></html>"""
_packages = sa.table(
    "packages",
    *[sa.column(name) for name in ("id", "slug", "name", "category", "short_description", "price_minor", "currency")],
    sa.column("tools", sa.JSON),
    sa.column("is_published"),
    sa.column("position"),
)
_sessions = sa.table("login_sessions", sa.column("token_hash"), sa.column("user_id"))
_users = sa.table("users", sa.column("id"), sa.column("email"))


@app.get("/packages")
def packages() -> str:
    """Who is signed in, and 24 products."""
    token = hashlib.sha256(request.headers.get("Cookie", "").encode()).hexdigest()
    with engine.connect() as connection:
        who = connection.execute(
            sa.select(_users.c.email)
            .join(_sessions, _sessions.c.user_id == _users.c.id)
            .where(_sessions.c.token_hash == token)
        ).scalar()
        rows = connection.execute(
            sa.select(_packages)
            .where(_packages.c.is_published)
            .order_by(_packages.c.position, _packages.c.id)
            .limit(24)
        ).all()
    return render_template_string(_PAGE, who=who, rows=rows)
