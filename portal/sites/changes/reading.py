"""What a page or style sheet asks of the browser, read by the rules that browsers read by."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from portal.sites.content.checking import FIRST_PAGE
from portal.sites.content.kinds import PAGES, kind_of

_RESOURCES = {
    "img": ("src", "srcset"), "source": ("src", "srcset"), "script": ("src", "href", "xlink:href"), "link": ("href",),
    "iframe": ("src",), "frame": ("src",), "embed": ("src",), "object": ("data",), "video": ("src", "poster"),
    "audio": ("src",), "track": ("src",), "input": ("src",), "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"), "form": ("action",), "button": ("formaction",), "body": ("background",),
}  # fmt: skip
_LINKS = {"a": "href", "area": "href"}
_CSS_ADDRESS = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^"')\s]+))|@import\s+(?:"([^"]*)"|'([^']*)')""", re.I)
# What browsers take out of an address before they read it.
_IGNORED = re.compile(r"[\x00-\x20]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SCRIPTS = ("javascript:", "vbscript:", "data:text/html", "data:image/svg")
MARKUP = frozenset({*PAGES, "svg"})


@dataclass(frozen=True, slots=True)
class Page:
    """What was found in one file; addresses as they are written, without the space that browsers ignore."""

    resources: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    # Scripts in the page, `on...` attributes and addresses that run, each by what it says.
    scripts: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    pictures_without_words: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def read_page(text: str) -> Page:
    """A page, or a drawing."""
    # Large, and needed by workers and staff only.
    from justhtml import JustHTML

    document = JustHTML(text, collect_errors=True, sanitize=False)
    found: dict[str, list[str]] = {
        name: [] for name in ("resources", "links", "scripts", "redirects", "pictures_without_words")
    }
    for element in _elements(document.root):
        _read_element(element.name, {name: value or "" for name, value in element.attrs.items()}, _text(element), found)
    return Page(
        **{name: tuple(values) for name, values in found.items()}, errors=tuple(e.code for e in document.errors)
    )


def read_styles(text: str) -> Page:
    """A style sheet."""
    return Page(resources=tuple(_css_addresses(text)))


def _elements(root: Any) -> Iterator[Any]:
    """Every element, those in templates too: a script can bring these to life."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if getattr(node, "attrs", None) is not None and not str(getattr(node, "name", "#")).startswith(("#", "!")):
            yield node
        waiting += reversed(getattr(node, "children", None) or [])
        content = getattr(node, "template_content", None)
        if content is not None:
            waiting.append(content)


def _text(element: object) -> str:
    if getattr(element, "name", "") not in ("script", "style"):
        return ""
    return "".join(str(getattr(child, "data", "") or "") for child in getattr(element, "children", None) or [])


def _read_element(name: str, attributes: dict[str, str], text: str, found: dict[str, list[str]]) -> None:
    for attribute in _RESOURCES.get(name, ()):
        if attribute in attributes:
            found["resources"] += _addresses(attribute, attributes[attribute])
    if name in _LINKS and _LINKS[name] in attributes:
        found["links"].append(_clean(attributes[_LINKS[name]]))
    if name == "script":
        found["scripts"].append(text.strip() or _clean(attributes.get("src", attributes.get("href", ""))))
    found["scripts"] += [f"{key}={value}" for key, value in attributes.items() if key.startswith("on")]
    found["scripts"] += [value for value in attributes.values() if _clean(value).lower().startswith(_SCRIPTS)]
    if name == "iframe" and "srcdoc" in attributes:
        found["scripts"].append(attributes["srcdoc"])
    if name == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
        found["redirects"].append(attributes.get("content", ""))
    if name == "base":
        found["redirects"].append(attributes.get("href", ""))
    if name == "img" and "alt" not in attributes:
        found["pictures_without_words"].append(_clean(attributes.get("src", "")))
    found["resources"] += _css_addresses(text if name == "style" else attributes.get("style", ""))


def _addresses(attribute: str, value: str) -> list[str]:
    if attribute == "srcset":
        return [_clean(part.split()[0]) for part in value.split(",") if part.split()]
    return [_clean(value)]


def _css_addresses(text: str) -> list[str]:
    return [_clean(next(filter(None, found.groups()), "")) for found in _CSS_ADDRESS.finditer(text)]


def _clean(address: str) -> str:
    return _IGNORED.sub("", address) if _SCHEME.match(_IGNORED.sub("", address)) else address.strip()


def host_of(address: str) -> str | None:
    """The other server an address leads to; None when it stays on the site, or leads to none."""
    try:
        parts = urlsplit(address.replace("\\", "/"))
    except ValueError:
        return address[:100]
    if parts.scheme not in ("", "http", "https", "ws", "wss", "ftp", "file"):
        return None
    if parts.scheme or parts.netloc:
        return parts.netloc or address[:100]
    return None


def file_of(address: str, page: str) -> str | None:
    """The file of the site that an address on a page means; None when it means none, or leads elsewhere."""
    if host_of(address) is not None or _SCHEME.match(address):
        return None
    try:
        path = unquote(urlsplit(address).path)
    except ValueError:
        return None
    # An address from the root means something else by path than under a domain: it is left alone.
    if not path or path.startswith("/"):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if found == "." or path.endswith(("/", "/.", "/..")) or found == "..":
        return FIRST_PAGE if found in (".", "..") else f"{found}/{FIRST_PAGE}"
    return found


def is_there(file: str, paths: frozenset[str]) -> bool:
    """Whether a site has what an address means: the file, or a folder with a first page."""
    return file in paths or f"{file}/{FIRST_PAGE}" in paths


def read_file(path: str, text: str) -> Page:
    """Any text of a site."""
    kind = kind_of(path)
    if kind in MARKUP:
        return read_page(text)
    return read_styles(text) if kind == "css" else Page()
