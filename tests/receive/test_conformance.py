from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from node.config import ReceiveSettings, Settings
from node.receive import association, conformance, status
from node.receive.intakes import dimse_services
from node.receive.syntaxes import ACCEPTED, DEFLATED, storage_classes

PAGE = conformance.PAGE.read_text()


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f" {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_tables_are_those_of_the_code():
    assert conformance.filled(PAGE) == PAGE, "write them anew: python -m node.receive.conformance"


@pytest.mark.parametrize(
    ("name", "uids"),
    [
        ("services", set(dimse_services())),
        ("storage", set(storage_classes())),
        ("transfer syntaxes", set(ACCEPTED)),
        ("deflated", set(DEFLATED)),
    ],
)
def test_a_table_lists_what_is_accepted_and_nothing_else(name: str, uids: set[str]):
    table = PAGE.partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0]
    assert set(re.findall(r"\| ([0-9.]+) \|", table)) == uids


def test_a_table_without_a_place_is_missed():
    with pytest.raises(ValueError, match="0 places"):
        conformance.filled("nothing")


def test_every_status_that_is_sent_is_told_and_no_other():
    sent = {value for name, value in vars(status).items() if name.isupper() and isinstance(value, int)}
    told = {int(code, 16) for code in re.findall(r"^\| (0x[0-9A-F]{4}) \|", section("Statuses"), re.MULTILINE)}
    assert told == sent


def rejections() -> set[str]:
    """Every Rejection that a caller may get, as result/source/diagnostic."""
    found = set()
    for call in ast.walk(ast.parse(Path(association.__file__).read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Rejection":
            numbers = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
            found.add("/".join(str(numbers[part]) for part in ("result", "source", "diagnostic")))
    return found


def test_every_rejection_is_told_and_no_other():
    told = set(re.findall(r"^\| (\d/\d/\d) \|", section("Association rejection"), re.MULTILINE))
    assert told == rejections()


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("maximum_pdu_bytes", "131072 bytes"),
        ("maximum_associations", "64 associations"),
        ("maximum_associations_per_peer", "16 of one peer"),
        ("artim_s", "10 s"),
        ("idle_s", "60 s"),
        ("maximum_object_bytes", "4 GiB"),
    ],
)
def test_a_limit_is_told_with_its_default_and_its_key(key: str, shown: str):
    number, unit = shown.split(maxsplit=1)
    default = getattr(ReceiveSettings(), key)
    assert default == (int(number) << 30 if unit == "GiB" else int(number))
    line = next(line for line in PAGE.splitlines() if f"`{key}`" in line)
    assert shown in line


def test_the_tls_port_is_told():
    assert f"`[node] tls_port` ({Settings().node.tls_port})" in PAGE
