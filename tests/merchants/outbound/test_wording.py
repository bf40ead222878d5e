"""Why a try failed is told in the merchant's language, and kept in English."""

import pytest
from flask import Flask
from flask_babel import force_locale

from portal.merchants.outbound import posting
from portal.merchants.outbound.wording import trouble_words

_INSIDE = "http://10.0.0.1/hooks"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("no complete answer within 10 seconds", "W ciągu 10 sekund nie było pełnej odpowiedzi."),
        ("the answer is not HTTP (BadStatusLine)", "Odpowiedź nie jest w HTTP (BadStatusLine)."),
        ("TLS: certificate has expired", "Nie udało się zabezpieczyć połączenia: certificate has expired"),
        ("the name was not resolved in time", "Nie odnaleziono adresu hosta na czas."),
        (
            "refused: This host is not on the public internet.",
            "Niczego nie wysłano. Tego hosta nie ma w publicznym internecie.",
        ),
        ("No route to host", "No route to host"),
    ],
)
def test_an_error_is_told_in_the_readers_language(app: Flask, error: str, words: str) -> None:
    with force_locale("pl"):
        assert trouble_words(error).startswith(words)


def test_a_refusal_is_kept_in_english_whoever_works(app: Flask) -> None:
    with force_locale("pl"):
        outcome = posting.post(_INSIDE, b"{}", {}, mode="test", loopback=False)
    assert outcome.error == "refused: This host is not on the public internet."
