"""The form that all forms of pages are made of."""

from functools import lru_cache
from typing import Any

from babel.support import NullTranslations, Translations
from flask_babel import get_locale
from flask_wtf import FlaskForm
from wtforms.i18n import messages_path


class PageForm(FlaskForm):
    """Flask-WTF's form with its CSRF token, whose own sentences are read from the disk once and not for each form."""

    class Meta(FlaskForm.Meta):
        """Settings of WTForms."""

        def get_translations(self, form: object) -> Any:  # noqa: ARG002  # WTForms asks with the form
            """What the validators say, in the reader's language."""
            return _sentences(str(get_locale() or "en"))


@lru_cache(maxsize=16)
def _sentences(language: str) -> "_Sentences":
    return _Sentences(Translations.load(messages_path(), [language], domain="wtforms"))


class _Sentences:
    """What WTForms calls, by the names that Babel has for it."""

    def __init__(self, known: NullTranslations) -> None:
        self.gettext = known.ugettext
        self.ngettext = known.ungettext
