"""Templates: nothing inline, nothing unescaped without a reason, nothing in English only, no dead names."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from flask import Flask
from jinja2 import Environment, nodes

from portal import create_app
from tests.conftest import settings_for
from tests.structure import source
from tests.structure.source import Finding, Source, called_name, check, lines_found

# The gallery of components, shown to developers only, and the mails' layout, which is no HTML page.
GALLERY = "templates/dev/"
GETTEXT = {"_", "gettext", "ngettext", "pgettext", "npgettext", "_l", "lazy_gettext", "lazy_ngettext", "lazy_pgettext"}
SPOKEN_ATTRIBUTES = {"alt", "title", "placeholder", "aria-label", "aria-description", "label"}
# Words that are the same in every language: names, currencies, units, formats, keys.
NAMES = {
    "BLIK", "CSS", "CSV", "GitHub", "HTML", "HTTP", "ID", "JSON", "PDF", "PLN", "Redis", "Stripe", "TOTP", "URL", "USD",
    "UTC", "kg", "mm",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]{2,}")
_CLASS_BLOCK = re.compile(r"{% block \w+_class %}[^{\n]*{% endblock %}")
_HANDLER = re.compile(r"on[a-z]+$|hx-on(?:[:-].*)?$")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application that nobody connects to a database."""
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path_factory.mktemp("templates")))


def bare_environment() -> Environment:
    """Reads the syntax that the portal's templates are written in."""
    return Environment(extensions=["jinja2.ext.i18n"], autoescape=True)


