"""The rules of the house that no linter knows, read from the syntax trees of `node`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "node").rglob("*.py"))

LONGEST_FUNCTION = 60
LONGEST_MODULE = 300
#: Where an exception of any kind becomes a recorded failure or a DIMSE status.
BROAD_EXCEPT_IN = ("node/loop.py", "node/receive/association.py")
#: Where the environment is read: the commands, what starts the rooms, where the loop looks for who started it, and
#: where a model's child is given its own.
ENVIRONMENT_IN = (
    *("node/cli.py", "node/commands/", "node/supervisor.py", "node/__main__.py"),
    *("node/loop.py", "node/infer/model_child.py"),
)
#: Values in, values out: no clock, no disk. `domain/time.py` is the clock that the edge passes in.
PURE = ("node/domain/", "node/triage/", "node/report/outputs/")
CLOCKS_IN = ("node/domain/time.py",)
SQL = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|BEGIN|PRAGMA|CREATE (TABLE|INDEX)|ALTER TABLE|DROP) ", re.ASCII
)
SQL_IN = ("node/store/",)
CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now",
    "time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.clock_gettime",
    "uuid.uuid1", "uuid.uuid4", "generate_uid", "pydicom.uid.generate_uid", "hd.UID",
}  # fmt: skip
DISK = {
    "open", "os.open", "io.open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rename",
    "np.load", "np.save", "np.savez", "dcmread", "pydicom.dcmread", "save_as", "iterdir", "is_file", "is_dir",
}  # fmt: skip
#: A name that says nothing about what stands in the module.
EMPTY_WORDS = {"manager", "handler", "helper", "helpers", "utils", "util", "common", "data", "info", "process", "misc"}


def place(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(), str(module))


def each(kind: type | tuple[type, ...], within: tuple[str, ...] = ("node/",)) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a kind, with `file:line`, in the modules whose path starts with one of `within`."""
    for module in MODULES:
        if place(module).startswith(within):
            for found in ast.walk(tree(module)):
                if isinstance(found, kind):
                    yield f"{place(module)}:{found.lineno}", found


def dotted(expression: ast.expr) -> str:
    """`a.b.c` of a name or attribute; the last word alone where its left side is an expression."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        left = dotted(expression.value)
        return f"{left}.{expression.attr}" if left else expression.attr
    return ""


def calls(of: set[str], within: tuple[str, ...], but_not: tuple[str, ...] = ()) -> list[str]:
    found = []
    for where, call in each(ast.Call, within):
        name = dotted(call.func)
        if (name in of or ("." in name and name.rpartition(".")[2] in of)) and not where.startswith(but_not or ("\0",)):
            found.append(f"{where} {name}()")
    return found


def public_definitions(module: Path) -> Iterator[tuple[str, ast.AST]]:
    """The module, its public functions and classes, and their public methods."""
    yield "module", tree(module)
    pending: list[tuple[str, ast.stmt]] = [("", statement) for statement in tree(module).body]
    while pending:
        prefix, statement = pending.pop()
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            overridden = any(dotted(mark).endswith(("override", "overload")) for mark in statement.decorator_list)
            if statement.name.startswith("_") or overridden:
                continue
            yield prefix + statement.name, statement
            if isinstance(statement, ast.ClassDef):
                pending += [(f"{statement.name}.", inner) for inner in statement.body]


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 20


def test_no_function_is_longer_than_a_page():
    long = [
        f"{where} {function.name}: {function.end_lineno - function.lineno + 1} lines"
        for where, function in each((ast.FunctionDef, ast.AsyncFunctionDef))
        if function.end_lineno - function.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_module_is_longer_than_one_purpose_needs():
    lengths = {place(module): len(module.read_text().splitlines()) for module in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_everything_public_says_what_it_is():
    silent = [
        f"{place(module)} {name}"
        for module in MODULES
        for name, definition in public_definitions(module)
        if not ast.get_docstring(definition)
    ]
    assert silent == []


def test_only_the_loop_and_the_door_catch_everything():
    broad = []
    for where, handler in each(ast.ExceptHandler):
        caught = [] if handler.type is None else ast.walk(handler.type)
        names = {dotted(kind) for kind in caught if isinstance(kind, ast.Name | ast.Attribute)} or {""}
        tidies_up = isinstance(last := handler.body[-1], ast.Raise) and last.exc is None
        if names & {"", "Exception", "BaseException"} and not tidies_up and not where.startswith(BROAD_EXCEPT_IN):
            broad.append(where)
    assert broad == []


def test_the_loop_and_the_door_do_catch_everything():
    for file in BROAD_EXCEPT_IN:
        assert "except Exception" in (ROOT / file).read_text(), file


def test_values_and_decisions_look_at_no_clock_and_mint_nothing_random():
    assert calls(CLOCKS, PURE, CLOCKS_IN) == []


def test_values_and_decisions_touch_no_disk():
    assert calls(DISK, PURE, CLOCKS_IN) == []


def test_the_environment_is_read_at_the_top_alone():
    readings = [
        where
        for where, found in each((ast.Attribute, ast.Call, ast.Name))
        if dotted(found.func if isinstance(found, ast.Call) else found) in {"os.environ", "os.getenv", "environ"}
        and not where.startswith(ENVIRONMENT_IN)
    ]
    assert readings == []


def test_sql_is_written_in_the_store_alone():
    prose = {id(statement.value) for _, statement in each(ast.Expr)}
    found = [
        f"{where} {text.value[:40]!r}"
        for where, text in each(ast.Constant)
        if isinstance(text.value, str) and id(text) not in prose and SQL.match(text.value)
    ]
    assert any(where.startswith(SQL_IN) for where in found), "the pattern finds no SQL at all"
    assert [where for where in found if not where.startswith(SQL_IN)] == []


def test_names_of_modules_are_nouns_of_the_field():
    assert [place(module) for module in MODULES if {module.stem, module.parent.name} & EMPTY_WORDS] == []


def test_the_floors_hold():
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_no_floor_is_optional_and_no_room_is_missing():
    configured = (ROOT / "pyproject.toml").read_text()
    layers = configured.partition("layers = [")[2].partition("]")[0]
    named = set(re.findall(r"\w+", layers))
    standing = {module.stem if module.parent.name == "node" else module.parent.name for module in MODULES
                if module.parent.parent == ROOT / "node" or module.parent == ROOT / "node"} - {"__init__"}  # fmt: skip
    assert "(" not in layers
    assert standing == named


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    pass\nexcept:\n    pass",
        "try:\n    pass\nexcept (ValueError, Exception):\n    pass",
    ],
)
def test_a_broad_except_is_recognised(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    module = tmp_path / "node" / "rank.py"
    module.parent.mkdir()
    module.write_text(source)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "MODULES", [module])
    with pytest.raises(AssertionError, match=r"node/rank\.py:3"):
        test_only_the_loop_and_the_door_catch_everything()
