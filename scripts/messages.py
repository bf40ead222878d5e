"""Collects the texts of code and templates and merges them into each language's .po file."""

import io
from collections.abc import Sequence
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
TRANSLATIONS = ROOT / "portal" / "translations"
LANGUAGES = {"pl": "Polish", "es": "Spanish"}  # English is the language of the texts themselves.
METHODS = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2"), ("**.mjml", "jinja2")]
# As the portal's own Jinja environment reads its templates: otherwise a text over two lines gets another id.
TEMPLATE = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
OPTIONS = {pattern: TEMPLATE for pattern, method in METHODS if method == "jinja2"}
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    "_l": None,
    "_ln": (1, 2),
    "lazy_gettext": None,
    "lazy_ngettext": (1, 2),
    "lazy_pgettext": ((1, "c"), 2),
}


def main() -> None:
    """Create or update every language; the .po files are the only files that stay."""
    texts = extract()
    for language, name in LANGUAGES.items():
        source = source_of(language)
        catalogue = read(language) if source.exists() else Catalog(locale=language)
        catalogue.update(texts, no_fuzzy_matching=True)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(written(catalogue, name))
        waiting = sum(1 for message in messages(catalogue) if not is_translated(message))
        print(f"  {language}: {len(texts)} texts, {waiting} not translated ({source.relative_to(ROOT)})", flush=True)


def extract() -> Catalog:
    """Every text that the code and the templates ask for."""
    catalogue = Catalog(fuzzy=False)
    for folder in ("portal", "templates"):
        # Without a filter of ours, Babel leaves out folders such as templates/emails/_layout.
        found = extract_from_dir(ROOT / folder, METHODS, OPTIONS, KEYWORDS, directory_filter=lambda _path: True)
        for file, _line, text, _comments, context in found:
            catalogue.add(text, locations=[(f"{folder}/{file}", 0)], context=context)
    return catalogue


def source_of(language: str) -> Path:
    """Where a language's translations are written."""
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def read(language: str) -> Catalog:
    """What is translated into a language."""
    with source_of(language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def written(catalogue: Catalog, name: str) -> bytes:
    """The catalogue as a .po file that only changes when a text does: no dates, no line numbers."""
    entries = io.BytesIO()
    write_po(
        entries, catalogue, no_location=True, omit_header=True, sort_output=True, ignore_obsolete=True, width=120,
    )  # fmt: skip
    header = (
        f"# {name} texts of the portal. `make messages` brings them up to date with the code.\n"
        'msgid ""\nmsgstr ""\n'
        f'"Language: {catalogue.locale}\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n'
        '"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n\n'
    )
    return header.encode() + entries.getvalue()


def messages(catalogue: Catalog) -> list[Message]:
    """The texts of a catalogue without its header."""
    return [message for message in catalogue if message.id]


def is_translated(message: Message) -> bool:
    """Whether a text, with every plural form it has, says something that somebody has looked at."""
    forms: Sequence[str] = [message.string] if isinstance(message.string, str) else message.string or ()
    return bool(forms) and all(form.strip() for form in forms) and not message.fuzzy


if __name__ == "__main__":
    main()
