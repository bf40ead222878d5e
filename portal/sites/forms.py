"""Who wants to buy a site, where they pay, and why a subscription is called off."""

from collections.abc import Sequence

from flask_babel import lazy_gettext as _l
from flask_babel import lazy_pgettext
from wtforms import HiddenField, RadioField, StringField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length

from portal.accounts.forms import AddressField, strip
from portal.core import sealed
from portal.core.forms import PageForm
from portal.payments.providers.base import Provider

_MISSING = _l("Please fill this in.")


class ProviderForm(PageForm):
    """Where to pay."""

    provider = RadioField(_l("How do you want to pay?"), [InputRequired(_l("Choose how you want to pay."))])

    def offer(self, providers: Sequence[Provider]) -> None:
        """The ways to pay; the first one is chosen until the buyer chooses another."""
        self.provider.choices = [SelectChoice(provider.name, str(provider.title)) for provider in providers]
        if not self.provider.data and providers:
            self.provider.data = providers[0].name


class BuyerForm(ProviderForm):
    """What a purchase needs to know; the prices are the site's. The key names this page's button: pressed twice, it
    orders once."""

    key = HiddenField(validators=[InputRequired(), Length(min=20, max=50)])
    name = StringField(lazy_pgettext("of a person", "Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    email = AddressField(_l("E-mail"), [InputRequired(_MISSING), Length(max=254)])

    def begin(self, *, name: str = "", email: str = "") -> None:
        """Fill in what is known of who looks at the page, and draw the button's key."""
        self.key.data = sealed.new_token()
        self.name.data, self.email.data = name, email


class CancelForm(PageForm):
    """When a subscription ends, and why, if the customer likes to say."""

    when = RadioField(
        _l("When should it end?"),
        [InputRequired(_l("Choose when it should end."))],
        choices=[
            SelectChoice("period_end", _l("When the month that is paid for ends")),
            SelectChoice("now", _l("Now")),
        ],
    )
    reason = TextAreaField(_l("What made you cancel?"), [Length(max=1_000)])