class Markup(HTMLParser):
    """A template without its expressions: tags, attributes and the text between, each with its line."""

    def __init__(self, file: Source) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[int, str, dict[str, str | None]]] = []
        self.texts: list[tuple[int, str]] = []
        self._silent = 0
        self.feed(without_expressions(file.text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((self.getpos()[0], tag, dict(attrs)))
        if tag in ("script", "style", "mj-style", "code"):
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "mj-style", "code"):
            self._silent -= 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((self.getpos()[0], tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            line = self.getpos()[0]
            self.texts.extend((line + offset, part) for offset, part in enumerate(data.split("\n")) if part.strip())


def without_expressions(text: str) -> str:
    """The template's own HTML. Translated blocks are left out; lines stay where they are."""
    kept: list[str] = []
    inside, is_translated = "", False
    # A digit stands for an expression: `<h{{ level }}>` stays a tag, and it is no word. Class names are none either.
    for _line, kind, value in bare_environment().lex(_CLASS_BLOCK.sub("", text)):
        if kind in ("variable_begin", "block_begin", "comment_begin"):
            inside = kind
        if inside == "block_begin" and kind == "name":
            is_translated = {"trans": True, "endtrans": False}.get(value, is_translated)
        if not inside and not is_translated:
            kept.append(value)
        else:
            kept.append("\n" * value.count("\n"))
        if kind in ("variable_end", "block_end", "comment_end"):
            kept.append("1" if inside == "variable_begin" and not is_translated else "")
            inside = ""
    return "".join(kept)


def holds_inline_code(file: Source) -> Iterator[Finding]:
    """The CSP refuses inline scripts, styles and handlers; htmx's own handlers are code as well."""
    for line, tag, attributes in Markup(file).tags:
        if tag == "script" and not attributes.get("src"):
            yield file.at(line, "an inline script")
        if tag == "style":
            yield file.at(line, "an inline style sheet")
        for name, value in attributes.items():
            if name == "style":
                yield file.at(line, "a style attribute")
            if _HANDLER.match(name):
                yield file.at(line, f"a handler: {name}")
            if re.match(r"\s*(javascript|js|vbscript):", value or "", re.IGNORECASE):
                yield file.at(line, f"a script address in {name}")


def escapes_nothing(file: Source) -> Iterator[Finding]:
    """`|safe` and autoescape off: only with `{# safe: why #}` on the same line."""
    for number, line in enumerate(file.lines, 1):
        if re.search(r"\|\s*safe\b|{%-?\s*autoescape\s+false|Markup\(", line) and not re.search(r"safe: \S.{8,}", line):
            yield file.at(number, "is not escaped, and no {# safe: reason #} says why that is harmless")


def speaks_english_only(file: Source) -> Iterator[Finding]:
    """Visible words that no translator ever sees."""
    markup = Markup(file)
    for line, text in markup.texts:
        if words := _untranslated(text):
            yield file.at(line, f"untranslated: {' '.join(words)!r}")
    for line, tag, attributes in markup.tags:
        spoken = [value or "" for name, value in attributes.items() if name in SPOKEN_ATTRIBUTES]
        if tag in ("input", "button") and attributes.get("type") in ("submit", "button"):
            spoken.append(attributes.get("value") or "")
        if words := [word for value in spoken for word in _untranslated(value)]:
            yield file.at(line, f"untranslated in an attribute: {' '.join(words)!r}")
    yield from _bare_sentences(file)


def _untranslated(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if word not in NAMES]


def _bare_sentences(file: Source) -> Iterator[Finding]:
    """Sentences and labels written as text into an expression: `submit("Save")`."""

    def walk(node: nodes.Node) -> Iterator[Finding]:
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in GETTEXT:
            return
        if isinstance(node, nodes.Compare | nodes.Getitem | nodes.Test | nodes.ImportedName):
            return
        is_text = isinstance(node, nodes.Const) and isinstance(node.value, str)
        if is_text and re.match(r"[A-Z][a-z]+(\s|[.…!?]?$)", node.value) and node.value not in NAMES:
            yield file.at(node.lineno, f"untranslated in an expression: {node.value!r}")
        for child in node.iter_child_nodes():
            yield from walk(child)

    yield from walk(bare_environment().parse(file.text))


def speaks_english_only_in_python(file: Source) -> Iterator[Finding]:
    """Labels of form fields, flashed messages and the sentences of errors, written without gettext."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call):
            name = called_name(node)
            shown = node.args[:1] if name == "flash" or name.endswith("Field") else []
            shown += [k.value for k in node.keywords if k.arg in ("message", "label", "description")]
            is_log = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("log", "logging")
            for value in shown:
                parts = value.values if isinstance(value, ast.JoinedStr) else [value]
                texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
                if not is_log and _untranslated(" ".join(texts)):
                    yield file.at(value.lineno, f"untranslated: {ast.unparse(value)}")
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                is_default = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "default"
                if is_default and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
                    yield file.at(statement.lineno, f"untranslated: {statement.value.value!r}")


def endpoints_named(file: Source) -> Iterator[tuple[int, str]]:
    """Every endpoint that a template or a module writes out in url_for() or address_of()."""
    if file.path.endswith(".py"):
        for call in (node for node in ast.walk(file.tree) if isinstance(node, ast.Call)):
            if called_name(call) in ("url_for", "address_of") and call.args and isinstance(call.args[0], ast.Constant):
                yield call.lineno, str(call.args[0].value)
        return
    for call in bare_environment().parse(file.text).find_all(nodes.Call):
        is_url_for = isinstance(call.node, nodes.Name) and call.node.name == "url_for"
        if is_url_for and call.args and isinstance(call.args[0], nodes.Const):
            yield call.lineno, call.args[0].value


def icons_named(file: Source) -> Iterator[tuple[int, str]]:
    """Every icon that is written out: icon("x") and icon_name="x"."""
    if file.path.endswith(".py"):
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Call):
                found = node.args[:1] if called_name(node) == "icon" else []
                found += [keyword.value for keyword in node.keywords if keyword.arg in ("icon", "icon_name")]
                yield from (
                    (n.lineno, n.value) for n in found if isinstance(n, ast.Constant) and isinstance(n.value, str)
                )
        return
    tree = bare_environment().parse(file.text)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "icon" and call.args:
            yield from ((call.lineno, one.value) for one in [call.args[0]] if isinstance(one, nodes.Const))
        for keyword in call.kwargs:
            if keyword.key in ("icon_name", "icon") and isinstance(keyword.value, nodes.Const) and keyword.value.value:
                yield call.lineno, keyword.value.value


def known_icons() -> set[str]:
    listed = (source.ROOT / "assets" / "icons.txt").read_text().splitlines()
    return {line.strip() for line in listed if line.strip() and not line.startswith("#")}


def pages() -> tuple[Source, ...]:
    """The templates people see: all but the gallery."""
    return tuple(file for file in source.templates(".html", ".mjml", ".txt") if not file.path.startswith(GALLERY))


def test_nothing_is_inline() -> None:
    check(holds_inline_code, source.templates())


def test_nothing_is_unescaped_without_a_reason() -> None:
    check(escapes_nothing, source.templates(".html", ".mjml", ".txt"))


def test_everything_visible_can_be_translated() -> None:
    check(speaks_english_only, pages())
    check(
        speaks_english_only_in_python,
        [file for file in source.files("portal") if file.parts[1] not in ("dev", "devtools")],
    )


def test_every_template_compiles(site: Flask) -> None:
    names = [file.path.removeprefix("templates/") for file in source.templates(".html", ".mjml", ".txt")]
    for name in names:
        site.jinja_env.get_template(name)
    assert len(names) > 30


def test_every_template_that_is_named_exists(site: Flask) -> None:
    there = {file.path.removeprefix("templates/") for file in source.templates(".html", ".mjml", ".txt")}

    def names_nothing(file: Source) -> Iterator[Finding]:
        for node in ast.walk(file.tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and re.fullmatch(r"[a-z_]+(/[a-z_0-9]+)+\.(html|mjml)", node.value) and node.value not in there:
                yield file.at(node.lineno, f"names the template {node.value}, which does not exist")

    check(names_nothing, source.files("portal"))


def test_every_address_is_of_an_endpoint_that_exists(site: Flask) -> None:
    def names_nobody(file: Source) -> Iterator[Finding]:
        for line, endpoint in endpoints_named(file):
            # ".show" is the blueprint's own.
            known = {*site.view_functions, *(f".{name.rpartition('.')[2]}" for name in site.view_functions)}
            if endpoint not in known:
                yield file.at(line, f"{endpoint!r}: no such endpoint")

    check(names_nobody, [*source.templates(".html", ".mjml", ".txt"), *source.files("portal")])


def test_every_icon_is_in_the_sprite() -> None:
    known = known_icons()

    def names_no_icon(file: Source) -> Iterator[Finding]:
        for line, name in icons_named(file):
            if name not in known:
                yield file.at(line, f"no icon {name!r} in assets/icons.txt")

    check(names_no_icon, [*source.templates(), *source.files("portal")])
    # The rule reads something: most templates have an icon.
    assert sum(1 for file in source.templates() for _ in icons_named(file)) > 20


def test_every_template_is_used() -> None:
    """A page that no route and no other template names is dead."""
    readers = [*source.templates(".html", ".mjml", ".txt"), *source.files("portal")]
    text = "\n".join(file.text for file in readers)

    def is_dead(file: Source) -> Iterator[Finding]:
        name = file.path.removeprefix("templates/")
        # Mails are found by their folder, the gallery's pages by their name.
        if not name.startswith(("emails/", "dev/")) and name not in text:
            yield file.at(1, "no route and no template uses it")

    check(is_dead, source.templates())


# --- that each rule can fail ---


def test_the_inline_rule_can_fail() -> None:
    text = (
        '<script>go()</script>\n<script src="{{ x }}"></script>\n<style>p{}</style>\n<p style="a">\n<a onclick="x">\n'
        '<a href="javascript:x">\n<b hx-on:click="x">\n<p class="style" data-on="1">\n'
    )
    assert lines_found(holds_inline_code, text, "templates/x.html") == [1, 3, 4, 5, 6, 7]


def test_the_escaping_rule_can_fail() -> None:
    text = (
        "{{ a|safe }}\n{{ b | safe }} {# safe: made by our own macro #}\n{{ safe }}\n"
        "{% autoescape false %}{% endautoescape %}\n"
    )
    assert lines_found(escapes_nothing, text, "templates/x.html") == [1, 4]


def test_the_language_rule_can_fail() -> None:
    text = (
        "<h1>Orders</h1>\n<h1>{{ _('Orders') }}</h1>\n<p>{% trans %}Read this{% endtrans %}</p>\n"
        '<img alt="A cat">\n<img alt="{{ _(\'A cat\') }}">\n{{ submit("Save") }}\n{{ submit(_("Save")) }}\n'
        '{# An English comment. #}\n<p class="Lead text">{{ name }} · PLN</p>\n'
        '{% if f.type == "TextField" %}x{% endif %}\n<p>{% if a %}\nlate{% endif %}</p>\n'
        '{% block body_class %}wide page{% endblock %}<h{{ level }} class="page title">\n'
    )
    assert lines_found(speaks_english_only, text, "templates/x.html") == [1, 4, 6, 12]


def test_the_language_rule_for_python_can_fail() -> None:
    text = (
        'StringField("Name")\nStringField(_l("Name"))\nflash("Saved.")\nflash(_("Saved."))\nX(message="Not this")\n'
        'class E(PortalError):\n    default = "Not that"\nlog.info("x", message="fine")\n'
    )
    assert lines_found(speaks_english_only_in_python, text) == [1, 3, 5, 7]


def test_names_are_found_where_they_are_written() -> None:
    page = Source("templates/x.html", "{{ url_for('orders.index') }}\n{{ icon('home') }}{{ empty(icon_name='bell') }}")
    assert list(endpoints_named(page)) == [(1, "orders.index")]
    assert sorted(icons_named(page)) == [(2, "bell"), (2, "home")]
    module = Source("portal/x.py", "url_for('cart.show')\nicon('x')\naddress_of('orders.detail', number=1)\n")
    assert list(endpoints_named(module)) == [(1, "cart.show"), (3, "orders.detail")]
    assert list(icons_named(module)) == [(2, "x")]
