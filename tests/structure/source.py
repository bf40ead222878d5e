"""What the rules of this folder read: the project's own files, and the findings they report."""

import ast
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Source:
    """One file: of the project, or made up by a rule's own test."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The file as Python reads it."""
        return ast.parse(self.text, filename=self.path)

    @property
    def lines(self) -> list[str]:
        """Its lines, without their ends."""
        return self.text.splitlines()

    @property
    def parts(self) -> tuple[str, ...]:
        """Its folders and its name: ("portal", "core", "db.py")."""
        return PurePosixPath(self.path).parts

    @property
    def module(self) -> str:
        """Its dotted name: "portal.core.db", or "portal.core" for an __init__.py."""
        names = [*self.parts[:-1], self.parts[-1].removesuffix(".py")]
        return ".".join(names[:-1] if names[-1] == "__init__" else names)

    def at(self, line: int, what: str) -> Finding:
        """A finding in this file."""
        return Finding(self.path, line, what)


Rule = Callable[[Source], Iterable[Finding]]


@lru_cache
def _tracked() -> tuple[str, ...]:
    """Every file of the project that git knows or would add: nothing installed, nothing built."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return tuple(sorted(name for name in set(listed.stdout.splitlines()) if (ROOT / name).is_file()))


@lru_cache
def files(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> tuple[Source, ...]:
    """The files of some folders (or single files) with one of the suffixes."""
    chosen = [
        name
        for name in _tracked()
        if name.endswith(suffixes) and any(name == folder or name.startswith(f"{folder}/") for folder in folders)
    ]
    assert chosen, f"no files in {folders}: a rule that reads nothing proves nothing"
    return tuple(Source(name, (ROOT / name).read_text()) for name in chosen)


def product() -> tuple[Source, ...]:
    """The code that runs in production."""
    return files("portal", "worker.py", "wsgi.py")


def everything() -> tuple[Source, ...]:
    """All Python there is."""
    return files("portal", "worker.py", "wsgi.py", "tests", "scripts", "deploy", "bench", "migrations")


def templates(*suffixes: str) -> tuple[Source, ...]:
    """The templates, by default those that become HTML."""
    return files("templates", suffixes=suffixes or (".html",))


def check(rule: Rule, sources: Iterable[Source]) -> None:
    """Fail with file and line of everything that breaks the rule."""
    found = sorted({finding for source in sources for finding in rule(source)})
    assert not found, f"{len(found)} found\n" + "\n".join(str(finding) for finding in found)


def lines_found(rule: Rule, text: str, path: str = "portal/orders/services.py") -> list[int]:
    """The lines a rule complains about in made-up code: what a rule's own test looks at."""
    return sorted(finding.line for finding in rule(Source(path, text)))


def called_name(call: ast.Call) -> str:
    """The last part of what is called: "publish" for outbox.publish(...)."""
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def dotted(node: ast.expr) -> str:
    """A name with its dots: "db.session.commit"; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}" if dotted(value) else f"().{name}"
        case _:
            return ""


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the nodes that are docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found
