"""Shipping a sales order: the box, prices, the label, and handing it over."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from flask import flash, request, send_file, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin.blueprint import actor, bp
from portal.admin.shipping_forms import HandOverForm, ParcelForm
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, PortalError, Sentence
from portal.core.state import history
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.shipping import customs, queries
from portal.production.shipping.boxes import suggest_parcel
from portal.production.shipping.carriers.base import CarrierRefused, CarrierUnavailable, Parcel
from portal.production.shipping.carriers.by_hand import BadParcelDetail
from portal.production.shipping.extension import find_carrier, ship_from
from portal.production.shipping.services import buying, handing_over, labels, packing
from portal.production.tracking import steps_of

PAGE = "/production/<number>/shipping"
_PARCEL = f"{PAGE}/<uuid:public_id>"


@bp.get(PAGE)
@staff
def shipping(number: str) -> ResponseReturnValue:
    """The parcel of a sales order and its one next step."""
    return _show(number)


@bp.post(f"{PAGE}/rates")
@staff
def ask_for_rates(number: str) -> ResponseReturnValue:
    """Record the box and fetch its prices."""
    sales_order = queries.get_sales_order(number)
    form = ParcelForm()
    if not form.validate_on_submit():
        return _show(number, status=422, parcel_form=form)
    return _carry_out(
        number,
        lambda: packing.ask_for_rates(sales_order.id, form.read(), by=actor().email, at=clock.now()),
        done=None,
        parcel_form=form,
    )


@bp.post(f"{PAGE}/by-hand")
@staff
def enter_parcel_by_hand(number: str) -> ResponseReturnValue:
    """Record a parcel that staff take to a carrier themselves."""
    sales_order = queries.get_sales_order(number)
    form = HandOverForm()
    if not form.validate_on_submit():
        return _show(number, status=422, hand_form=form)

    def work() -> None:
        with unit_of_work():
            packing.enter_by_hand(
                sales_order.id, form.carrier.data, form.tracking_number.data, form.tracking_url.data or "",
                by=actor().email, at=clock.now(),
            )  # fmt: skip

    try:
        return _carry_out(number, work, done=_l("The parcel is entered. Mark it as shipped when it has left."))
    except BadParcelDetail as error:
        _put_error(form, error)
        return _show(number, status=422, hand_form=form)


@bp.post(f"{_PARCEL}/buy")
@staff
def buy_label(number: str, public_id: object) -> ResponseReturnValue:
    """Buy the label of the chosen price."""
    shipment_id = _parcel(number, public_id).id
    rate = request.form.get("rate", "")[:64]

    def work() -> None:
        buying.buy_label(shipment_id, rate, by=actor().email, at=clock.now())
        try:
            labels.store_label(shipment_id)
        except (CarrierUnavailable, CarrierRefused):
            # It is bought; a worker fetches the paper until it is here.
            flash(_("The label is bought. Its paper is still being fetched."), "info")

    return _carry_out(number, work, done=_l("The label is bought. Print it and put it on the box."))


@bp.post(f"{_PARCEL}/hand-over")
@staff
def mark_as_shipped(number: str, public_id: object) -> ResponseReturnValue:
    """Say that the parcel has left; the customer is told."""
    shipment_id = _parcel(number, public_id).id

    def work() -> None:
        with unit_of_work():
            handing_over.hand_over(shipment_id, by=actor().email, at=clock.now())

    return _carry_out(number, work, done=_l("Shipped. The customer gets a mail with the tracking link."))


@bp.post(f"{_PARCEL}/return-label")
@staff
def return_label(number: str, public_id: object) -> ResponseReturnValue:
    """Give a label back that is not used."""
    shipment_id = _parcel(number, public_id).id
    return _carry_out(
        number,
        lambda: labels.return_label(shipment_id, by=actor().email, at=clock.now()),
        done=_l("The label is given back. Do not use its paper any more."),
    )


@bp.post(f"{_PARCEL}/discard")
@staff
def discard_parcel(number: str, public_id: object) -> ResponseReturnValue:
    """Give up a parcel that has not been paid for."""
    shipment_id = _parcel(number, public_id).id

    def work() -> None:
        with unit_of_work():
            packing.discard_draft(shipment_id, by=actor().email, at=clock.now())

    return _carry_out(number, work, done=_l("The parcel is discarded."))


@bp.get(f"{_PARCEL}/label.pdf")
@staff
def shipping_label(number: str, public_id: object) -> ResponseReturnValue:
    """The label to print."""
    shipment = _parcel(number, public_id)
    response = send_file(
        BytesIO(labels.read_label(shipment)), mimetype="application/pdf", download_name=f"{number}-label.pdf"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _parcel(number: str, public_id: object) -> Shipment:
    return queries.get_shipment(queries.get_sales_order(number), str(public_id))


def _carry_out(number: str, work: Callable[[], None], *, done: Sentence | None, **forms: Any) -> ResponseReturnValue:
    """Do one thing that may talk to a carrier, and show how the parcel stands then, with why it did not work."""
    try:
        work()
    except (Conflict, CarrierUnavailable, CarrierRefused) as error:
        db.session.expire_all()
        return _show(number, refusal=error, status=error.status, **forms)
    db.session.expire_all()
    if done is not None:
        flash(str(done), "success")
    if htmx.wants_fragment():
        return _show(number)
    return htmx.after_post(url_for("admin.shipping", number=number))


def _put_error(form: HandOverForm, error: BadParcelDetail) -> None:
    field = form[error.field or "carrier"]
    field.errors = [*field.errors, str(error)]


def _show(
    number: str,
    *,
    refusal: PortalError | None = None,
    status: int = 200,
    parcel_form: ParcelForm | None = None,
    hand_form: HandOverForm | None = None,
) -> ResponseReturnValue:
    sales_order = queries.get_sales_order(number)
    live = queries.live_shipment(sales_order)
    packed, origin = _parcel_to_start_from(sales_order, live), ship_from()
    return htmx.render(
        "admin/shipping.html",
        fragment="admin/_shipping.html",
        status=status,
        order=sales_order.order,
        sales_order=sales_order,
        shipment=live,
        earlier=[one for one in sales_order.shipments if one is not live],
        rates=packing.rates_of(live) if live is not None else [],
        carrier=find_carrier(),
        origin=origin,
        customs=customs.papers_for(sales_order, packed, origin),
        can_pack=_can_pack(sales_order),
        refusal=str(refusal) if refusal is not None else None,
        parcel_form=parcel_form or ParcelForm.of(packed),
        hand_form=hand_form or HandOverForm(formdata=None),
        opens_by_hand=hand_form is not None,
        opens_parcel=parcel_form is not None,
        steps=steps_of(sales_order, history(sales_order)),
    )


def _parcel_to_start_from(sales_order: SalesOrder, live: Shipment | None) -> Parcel:
    given: Mapping[str, Any] = live.parcel if live is not None else {}
    return Parcel(**given) if given else suggest_parcel(sales_order.frozen)


def _can_pack(sales_order: SalesOrder) -> bool:
    came_back = any(one.status is ShipmentStatus.RETURNED for one in sales_order.shipments)
    is_shipped = sales_order.status is SalesOrderStatus.SHIPPED
    return sales_order.status is SalesOrderStatus.QUALITY_CHECK or (is_shipped and came_back)
