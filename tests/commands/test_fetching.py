from __future__ import annotations

from pathlib import Path

import pytest

from node.commands.fetching import Wanted, archives_meant, find
from node.config import Settings
from node.errors import Failed, Misconfigured, Transient
from node.retrieve.found import FoundStudy
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Reply, StudyQuery

KEYS = StudyKeys(accession_number="A1")
FILE = Path("config.toml")


def settings(*names: str, **retrieve: int) -> Settings:
    peers = [{"name": name, "ae_title": name, "host": "h", "port": 1, "roles": ["archive"]} for name in names]
    peers.append({"name": "SCANNER", "ae_title": "S", "roles": ["source"], "addresses": ["127.0.0.1/32"]})
    return Settings.model_validate({"peers": peers, "retrieve": retrieve})


def study(number: int, date: str = "20260101") -> FoundStudy:
    return FoundStudy(study_instance_uid=f"1.2.{number}", accession_number="A1", study_date=date)


class Asked:
    """Stands for the process that asks: peer → its reply."""

    def __init__(self, **replies: Reply | Exception) -> None:
        self.replies = replies

    def __call__(self, query: StudyQuery) -> Reply:
        reply = self.replies[query.peer]
        if isinstance(reply, Exception):
            raise reply
        return reply


def test_a_study_that_two_archives_hold_is_had_from_the_first() -> None:
    made = settings("ONE", "TWO")
    asked = Asked(ONE=Reply(studies=(study(1),)), TWO=Reply(studies=(study(1), study(2, "20250101"))))
    matches, problems = find(made, archives_meant(made, FILE, ""), KEYS, asked)
    assert [(each.archive, each.study.study_instance_uid) for each in matches] == [("TWO", "1.2.2"), ("ONE", "1.2.1")]
    assert problems == []


def test_an_archive_that_is_away_or_lies_does_not_stop_the_others() -> None:
    made = settings("ONE", "TWO", "THREE")
    asked = Asked(
        ONE=Transient("nobody answers at ONE"),
        TWO=Failed("TWO rejects the association"),
        THREE=Reply(studies=(study(1),), disbelieved={"another patient": 3}),
    )
    matches, problems = find(made, archives_meant(made, FILE, ""), KEYS, asked)
    assert len(matches) == 1
    assert problems == [
        "nobody answers at ONE",
        "TWO rejects the association",
        "THREE: 3 answer(s) not believed: another patient",
    ]


def test_more_matches_than_the_settings_allow_are_not_fetched() -> None:
    made = settings("ONE", "TWO", most_studies=1)
    asked = Asked(ONE=Reply(studies=(study(1),)), TWO=Reply(studies=(study(2),)))
    with pytest.raises(Failed, match="more than 1 studies"):
        find(made, archives_meant(made, FILE, ""), KEYS, asked)


def test_one_archive_can_be_named_and_without_any_the_key_to_set_is_told() -> None:
    made = settings("ONE", "TWO")
    assert [peer.name for peer in archives_meant(made, FILE, "TWO")] == ["TWO"]
    with pytest.raises(Misconfigured, match="Name one of: ONE, TWO"):
        archives_meant(made, FILE, "SCANNER")
    with pytest.raises(Misconfigured, match=r'config\.toml: peers\.roles: .* roles = \["source", "archive"\]'):
        archives_meant(settings(), FILE, "")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(), "not said what to fetch"),
        (Wanted(accession_number="A", study_instance_uid="1.2"), "not said what to fetch"),
        (Wanted(accession_number="*"), "pattern"),
        (Wanted(until="20260101"), "not said what to fetch"),
        (Wanted(since="2026-02-30"), "YYYYMMDD"),
        (Wanted(since="2026-02-03", until="2026-02-01"), "before the first"),
        (Wanted(since="2026-02-03", modality="mr"), "capitals"),
    ],
)
def test_what_is_wrong_is_told_before_anybody_is_asked(wanted: Wanted, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        wanted.keys()


def test_dates_may_have_hyphens() -> None:
    keys = Wanted(since="2026-02-03", until="20260204", modality="MR").keys()
    assert (keys.since, keys.until, keys.modality) == ("20260203", "20260204", "MR")
