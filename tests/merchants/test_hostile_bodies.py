"""Whatever JSON a program sends, it is told what is wrong with it; nothing it sends is an error of ours."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.merchants.api import reading
from tests.merchants.support import WISH, error_of, post

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one, max_size=3))
FIELDS = st.dictionaries(st.sampled_from(sorted(reading._SESSION_FIELDS)), VALUES)


@settings(
    max_examples=110, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(change=FIELDS)
def test_no_body_is_an_error_of_ours(client: FlaskClient, secret: str, change: dict[str, Any]) -> None:
    answer = post(client, secret, {**WISH, **change})
    assert answer.status_code in (201, 400, 422), answer.get_data(as_text=True)
    if answer.status_code != 201:
        error = error_of(answer)
        assert error["code"] in ("invalid_fields", "malformed_json")
        assert {one["field"].partition(".")[0] for one in error["fields"]} <= reading._SESSION_FIELDS
