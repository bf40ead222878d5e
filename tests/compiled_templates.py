"""Templates compiled once a test run: each application and each process of it would do it anew."""

import atexit
import os
import shutil
import tempfile

from flask import Flask
from jinja2 import FileSystemBytecodeCache

_FOLDER = "TESTS_COMPILED_TEMPLATES"


def share() -> None:
    """Let every application made from here on find what another has compiled, in this process and in its children's."""
    if _FOLDER not in os.environ:
        os.environ[_FOLDER] = tempfile.mkdtemp(prefix="portal-templates-")
        atexit.register(_forget, os.environ[_FOLDER], os.getpid())
    cache = FileSystemBytecodeCache(os.environ[_FOLDER])
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": cache}  # type: ignore[misc]  # for all of them


def _forget(folder: str, owner: int) -> None:
    # A forked child inherits what is done at the end.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
