"""What merchants type about their webhooks."""

from typing import Any

from flask_babel import lazy_gettext as _l
from wtforms import RadioField, StringField, ValidationError
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, Length

from portal.accounts.forms import strip
from portal.core.errors import Invalid
from portal.core.forms import PageForm
from portal.merchants.outbound import endpoints, guard


class EndpointForm(PageForm):
    """Where to send."""

    mode = RadioField(
        _l("For which payments"), choices=[SelectChoice("test", _l("Test")), SelectChoice("live", _l("Live"))]
    )
    url = StringField(
        _l("Address"),
        [DataRequired(_l("Please fill this in.")), Length(max=guard.LONGEST)],
        filters=[strip],
        description=_l("Where your program listens. It must be open to the public internet, with https://."),
    )

    def validate_url(self, field: Any) -> None:
        """Refuse what nothing would be sent to."""
        try:
            endpoints.check_url(field.data, mode=self.mode.data or "live")
        except Invalid as refusal:
            raise ValidationError(str(refusal)) from None
