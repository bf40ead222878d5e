"""What builds the portal's addresses, compiled once: each application of a process, and of those forked from it, would
compile some seven hundred functions anew, which is nine tenths of the time that making an application takes."""

from collections.abc import Callable
from functools import cache
from typing import Any

from werkzeug.routing import Rule

Builder = Callable[..., tuple[str, str]]
_compile: Callable[[Rule, bool], Builder] = Rule._compile_builder


@cache
def share() -> None:
    """Let every application made from here on take the functions of the one before."""
    known: dict[Any, Builder] = {}

    def compiled(rule: Rule, append_unknown: bool = True) -> Builder:
        # Defaults are worked into the function; without them it is told by the rule's parts alone.
        if rule.defaults:
            return _compile(rule, append_unknown)
        key = (rule.rule, *rule._trace, append_unknown)
        if key not in known:
            known[key] = _compile(rule, append_unknown)
        return known[key]

    Rule._compile_builder = compiled  # type: ignore[method-assign]  # Werkzeug has no place for it
