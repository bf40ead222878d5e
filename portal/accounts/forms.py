"""Parsing and checking what people type into the pages of their account."""

import re
from functools import lru_cache
from typing import Any

from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from wtforms import BooleanField, EmailField, HiddenField, PasswordField, SelectField, StringField, ValidationError
from wtforms.fields import SelectChoice
from wtforms.fields.choices import Choice
from wtforms.validators import DataRequired, InputRequired, Length
from wtforms.widgets import Select

from portal.accounts.countries import CODES, country_choices
from portal.accounts.email_addresses import normalise_email
from portal.accounts.password_rules import password_problem
from portal.accounts.services.profile import AddressDetails
from portal.core.errors import Invalid
from portal.core.forms import PageForm
from portal.core.languages import LANGUAGES

# Nothing longer is anybody's password, and hashing it would only cost time.
_LONGEST_TYPED = 1_024
_MISSING = _l("Please fill this in.")
_PASSWORD_HINT = _l("At least 8 characters, with a letter and a digit. Longer is better.")
PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}")
_POLISH_POSTAL_CODE = re.compile(r"(\d{2})[ -]?(\d{3})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def strip(text: str | None) -> str:
    """A typed line on one line, without spaces around it and without characters that no database or mail takes."""
    return " ".join(_CONTROL.sub(" ", text or "").split())


class AddressField(EmailField):
    """An e-mail address, brought to the form it is stored in."""

    data: Any

    def pre_validate(self, _form: PageForm) -> None:
        if not self.data:
            return
        try:
            self.data = normalise_email(self.data)
        except Invalid as error:
            raise ValidationError(str(error)) from None


class _KnownOptions(Select):
    """The same two hundred and fifty options on every page: each is written once."""

    @classmethod
    def render_option(cls, choice: Choice, **_kwargs: Any) -> Markup:
        return _option(choice.value, choice.label, choice.selected)


@lru_cache(maxsize=2_048)
def _option(value: str, label: str, selected: bool) -> Markup:
    option: Markup = Select.render_option(Choice(value, label, selected, {}))
    return option


class CountryField(SelectField):
    """A country of an address, by its code, offered in the reader's language."""

    widget = _KnownOptions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        choices = [SelectChoice(code, name) for code, name in country_choices()]
        super().__init__(*args, choices=choices, validate_choice=False, **kwargs)
        # Templates choose the control by this name.
        self.type = "SelectField"


class NewPasswordField(PasswordField):
    """A password to be, held to the rules; `email` is whose it will be."""

    data: Any
    email: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Templates choose the control by this name.
        self.type = "PasswordField"

    def pre_validate(self, form: PageForm) -> None:
        typed_email = getattr(getattr(form, "email", None), "data", None)
        problem = password_problem(self.data or "", email=self.email or typed_email)
        if self.data and problem is not None:
            raise ValidationError(str(problem))


class LogInForm(PageForm):
    """Address and password."""

    email = EmailField(_l("E-mail"), [DataRequired(_MISSING), Length(max=320)], filters=[strip])
    password = PasswordField(_l("Password"), [InputRequired(_MISSING), Length(max=_LONGEST_TYPED)])
    remember = BooleanField(_l("Keep me logged in for 7 days"))
    next = HiddenField()


class CodeForm(PageForm):
    """A code of the authenticator app, or a recovery code."""

    code = StringField(_l("Code"), [DataRequired(_MISSING), Length(max=64)], filters=[strip])


class PasswordForm(PageForm):
    """The current password, to show who is there."""

    password = PasswordField(_l("Password"), [InputRequired(_MISSING), Length(max=_LONGEST_TYPED)])
    next = HiddenField()


class RegisterForm(PageForm):
    """A new account."""

    name = StringField(_l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    email = AddressField(_l("E-mail"), [DataRequired(_MISSING), Length(max=254)], filters=[strip])
    password = NewPasswordField(_l("Password"), [InputRequired(_MISSING)], description=_PASSWORD_HINT)


class EmailForm(PageForm):
    """An address to send a link to."""

    email = AddressField(_l("E-mail"), [DataRequired(_MISSING), Length(max=254)], filters=[strip])


class NewPasswordForm(PageForm):
    """A password chosen through a mailed link."""

    password = NewPasswordField(_l("New password"), [InputRequired(_MISSING)], description=_PASSWORD_HINT)


class SetUpForm(PageForm):
    """What makes a bought account its owner's."""

    name = StringField(_l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    password = NewPasswordField(_l("Password"), [InputRequired(_MISSING)], description=_PASSWORD_HINT)


class ChangePasswordForm(PageForm):
    """The old password and the new one."""

    current = PasswordField(_l("Current password"), [InputRequired(_MISSING), Length(max=_LONGEST_TYPED)])
    password = NewPasswordField(_l("New password"), [InputRequired(_MISSING)], description=_PASSWORD_HINT)


class ProfileForm(PageForm):
    """Name, telephone number and language."""

    name = StringField(_l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    phone = StringField(_l("Phone"), [Length(max=32)], filters=[strip], description=_l("With the country code."))
    locale = SelectField(
        _l("Language"),
        choices=[SelectChoice(code, name) for code, name in LANGUAGES.items()],
        description=_l("For these pages and for the mails we send you."),
    )

    def validate_phone(self, field: Any) -> None:
        if field.data and not PHONE.fullmatch(field.data):
            raise ValidationError(str(_l("This is not a phone number. Example: +48 600 100 200")))


class PostalAddressForm(PageForm):
    """A billing or shipping address."""

    name = StringField(_l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    company = StringField(_l("Company"), [Length(max=120)], filters=[strip])
    tax_id = StringField(_l("Tax number"), [Length(max=32)], filters=[strip])
    line1 = StringField(_l("Street and number"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    line2 = StringField(_l("Flat, floor, building"), [Length(max=120)], filters=[strip])
    city = StringField(_l("City"), [DataRequired(_MISSING), Length(max=80)], filters=[strip])
    state = StringField(_l("State or region"), [Length(max=80)], filters=[strip])
    postal_code = StringField(_l("Postal code"), [DataRequired(_MISSING), Length(max=16)], filters=[strip])
    country = CountryField(_l("Country"))

    def validate_country(self, field: Any) -> None:
        if field.data not in CODES:
            raise ValidationError(str(_l("Choose a country from the list.")))

    def validate_postal_code(self, field: Any) -> None:
        if self.country.data != "PL":
            return
        found = _POLISH_POSTAL_CODE.fullmatch(field.data)
        if found is None:
            raise ValidationError(str(_l("A Polish postal code looks like 00-850.")))
        field.data = f"{found[1]}-{found[2]}"

    def details(self) -> AddressDetails:
        """The address as the services take it."""
        return AddressDetails(**{name: getattr(self, name).data or "" for name in AddressDetails.__dataclass_fields__})


class ConfirmForm(PageForm):
    """A button and its token."""


def add_error(field: Any, message: object) -> None:
    """Say something under a field that a service found out."""
    field.errors = [*field.errors, str(message)]
