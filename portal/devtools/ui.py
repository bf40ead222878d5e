"""The component gallery at /dev/ui: what every macro looks like, and the page the browser tests look at."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import mrml
from flask import Blueprint, abort, flash, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from wtforms import (
    BooleanField,
    DecimalField,
    EmailField,
    FileField,
    PasswordField,
    RadioField,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.forms import PageForm
from portal.core.paging import Page

bp = Blueprint("dev_ui", __name__, url_prefix="/dev/ui")

PAGES = ("components", "home", "shelf", "product", "cart", "checkout", "login", "account", "admin", "order", "error")
_PRODUCTS = (
    ("biuro-autopilot", "Biuro Autopilot", "Operacje", 6900, 14900, "mail-forward", True,
     "Poczta, kalendarz i dokumenty pracują same: sortowanie wiadomości, przypomnienia, raport dnia."),
    ("chatbot-rag", "Chatbot RAG", "Obsługa klienta", 14900, 24900, "message-chatbot", True,
     "Odpowiada klientom na podstawie Twoich dokumentów i mówi, skąd to wie."),
    ("sales-automation", "Sales Automation", "Sprzedaż", 49700, None, "trending-up", False,
     "Od zapytania do oferty: kwalifikacja, przypomnienia i lejek bez ręcznego przepisywania."),
    ("content-creator", "Content Creator", "Marketing", 49700, None, "pencil", False,
     "Plan treści, szkice i publikacja w jednym miejscu."),
    ("devops-autopilot", "DevOps Autopilot", "Inżynieria", 59700, None, "server", False,
     "Wdrożenia, kopie zapasowe i alarmy, które wiedzą, kogo obudzić."),
    ("social-media", "Social Media", "Marketing", 39700, None, "share", False,
     "Kalendarz publikacji, odpowiedzi i raport tygodnia."),
)  # fmt: skip


class SampleForm(PageForm):
    """One field of every kind."""

    name = StringField("Full name", [InputRequired(), Length(max=80)])
    email = EmailField("E-mail", [InputRequired()], description="We send the receipt here.")
    password = PasswordField("Password", [InputRequired()], description="At least 8 characters.")
    country = SelectField("Country", choices=[SelectChoice("PL", "Poland"), SelectChoice("ES", "Spain")])
    provider = RadioField(
        "How would you like to pay?",
        choices=[SelectChoice("stripe", "Card or BLIK"), SelectChoice("sandbox", "Test payment")],
    )
    price = DecimalField("Price")
    note = TextAreaField("Note")
    photo = FileField("Photo")
    terms = BooleanField("I accept the terms", [InputRequired()])


def _sample() -> dict[str, Any]:
    now = clock.now()
    products = [
        SimpleNamespace(slug=slug, name=name, category=category, price_minor=price, was_minor=was, icon=icon,
                        featured=featured, summary=summary, currency="PLN",
                        tools=["Gmail", "Slack", "Notion", "n8n", "Sheets"])
        for slug, name, category, price, was, icon, featured, summary in _PRODUCTS
    ]  # fmt: skip
    statuses = ("paid", "pending", "paid", "failed", "refunded", "partial", "paid", "pending")
    orders = [
        SimpleNamespace(id=90 - n, number=f"ORD-20260121-A3F{n}", customer=f"Kunegunda Brzęczyszczykiewicz {n}",
                        email=f"customer{n}@example.com", status=status, total_minor=6900 * (n + 1),
                        currency="PLN", at=now - timedelta(hours=7 * n))
        for n, status in enumerate(statuses)
    ]  # fmt: skip
    steps = [
        {"label": _("Order placed"), "state": "done", "at": now - timedelta(hours=3)},
        {"label": _("Payment received"), "state": "done", "at": now - timedelta(hours=3), "note": "Stripe, BLIK"},
        {"label": _("Unlocking your package"), "state": "current"},
        {"label": _("Confirmation sent"), "state": "next"},
    ]
    return {
        "products": products, "orders": orders, "steps": steps, "sample_time": now, "cart_count": 2,
        "orders_page": Page(rows=orders, older="82", newer="91"), "pages": PAGES,
        "current_user": SimpleNamespace(
            is_authenticated=True, is_staff=True, name="Ada Nowak", email="ada@example.com"
        ),
    }  # fmt: skip


@bp.get("/")
@bp.get("/<page>")
@public
def show(page: str = "components") -> ResponseReturnValue:
    """One page of the gallery; `?flash=1` adds messages, `?errors=1` shows the form with its errors."""
    if page not in PAGES:
        abort(404)
    form = SampleForm(meta={"csrf": False})
    if request.args.get("errors"):
        form.process(data={"email": "ada@", "provider": "stripe"})
        form.validate()
        form.email.errors = ["This is not an e-mail address."]
    if request.args.get("flash"):
        flash("Biuro Autopilot is in your cart.", "success")
        flash("The provider did not answer. Your cart is kept.", "error")
    return htmx.render(
        f"dev/{page}.html", fragment="dev/_results.html" if request.args.get("part") else None, form=form, **_sample()
    )


@bp.get("/panel/<int:number>")
@public
def panel(number: int) -> ResponseReturnValue:
    """What a row of the sample table opens."""
    sample = _sample()
    order = next((order for order in sample["orders"] if order.id == number), None)
    if order is None:
        abort(404)
    return htmx.render("dev/panel.html", fragment="dev/_panel.html", order=order, **sample)


@bp.get("/mail")
@public
def mail_page() -> ResponseReturnValue:
    """A sample mail; only this answer may hold inline styles, because mail programs know nothing else."""
    html = mrml.to_html(render_template("dev/mail.mjml")).content
    return html, 200, {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@bp.get("/errors/<int:status>")
@public
def error_page(status: int) -> ResponseReturnValue:
    """The error page of a status."""
    return render_template("errors/error.html", status=status, message=None, request_id="4f0c2d9e77aa11b3"), status
