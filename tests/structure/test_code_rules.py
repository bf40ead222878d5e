"""House rules that a reader would otherwise have to remember, each held by a test that can fail."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.structure import source
from tests.structure.source import Finding, Source, called_name, check, dotted, lines_found

LONGEST_FILE = 400
VAGUE_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py"}

# Ending a read early gives its connection back; each says why it cannot wait for the end of the request or job.
MAY_ROLL_BACK = {
    "portal/core/db.py": "the unit of work itself",
    "portal/core/outbox.py": "a handler's leftovers are dropped before its message is marked",
    "portal/core/periodic.py": "a sweep that failed leaves its transaction behind for the next one",
    "portal/core/rehearsal.py": "a rehearsal changes nothing: it always rolls back",
    "portal/core/web.py": "an error page must not work in the transaction that failed",
    "portal/accounts/loader.py": "the request's connection goes back before another one is taken",
    "portal/orders/visitor.py": "an error page shows no cart, and must not work in the transaction that failed",
}
MAY_COMMIT = {
    "portal/core/db.py": "the unit of work itself, and the hot connection",
    "portal/accounts/loader.py": "when a session was last seen is best effort, after the request's own work",
}
CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "time.localtime",
    "time.gmtime", "dt.datetime.now", "datetime.datetime.now", "datetime.date.today",
}  # fmt: skip
INEXACT = {"Float", "Double", "REAL", "DOUBLE", "DOUBLE_PRECISION", "Numeric", "NUMERIC", "DECIMAL"}
ENQUEUEING = {"enqueue", "enqueue_call", "enqueue_in", "enqueue_at", "enqueue_many", "enqueue_job", "delay"}
_SUPPRESSION = re.compile(
    r"#\s*(?P<kind>noqa|type:\s*ignore|pragma|nosec|ruff:\s*noqa|mypy:|fmt:\s*off)", re.IGNORECASE
)
_COMPLETE = re.compile(r"#\s*(?:noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\])  # \S.{5,}")


def assigns_status(file: Source) -> Iterator[Finding]:
    """`.status = ...` by hand, past transition() and its history; an object's own attribute in __init__ is fine."""
    if file.path == "portal/core/state.py":
        return
    for node in ast.walk(file.tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and called_name(node) in ("setattr", "set_committed_value"):
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if any(_is_status(name) for name in names):
                yield file.at(node.lineno, "writes a status past core.state.transition()")
        for target in targets:
            for part in ast.walk(target):
                is_own = isinstance(part, ast.Attribute) and dotted(part.value) == "self"
                if isinstance(part, ast.Attribute) and _is_status(part.attr) and not is_own:
                    yield file.at(node.lineno, f"assigns {dotted(part)}: only core.state.transition() writes a status")


def _is_status(name: str) -> bool:
    return name == "status" or name.endswith("_status")


def writes_status_in_bulk(file: Source) -> Iterator[Finding]:
    """`update(...).values(status=...)`: fine for tables without a MACHINES table, such as the outbox, which say so."""
    if file.path in ("portal/core/state.py", "portal/core/outbox.py"):
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and called_name(node) == "values" and "update(" in ast.unparse(node.func):
            for keyword in node.keywords:
                if keyword.arg and _is_status(keyword.arg):
                    yield file.at(keyword.value.lineno, f"updates {keyword.arg} past core.state.transition()")


def ends_transactions(file: Source) -> Iterator[Finding]:
    """Commits belong to unit_of_work()."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "commit" and file.path not in MAY_COMMIT:
                yield file.at(node.lineno, "commits; only core/db.py does")
            if node.func.attr == "rollback" and file.path not in MAY_ROLL_BACK:
                yield file.at(node.lineno, "rolls back; only core/db.py does, or say why in MAY_ROLL_BACK")


def reads_the_wall_clock(file: Source) -> Iterator[Finding]:
    """The clock is core.clock.now(); time.monotonic() and perf_counter() measure, they do not tell the time."""
    if file.path == "portal/core/clock.py":
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in CLOCKS:
            yield file.at(node.lineno, f"reads {dotted(node)}; the clock is core.clock.now()")
        if isinstance(node, ast.ImportFrom) and node.module == "time" and any(n.name == "time" for n in node.names):
            yield file.at(node.lineno, "imports time.time; the clock is core.clock.now()")
        if isinstance(node, ast.Attribute) and dotted(node) in ("func.now", "func.current_timestamp"):
            yield file.at(node.lineno, "lets the database tell the time; the clock is core.clock.now()")


def stores_inexact_numbers(file: Source) -> Iterator[Finding]:
    """Money and measures are whole numbers of a smallest unit. Token amounts alone may be NUMERIC(78, 0)."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and called_name(node) in INEXACT:
            if [ast.unparse(argument) for argument in node.args] != ["78", "0"]:
                yield file.at(node.lineno, f"a column of {ast.unparse(node)}: store whole numbers")
        elif isinstance(node, ast.Subscript) and ast.unparse(node) in ("Mapped[float]", "Mapped[float | None]"):
            yield file.at(node.lineno, "a column of float: store whole numbers")


def names_htmx_headers(file: Source) -> Iterator[Finding]:
    """HX- headers are core/htmx.py's business."""
    if file.path == "portal/core/htmx.py":
        return
    prose = source.docstrings(file.tree)
    for node in ast.walk(file.tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        if is_text and re.match(r"HX-[A-Za-z]", node.value):
            yield file.at(node.lineno, f"names {node.value}; HX- headers belong to core/htmx.py")


def enqueues(file: Source) -> Iterator[Finding]:
    """Work goes through the outbox; only core/queues.py hands RQ its wake-up jobs."""
    if file.path == "portal/core/queues.py":
        return
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ENQUEUEING:
            yield file.at(node.lineno, f"calls .{node.func.attr}(); publish to the outbox instead")


def suppresses_without_reason(file: Source) -> Iterator[Finding]:
    """`# noqa: CODE  # why` and `# type: ignore[code]  # why`, or none at all."""
    for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
        if token.type != tokenize.COMMENT or not _SUPPRESSION.search(token.string):
            continue
        if not _COMPLETE.search(token.string):
            yield file.at(token.start[0], f"{token.string.strip()!r}: name the code, then the reason")


def skips_tests(file: Source) -> Iterator[Finding]:
    """A test that is left out proves nothing and is forgotten."""
    names = {"skip", "skipif", "xfail", "importorskip", "skipTest", "skipUnless", "expectedFailure"}
    for node in ast.walk(file.tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and dotted(node).split(".")[0] in ("pytest", "unittest", "self")
        ):
            yield file.at(node.lineno, f"{dotted(node)}: no test is left out")


def passes_always(file: Source) -> Iterator[Finding]:
    """A test without an assertion cannot fail: none of assert, pytest.raises, or a checking function of its own."""
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        says = any(
            isinstance(part, ast.Assert) or (isinstance(part, ast.Call) and _fails_by_itself(part))
            for part in ast.walk(node)
        )
        if not says:
            yield file.at(node.lineno, f"{node.name} asserts nothing")


def _fails_by_itself(call: ast.Call) -> bool:
    is_checking = re.match(r"(raises|check|assert|expect|warns|validate|wait_|sees?_)", called_name(call)) is not None
    return is_checking or any(keyword.arg == "check" for keyword in call.keywords)


def is_too_long(file: Source) -> Iterator[Finding]:
    """Split by capability, never into utils.py."""
    if len(file.lines) > LONGEST_FILE:
        yield file.at(LONGEST_FILE + 1, f"{len(file.lines)} lines; split it by capability")


def has_a_vague_name(file: Source) -> Iterator[Finding]:
    """A file called utils.py becomes everybody's attic."""
    if file.parts[-1] in VAGUE_NAMES:
        yield file.at(1, "is named for nothing; name it for what it does")


def test_only_transitions_write_a_status() -> None:
    check(assigns_status, source.product())
    check(writes_status_in_bulk, source.product())


def test_only_the_unit_of_work_commits() -> None:
    check(ends_transactions, source.product())


def test_only_one_file_reads_the_wall_clock() -> None:
    check(reads_the_wall_clock, source.product())


def test_no_column_is_inexact() -> None:
    check(stores_inexact_numbers, source.files("portal", "migrations"))


def test_only_one_file_names_htmx_headers() -> None:
    check(names_htmx_headers, source.product())


def test_only_one_file_enqueues() -> None:
    check(enqueues, source.product())


def test_every_suppression_names_its_code_and_reason() -> None:
    check(suppresses_without_reason, source.everything())


def test_no_test_is_left_out() -> None:
    check(skips_tests, source.files("tests"))


def test_every_test_can_fail() -> None:
    check(passes_always, source.files("tests"))


def test_no_file_is_too_long() -> None:
    check(is_too_long, source.product())


def test_no_file_has_a_vague_name() -> None:
    check(has_a_vague_name, source.everything())


def test_exceptions_are_still_needed() -> None:
    """An exception for a file that is gone, or that stopped needing it, is taken off the list."""
    code = {file.path: file.text for file in source.product()}
    assert [path for path in MAY_ROLL_BACK if ".rollback(" not in code.get(path, "")] == []
    assert [path for path in MAY_COMMIT if ".commit(" not in code.get(path, "")] == []


# --- that each rule can fail ---


def test_the_status_rules_can_fail() -> None:
    text = "order.status = 1\nself.status = 2\nx.payment_status: int = 3\nOrder(status=4)\nsetattr(o, 'status', 5)\n"
    assert lines_found(assigns_status, text) == [1, 3, 5]
    text = "s.execute(update(Order).where(x).values(status=1))\ninsert(Order).values(status=2)\n"
    assert lines_found(writes_status_in_bulk, text) == [1]


def test_the_transaction_rule_can_fail() -> None:
    text = "db.session.commit()\ndb.session.rollback()\nconnection.commit()\nunit_of_work()\n"
    assert lines_found(ends_transactions, text) == [1, 2, 3]
    assert lines_found(ends_transactions, text, "portal/core/db.py") == []


def test_the_clock_rule_can_fail() -> None:
    text = "datetime.now(UTC)\ntime.monotonic()\ntime.time()\nfrom time import time\nfunc.now()\nclock.now()\n"
    assert lines_found(reads_the_wall_clock, text) == [1, 3, 4, 5]


def test_the_column_rule_can_fail() -> None:
    text = "a = mapped_column(Numeric(10, 2))\nb = mapped_column(Float())\nc: Mapped[float]\nd = Numeric(78, 0)\n"
    assert lines_found(stores_inexact_numbers, text) == [1, 2, 3]


def test_the_header_rule_can_fail() -> None:
    text = '"""HX-Request is read elsewhere."""\nif headers["HX-Request"]: pass\nattribute = "hx-get"\n'
    assert lines_found(names_htmx_headers, text) == [2]


def test_the_queue_rule_can_fail() -> None:
    assert lines_found(enqueues, "queue.enqueue(job)\noutbox.publish('x')\nqueue.enqueue_in(5, job)\n") == [1, 3]


def test_the_suppression_rule_can_fail() -> None:
    bare, mark = "noqa", "type: ignore"
    text = (
        f"a = 1  # {bare}\nb = 2  # {bare}: S105\nc = 3  # {bare}: S105  # a purpose, not a secret\n"
        f"d = 4  # {mark}\ne = 5  # {mark}[misc]\nf = 6  # {mark}[misc]  # the library is untyped\n"
        f'g = "# {bare}"\n'
    )
    assert lines_found(suppresses_without_reason, text) == [1, 2, 4, 5]


def test_the_skip_rule_can_fail() -> None:
    text = "@pytest.mark.skip\ndef test_a(): pass\npytest.importorskip('x')\nx.skip()\n"
    assert lines_found(skips_tests, text, "tests/test_x.py") == [1, 3]


def test_the_assertion_rule_can_fail() -> None:
    text = "def test_a(): run()\ndef test_b():\n    assert run()\ndef test_c():\n    with pytest.raises(X): run()\n"
    assert lines_found(passes_always, text, "tests/test_x.py") == [1]


def test_the_size_and_name_rules_can_fail() -> None:
    assert lines_found(is_too_long, "x = 1\n" * 401) == [401]
    assert lines_found(is_too_long, "x = 1\n" * 400) == []
    assert lines_found(has_a_vague_name, "", "portal/orders/utils.py") == [1]
