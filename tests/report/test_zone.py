"""Two sites nine hours apart, and a night on which the clocks change: every date is that of the place."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from node.report.evidence import Evidence
from node.report.zone import moment, offset, written
from tests.report.synthetic import SCANS, Scan, build, evidence_on

BERLIN, TOKYO, CHICAGO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Chicago")


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(SCANS["axial"]))


def at(evidence: Evidence, zone: ZoneInfo | None, finished: datetime, **header: str | None) -> Evidence:
    """The evidence of a study on whose scanner these dates stand."""
    first = deepcopy(evidence.source)
    for keyword, value in header.items():
        if value is None:
            first.pop(keyword, None)
        else:
            setattr(first, keyword, value)
    return replace(evidence, sources=(first, *evidence.sources[1:]), zone=zone, finished_at=finished)


def told(evidence: Evidence) -> tuple[str, str, str]:
    """Offset, date and time that the report bears."""
    report = build(evidence, "measurement_sr")
    return str(report.get("TimezoneOffsetFromUTC", "")), str(report.ContentDate), str(report.ContentTime)[:6]


def test_two_sites_nine_hours_apart_each_see_their_own_date(evidence: Evidence) -> None:
    finished = datetime(2026, 11, 20, 16, 30, tzinfo=UTC)
    study = {"StudyDate": "20261120", "StudyTime": "080000"}
    assert told(at(evidence, ZoneInfo("Europe/London"), finished, **study)) == ("+0000", "20261120", "163000")
    assert told(at(evidence, TOKYO, finished, **study)) == ("+0900", "20261121", "013000")


def test_summer_time_counts_as_when_the_study_was_made_not_as_when_the_model_was_through(evidence: Evidence) -> None:
    """One offset governs the study's dates too: 23:30 of the last summer night stays 23:30."""
    made = {"StudyDate": "20261024", "StudyTime": "233000"}
    finished = datetime(2026, 10, 25, 4, 0, tzinfo=UTC)  # 05:00 on the clock of the wall, which went back at 03:00
    summer = at(evidence, BERLIN, finished, **made)
    assert told(summer) == ("+0200", "20261025", "060000")
    assert moment(summer) == finished


def test_the_morning_after_the_change_is_winter_time(evidence: Evidence) -> None:
    made = {"StudyDate": "20261025", "StudyTime": "030000"}
    winter = at(evidence, BERLIN, datetime(2026, 10, 25, 4, 0, tzinfo=UTC), **made)
    assert told(winter) == ("+0100", "20261025", "050000")


def test_the_hour_that_the_clocks_skip_is_no_error(evidence: Evidence) -> None:
    skipped = at(evidence, BERLIN, datetime(2026, 3, 29, 3, 0, tzinfo=UTC), StudyDate="20260329", StudyTime="023000")
    assert told(skipped)[0] in {"+0100", "+0200"}
    assert moment(skipped) == skipped.finished_at


def test_the_offset_of_the_source_goes_before_the_configured_zone(evidence: Evidence) -> None:
    finished = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    named = at(evidence, BERLIN, finished, TimezoneOffsetFromUTC="-0600")
    assert told(named) == ("-0600", "20261120", "200000")


@pytest.mark.parametrize("offset_text", ["", "+1", "+9900", "-1300", "+1430", "UTC", "0100", "+01:00"])
def test_an_offset_that_is_none_is_not_passed_on(offset_text: str, evidence: Evidence) -> None:
    finished = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    assert told(at(evidence, None, finished, TimezoneOffsetFromUTC=offset_text))[0] == ""
    assert told(at(evidence, CHICAGO, finished, TimezoneOffsetFromUTC=offset_text))[0] == "-0600"


def test_a_study_without_a_date_is_dated_by_its_series_then_by_the_model(evidence: Evidence) -> None:
    finished = datetime(2026, 12, 24, 12, 0, tzinfo=UTC)
    by_series = at(evidence, BERLIN, finished, StudyDate="", StudyTime="", SeriesDate="20260701", SeriesTime="120000")
    assert told(by_series) == ("+0200", "20261224", "140000")
    assert told(at(evidence, BERLIN, finished, StudyDate="", StudyTime=""))[0] == "+0100"


def test_nothing_is_claimed_where_nobody_says_the_zone(evidence: Evidence) -> None:
    unknown = at(evidence, None, datetime(2026, 11, 21, 2, 0, tzinfo=UTC))
    assert offset(unknown) is None
    assert told(unknown)[0] == ""


def test_half_hours_and_the_date_line_are_written_as_the_standard_has_them() -> None:
    zones = {"Asia/Kolkata": "+0530", "Pacific/Kiritimati": "+1400", "Etc/GMT+12": "-1200", "UTC": "+0000"}
    for name, text in zones.items():
        at_zone = datetime(2026, 6, 1, tzinfo=ZoneInfo(name)).utcoffset()
        assert at_zone is not None
        assert written(timezone(at_zone)) == text
