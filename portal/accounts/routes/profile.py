"""Name, telephone, language and addresses."""

from flask import Response, flash, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import refresh

from portal.accounts import services
from portal.accounts.countries import country_name, country_of_language
from portal.accounts.forms import PostalAddressForm, ProfileForm
from portal.accounts.models import Address, AddressKind, User
from portal.accounts.routes.blueprint import bp, me
from portal.core import htmx
from portal.core.access import logged_in, verified
from portal.core.db import unit_of_work


@bp.get("/account")
@logged_in
def profile() -> ResponseReturnValue:
    """The user's own data."""
    return _profile_page(ProfileForm(obj=me()))


@bp.post("/account")
@logged_in
def submit_profile() -> ResponseReturnValue:
    """Keep the user's own data; the pages turn to the chosen language at once."""
    form, user = ProfileForm(), me()
    if not form.validate():
        return _profile_page(form, status=422)
    has_new_language = form.locale.data != user.locale
    with unit_of_work():
        services.change_profile(user, name=form.name.data, phone=form.phone.data or "", locale=form.locale.data)
    session["locale"] = form.locale.data
    refresh()
    flash(_("Saved."), "success")
    if has_new_language:
        # Everything around the form speaks another language now, so the whole page is loaded again.
        return htmx.leave(url_for("accounts.profile"))
    return htmx.after_post(
        url_for("accounts.profile"), fragment="accounts/_profile.html", form=ProfileForm(obj=user, formdata=None)
    )


@bp.get("/account/addresses")
@verified
def addresses() -> ResponseReturnValue:
    """The billing and the shipping address."""
    return _addresses_page()


@bp.get("/account/addresses/<any(billing, shipping):kind>")
@verified
def address(kind: str) -> ResponseReturnValue:
    """The form for one of the addresses."""
    return _address_page(kind, _form_for(me(), AddressKind(kind)))


@bp.post("/account/addresses/<any(billing, shipping):kind>")
@verified
def submit_address(kind: str) -> ResponseReturnValue:
    """Keep an address."""
    form = PostalAddressForm()
    if not form.validate():
        return _address_page(kind, form, status=422)
    with unit_of_work():
        services.save_address(me(), AddressKind(kind), form.details())
    flash(_("Saved."), "success")
    return _after_change(kind)


@bp.post("/account/addresses/<any(billing, shipping):kind>/remove")
@verified
def remove_address(kind: str) -> ResponseReturnValue:
    """Forget an address."""
    with unit_of_work():
        services.remove_address(me(), AddressKind(kind))
    flash(_("Removed."), "success")
    return _after_change(kind)


def _form_for(user: User, kind: AddressKind) -> PostalAddressForm:
    kept = services.list_addresses(user)
    # Nobody types an address twice that is the same: the other one is the first guess.
    known: Address | None = kept.get(kind) or next(iter(kept.values()), None)
    if known is not None:
        return PostalAddressForm(obj=known)
    return PostalAddressForm(data={"name": user.name, "country": country_of_language(user.locale)})


def _profile_page(form: ProfileForm, *, status: int = 200) -> Response:
    return htmx.render("accounts/profile.html", fragment="accounts/_profile.html", form=form, status=status)


def _addresses_page() -> Response:
    return htmx.render(
        "accounts/addresses.html",
        kept=services.list_addresses(me()),
        kinds=list(AddressKind),
        country_name=country_name,
    )


def _address_page(kind: str, form: PostalAddressForm, *, status: int = 200) -> Response:
    return htmx.render(
        "accounts/address.html", fragment="accounts/_address_form.html", kind=kind, form=form, status=status
    )


def _after_change(kind: str) -> ResponseReturnValue:
    return htmx.after_post(
        url_for("accounts.addresses"),
        fragment="accounts/_address.html",
        kind=kind,
        address=services.list_addresses(me()).get(AddressKind(kind)),
        country_name=country_name,
    )
