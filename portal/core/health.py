"""Liveness, readiness and metrics, for load balancers and monitoring."""

import hmac

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError
from sqlalchemy import func, text
from sqlalchemy.exc import SQLAlchemyError

from portal.core import clock, metrics, queues
from portal.core.access import public
from portal.core.db import db
from portal.core.errors import NotFound
from portal.core.outbox import MessageStatus, OutboxMessage

bp = Blueprint("health", __name__)
_LOOPBACK = ("127.0.0.1", "::1")


@bp.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    """The process answers; nothing else is asked."""
    return jsonify(status="ok")


@bp.get("/readyz")
@public
def readyz() -> ResponseReturnValue:
    """The database answers. Redis is reported and does not decide: without it the shop keeps taking orders."""
    try:
        db.session.execute(text("SELECT 1"))
        database = "ok"
    except SQLAlchemyError:
        db.session.remove()
        database = "unavailable"
    try:
        queues.connection().ping()
        redis = "ok"
    except RedisError:
        redis = "unavailable"
    ready = database == "ok"
    return jsonify(status="ok" if ready else "unavailable", database=database, redis=redis), 200 if ready else 503


@bp.get("/metrics")
@public
def metrics_page() -> ResponseReturnValue:
    """Prometheus exposition, for the holder of METRICS_TOKEN; without a token only from this host itself."""
    token = current_app.config["METRICS_TOKEN"]
    offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
    allowed = hmac.compare_digest(offered.encode(), token.encode()) if token else request.remote_addr in _LOOPBACK
    if not allowed:
        raise NotFound
    return Response(metrics.exposition() + _waiting_work(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _waiting_work() -> bytes:
    """Depth and age of the outbox, read from the database: the truth, whatever Redis holds."""
    oldest = func.min(OutboxMessage.created_at)
    rows = db.session.execute(
        db.select(OutboxMessage.queue, func.count(), oldest)
        .where(OutboxMessage.status == MessageStatus.PENDING)
        .group_by(OutboxMessage.queue)
    ).all()
    lines = ["# TYPE portal_outbox_pending gauge", "# TYPE portal_outbox_oldest_seconds gauge"]
    for queue, count, since in rows:
        age = max((clock.now() - since).total_seconds(), 0)
        lines.append(f'portal_outbox_pending{{queue="{queue}"}} {count}')
        lines.append(f'portal_outbox_oldest_seconds{{queue="{queue}"}} {age:.0f}')
    return ("\n".join(lines) + "\n").encode()
