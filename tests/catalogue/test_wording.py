"""Comparing words without case and accents."""

import pytest

from portal.catalogue.wording import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Sprzedaż ŁÓDŹ", "sprzedaz lodz"),
        ("Obsługa klienta", "obsluga klienta"),
        ("ĄĆĘŁŃÓŚŹŻ", "acelnoszz"),
        ("Señor Núñez", "senor nunez"),
        ("Straße", "strasse"),
        ("ﬁnanse", "finanse"),
        ("", ""),
    ],
)
def test_words_are_compared_without_case_and_accents(text: str, folded: str) -> None:
    assert fold(text) == folded
