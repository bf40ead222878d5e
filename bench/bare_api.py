"""The limits of the API: bare routes that find a key by its hash, then insert one row and commit, or read some."""

import hashlib
import os
import uuid

import sqlalchemy as sa
from flask import Flask, Response, abort, jsonify, request

engine = sa.create_engine(os.environ.get("DATABASE_URL", "sqlite://"))
metadata = sa.MetaData()
keys = sa.Table("bare_keys", metadata, sa.Column("secret_hash", sa.String(64), primary_key=True))
sessions = sa.Table(
    "bare_sessions",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("public_id", sa.String(36), unique=True, default=lambda: str(uuid.uuid4())),
    sa.Column("body", sa.JSON),
)

app = Flask(__name__)
_MOST = 25


def _check(connection: sa.Connection) -> None:
    secret = request.headers["Authorization"].removeprefix("Bearer ")
    digest = hashlib.sha256(secret.encode()).hexdigest()
    if connection.execute(sa.select(keys).where(keys.c.secret_hash == digest)).first() is None:
        abort(401)


@app.post("/api/v1/sessions")
def create() -> tuple[Response, int]:
    """Check, insert, commit, answer."""
    body = request.get_json()
    public_id = str(uuid.uuid4())
    with engine.begin() as connection:
        _check(connection)
        connection.execute(sessions.insert().values(public_id=public_id, body=body))
    return jsonify(id=public_id, **body), 201


@app.get("/api/v1/sessions")
def listed() -> Response:
    """Check, and read the newest."""
    with engine.connect() as connection:
        _check(connection)
        rows = connection.execute(sa.select(sessions).order_by(sessions.c.id.desc()).limit(_MOST)).all()
    return jsonify(data=[{"id": row.public_id, **row.body} for row in rows])
