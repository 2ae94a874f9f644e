from __future__ import annotations

import re

from node.domain.ups import UpsStatus
from node.receive.conformance import PAGE

GENERAL = {0x0000, 0x0106, 0x0111, 0x0120, 0x0121, 0x0213}


def test_the_page_tells_every_status_of_the_service_class() -> None:
    table = PAGE.read_text().partition("| UPS status |")[2].partition("\n\n")[0]
    told = {int(code, 16) for code in re.findall(r"^\| (0x[0-9A-F]{4}) \|", table, re.MULTILINE)}
    assert told == {int(status) for status in UpsStatus} - GENERAL
