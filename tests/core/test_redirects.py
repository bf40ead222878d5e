"""Where a visitor may be sent after a form."""

import pytest

from portal.core.redirects import safe_path

LEAVING = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "HTTPS://evil.example",
    "http:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "@evil.example",
    "user@evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\x00/evil.example",
    "/account\x7f",
    "",
    None,
    "?next=/",
    "#x",
    "/" + "a" * 2_000,
    "//[",
]


@pytest.mark.parametrize("target", LEAVING)
def test_what_leaves_the_site_is_refused(target: str | None) -> None:
    assert safe_path(target) is None


@pytest.mark.parametrize(
    "target", ["/", "/account", "/orders?status=paid&before=7", "/my/packages/zażółć#part", "/a:b", "/x//y", "/%2F/x"]
)
def test_paths_of_this_site_pass(target: str) -> None:
    assert safe_path(target) == target
