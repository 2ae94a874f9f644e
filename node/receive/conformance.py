"""The tables of `node/CONFORMANCE.md` that the code decides: `python -m node.receive.conformance` writes them anew."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from pydicom.uid import UID

from node.receive.intakes import dimse_services
from node.receive.syntaxes import ACCEPTED, DEFLATED, storage_classes
from node.receive.tls import SUITES

PAGE = Path(__file__).resolve().parents[1] / "CONFORMANCE.md"


def tables() -> dict[str, str]:
    """Return each table in Markdown, by the name that marks its place in the page."""
    services = sorted((UID(uid).name, uid) for uid in dimse_services())
    return {
        "services": _table(("SOP Class", "UID"), services),
        "storage": _table(("SOP Class", "UID"), ((_name(uid), uid) for uid in storage_classes())),
        "transfer syntaxes": _table(("Transfer syntax", "UID"), ((_name(uid), uid) for uid in ACCEPTED)),
        "deflated": _table(("Transfer syntax", "UID"), ((_name(uid), uid) for uid in sorted(DEFLATED))),
        "cipher suites": "\n".join(f"- `{suite}`" for suite in SUITES),
    }


def filled(page: str) -> str:
    """Return the page with every table between its marks as it is now.

    Raises:
        ValueError: a table has no place in it.
    """
    for name, table in tables().items():
        marks = re.compile(rf"<!-- {name} -->\n.*?<!-- end -->", re.DOTALL)
        places = marks.findall(page)
        if len(places) != 1:
            raise ValueError(f"the page has {len(places)} places for the table of {name}")
        page = marks.sub("\n".join((f"<!-- {name} -->", table, "<!-- end -->")), page)
    return page


def _name(uid: str) -> str:
    found = UID(uid)
    return f"{found.name} (retired)" if found.is_retired and "(Retired)" not in found.name else found.name


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    sys.stdout.write(f"{PAGE}\n")
