"""The countries of addresses, by ISO 3166 code, in the reader's language."""

import re
from functools import lru_cache

from babel import Locale
from flask_babel import get_locale

from portal.core.languages import LANGUAGES

_CODE = re.compile(r"[A-Z]{2}")
# Two-letter codes of CLDR that are no country a parcel can go to.
_NO_COUNTRY = {"EU", "EZ", "UN", "ZZ", "QO", "XA", "XB", "AC", "CP", "CQ", "DG", "EA", "IC", "TA", "BV", "HM", "AQ"}
CODES = frozenset(filter(_CODE.fullmatch, map(str, Locale("en").territories))) - _NO_COUNTRY


def country_choices() -> tuple[tuple[str, str], ...]:
    """Code and name of every country, in the order of the reader's alphabet as far as plain sorting knows it."""
    return _choices_in(get_locale() or Locale("en"))


@lru_cache
def _choices_in(locale: Locale) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(((code, _name_in(locale, code)) for code in CODES), key=lambda choice: _sort_key(choice[1])))


def country_name(code: str) -> str:
    """A country's name in the reader's language."""
    return _name_in(get_locale() or Locale("en"), code)


def _name_in(locale: Locale, code: str) -> str:
    return str(locale.territories.get(code, code))


def country_of_language(locale: str) -> str:
    """The country to offer first to a reader of a language."""
    return {"pl": "PL", "es": "ES"}.get(locale, "PL") if locale in LANGUAGES else "PL"


_UNACCENTED = str.maketrans("ąćęłńóśźżáéíñúüåöÅÖ", "acelnoszzaeinuuaoao")


def _sort_key(name: str) -> str:
    return name.casefold().translate(_UNACCENTED)
