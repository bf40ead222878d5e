"""Making price books, models and quotes for tests, through the services that make them for customers. Each commits."""

import hashlib
import itertools
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, files
from portal.core.db import db, unit_of_work
from portal.core.state import transition
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.presenting import view_of
from portal.quotes.pricing import services
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.services import deciding, destroying, drafting, reviewing
from portal.quotes.services.loading import DRAFT, QuoteOwner, get_quote
from portal.quotes.services.repricing import in_force, reprice
from tests.quotes import models
from tests.quotes.books import book_content, cube

_numbers = itertools.count(1)


def make_price_book(*, at: datetime | None = None, **changes: Any) -> PriceBookVersion:
    """A published price book; the newest one is in force. `changes` replace fields of its content."""
    at = at or clock.now()
    with unit_of_work():
        draft = services.import_draft(json.dumps(book_content(**changes)).encode(), by="test", at=at)
        return services.put_in_force(draft.id, note="for a test", by="test", at=at)


def make_model_file(
    user: User | None = None,
    *,
    content: bytes | None = None,
    name: str | None = None,
    measures: dict[str, Any] | None = None,
    is_measured: bool = True,
    at: datetime | None = None,
    **values: Any,
) -> ModelFile:
    """A model in the store; measured as a cube of 20 mm unless told otherwise."""
    at = at or clock.now()
    with unit_of_work():
        model = _model_row(user, content, name, measures, is_measured, at, values)
        db.session.add(model)
    return model


def _model_row(
    user: User | None,
    content: bytes | None,
    name: str | None,
    measures: dict[str, Any] | None,
    is_measured: bool,
    at: datetime,
    values: dict[str, Any],
) -> ModelFile:
    content = models.stl() if content is None else content
    name = name or f"part-{next(_numbers)}.stl"
    kind = name.rpartition(".")[2].lower()
    storage_name = f"models/{uuid.uuid4().hex}.{kind}"
    files.put(storage_name, content)
    found = cube() if measures is None else measures
    return ModelFile(
        public_id=str(uuid.uuid4()),
        user_id=user.id if user else None,
        name=name,
        format=kind,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_name=storage_name,
        status=ModelFileStatus.MEASURED if is_measured else ModelFileStatus.UPLOADED,
        measures=found if is_measured else {},
        outcome=found["outcome"] if is_measured else None,
        picture_name="" if is_measured else None,
        mesh_name="" if is_measured else None,
        uploaded_at=at,
        measured_at=at if is_measured else None,
        **values,
    )  # fmt: skip


def make_quote(
    customer: User | None,
    *,
    items: Sequence[dict[str, Any]] = ({},),
    status: QuoteStatus = QuoteStatus.DRAFT,
    is_approved: bool = True,
    token: str | None = None,
    rush: str = "standard",
    note: str = "",
    at: datetime | None = None,
) -> Quote:
    """A quote of cubes in black PLA, moved on to `status` by the services; a pending one is confirmed unless told
    otherwise.

    Each of `items` may replace material, colour, finish, infill_percent, quantity, measures, name or content. Makes a
    price book when there is none. With a `token` it is a visitor's draft.
    """
    at = at or clock.now()
    if db.session.scalar(select(PriceBookVersion.id).limit(1)) is None:
        make_price_book(at=at)
    owner = QuoteOwner.of(customer) if customer else QuoteOwner(token=token)
    with unit_of_work():
        quote = drafting.start_quote(owner, [], locale="en", at=at)
        quote.rush, quote.note = rush, note
        for place, wanted in enumerate(items, start=1):
            quote.items.append(_item(customer, place, dict(wanted), at))
        db.session.flush()
        reprice(quote, in_force(at), at=at)
    if status is not QuoteStatus.DRAFT:
        _move_on(quote, owner, status, is_approved=is_approved, at=at)
    return get_quote(quote.number or DRAFT, owner=owner)


def _item(customer: User | None, place: int, wanted: dict[str, Any], at: datetime) -> QuoteItem:
    model = wanted.pop("model_file", None) or _model_row(
        customer, wanted.pop("content", None), wanted.pop("name", None), wanted.pop("measures", None),
        wanted.pop("is_measured", True), at, {},
    )  # fmt: skip
    usual = {"material": "pla", "colour": "black", "finish": "standard", "infill_percent": 20, "quantity": 1}
    return QuoteItem(position=place, model_file=model, **{**usual, **wanted})


def _move_on(quote: Quote, owner: QuoteOwner, status: QuoteStatus, *, is_approved: bool, at: datetime) -> None:
    number = quote.number or DRAFT
    if status is QuoteStatus.CANCELLED:
        with unit_of_work():
            deciding.cancel_quote(number, owner, at=at)
        return
    submit(number, owner, at=at)
    sent = get_quote(number, owner=owner)
    if sent.status is QuoteStatus.ACCEPTED and status is QuoteStatus.PENDING:
        raise ValueError("this quote is accepted at once: give it a note, or let it cost more")
    if sent.status is QuoteStatus.PENDING and (is_approved or status is QuoteStatus.ACCEPTED):
        with unit_of_work():
            reviewing.approve_quote(quote.id, by="staff@example.com", at=at)
    if sent.status is QuoteStatus.PENDING and status is QuoteStatus.ACCEPTED:
        with unit_of_work():
            deciding.accept_quote(number, owner, at=at)
    if status is QuoteStatus.REJECTED:
        with unit_of_work():
            deciding.reject_quote(number, owner, reason="too expensive", at=at)


def submit(number: str, owner: QuoteOwner, *, at: datetime | None = None) -> Quote:
    """Send a draft, as somebody does who sees its price."""
    at = at or clock.now()
    seen = view_of(get_quote(number, owner=owner), at=at).seen
    with unit_of_work():
        return deciding.submit_quote(number, owner, seen=seen, at=at)


def quarantine(model: ModelFile) -> None:
    """Lock a model away, as the scanner does."""
    with unit_of_work():
        row = db.session.get_one(ModelFile, model.id)
        if row.status is ModelFileStatus.MEASURED:
            transition(row, ModelFileStatus.UPLOADED, by="test", at=clock.now())
        transition(row, ModelFileStatus.QUARANTINED, by="test", at=clock.now())


def draw(model: ModelFile) -> ModelFile:
    """Give a model the picture and the mesh that the worker makes."""
    stem = f"models/{uuid.uuid4().hex}"
    files.put(f"{stem}-picture", models.PNG)
    files.put(f"{stem}-mesh", models.stl())
    with unit_of_work():
        row = db.session.get_one(ModelFile, model.id)
        row.picture_name, row.mesh_name = f"{stem}-picture", f"{stem}-mesh"
    return row


def destroy(model: ModelFile, user: User, *, at: datetime | None = None) -> None:
    """Destroy a model, as its owner does; the bytes go when the worker comes to it."""
    with unit_of_work():
        destroying.destroy_model(model.public_id, QuoteOwner.of(user), at=at or clock.now())
