"""Files go only where nothing is lost with them, rows first; what comes again is kept again, and nothing runs anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.clock.freeing import Freeing, data_set_digest
from node.config import Settings
from node.domain.study import StudyState
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.errors import Failed, Transient
from node.receive.arrival import Received, arrive
from node.receive.recover import rebuild, reconcile
from node.retrieve.found import FoundInstance
from node.retrieve.holdings import Holdings
from node.retrieve.question import ContentsQuery, Reply
from node.store import artifacts, instances, outbox, outcomes, retention, studies, tallies, work_items
from node.store.database import open_database
from node.store.spool import Spool
from node.workflow import operations, reading
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.retention import judged, look
from node.workflow.story import study_story
from tests.fakes import FakeClock, describe_all, model, peers, slice_of, volume_finding
from tests.receive.objects import encoded, mr_slice
from tests.workflow.test_reading import begun, mask

STUDY, SERIES = "1.2.3.4", "1.2.3.4.5"
DAY_S = 86_400.0
PLACE = {"host": "127.0.0.1", "port": 104}
ARCHIVE = {"name": "ARCHIVE", "ae_title": "ARCHIVE", "roles": ["archive"], **PLACE}


def settings_of(folder: Path, **data: object) -> Settings:
    return Settings.model_validate(
        {
            "data": {"folder": folder, "minimum_free_percent": 0.0, "keep_days": 30, **data},
            "peers": [*peers(), ARCHIVE],
            "models": {"brain": {"mode": "live"}},
        }
    )


class Node:
    """A study of six real objects in the spool, read, with one result that its destination has committed."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_of(folder)
        self.db = open_database(folder, "clock")
        self.clock = FakeClock()
        self.spool = Spool(folder)
        self.policy = Policy(self.settings, (model(),), ())
        for number in range(6):
            self.send(number)
        close_due(self.db, self.clock.forward(601), self.policy)
        self.result()
        self.freeing = Freeing(self.db, self.clock, self.settings)

    def send(self, number: int, **changes: object) -> bool:
        dataset = mr_slice(number, **changes)  # type: ignore[arg-type]
        received = Received(
            content=memoryview(encoded(dataset)), transfer_syntax_uid="1.2.840.10008.1.2.1", source="SCANNER"
        )
        new = arrive(self.db, self.spool, self.clock, received)
        [row] = self.db.rows("SELECT sop_instance_uid, digest FROM instance ORDER BY id DESC LIMIT 1")
        uid, digest = row["sop_instance_uid"], row["digest"]
        content = f"content-{number}-{digest if changes else ''}"
        described = slice_of(number, study=STUDY, series=SERIES, content=content)
        describe_all(self.db, self.clock.now(), {(uid, digest): described})
        return new

    def result(self) -> None:
        item = begun(self.db, self.clock)
        path = self.db.folder / "results" / "one.dcm"
        for file in (path, self.db.folder / mask(item).path):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"a file")
        with self.db.transaction():
            reading.complete(self.db, self.clock.now(), self.policy, item, [volume_finding()], [mask(item)], {})
            [report] = self.db.rows("SELECT id FROM work_item WHERE kind = 'report'")
            self.db.execute("UPDATE work_item SET state = 'finished' WHERE id = ?", (report["id"],))
            made = artifacts.record(
                self.db,
                self.clock.now(),
                outcome_id=int(item.subject),
                kind="seg",
                path="results/one.dcm",
                size=6,
                digest="",
                sop_instance_uid="2.25.1",
            )
            outbox.add(self.db, self.clock.now(), artifact_id=made, study=STUDY, destination="PACS")
            reading.settle(self.db, self.clock.now(), STUDY)
        self.move(ResultState.SENT, ResultState.COMMITTED)

    def move(self, *states: ResultState) -> None:
        [row] = outbox.of_study(self.db, STUDY)
        with self.db.transaction():
            for state in states:
                assert outbox.move(self.db, self.clock.now(), row, state, "")

    def archive_lists(self, numbers: range = range(6), *, fault: Exception | None = None) -> None:
        """Let the archive answer what it is asked now."""

        def ask(query: ContentsQuery) -> Reply:
            if fault is not None:
                raise fault
            assert query.study_instance_uid == STUDY
            uids = [f"{SERIES}.{number}" for number in numbers]
            found = (FoundInstance(series_instance_uid=SERIES, sop_instance_uid=uid) for uid in uids)
            return Reply(contents=tuple(found))

        handling = Holdings(self.db, self.clock, self.settings, ask).handling()
        for item in work_items.claim(self.db, self.clock.now(), WorkKind.ARCHIVED, "retrieve:1", 60):
            try:
                handling.handle(item)
            except Failed as error:
                with self.db.transaction():
                    handling.reject(item, error)
        self.freeing.look_again()

    def files(self) -> list[Path]:
        places = list(self.spool.objects())
        extra = [str(path.relative_to(self.db.folder)) for path in self.db.folder.glob("results/*")]
        return [self.db.folder / each for each in (*places, *extra)]

    def why(self) -> str:
        [stay] = judged(self.db, self.clock.now(), self.settings)
        return stay.reason

    def free(self) -> None:
        """All that is needed, in order."""
        self.clock.forward(31 * DAY_S)
        assert self.freeing.step() == 0
        self.archive_lists()
        assert self.freeing.step() == 1


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "var")
    with closing(made.db):
        yield made


def test_a_study_goes_once_it_is_committed_listed_and_old(node: Node) -> None:
    assert list(judged(node.db, node.clock.now(), node.settings)) == []
    node.clock.forward(31 * DAY_S)
    assert node.freeing.step() == 0
    assert len(node.files()) == 7
    node.archive_lists()
    assert node.freeing.step() == 1
    assert node.files() == []
    assert list((node.db.folder / "masks").iterdir()) == []
    story = study_story(node.db, STUDY)
    assert story is not None
    assert [each["freed"] for each in story["series"]] == [6]
    assert [each["state"] for each in story["results"]] == ["committed"]
    assert retention.freed_counts(node.db)["instances"] == 6
    assert node.freeing.step() == 0


def test_nothing_is_freed_unless_the_site_says_so(node: Node) -> None:
    assert Settings().data.keep_days == 0
    settings = settings_of(node.db.folder, keep_days=0)
    node.clock.forward(10_000 * DAY_S)
    assert list(judged(node.db, node.clock.now(), settings)) == []


def test_one_instance_that_no_archive_lists_keeps_the_study(node: Node) -> None:
    node.clock.forward(31 * DAY_S)
    node.freeing.step()
    node.archive_lists(range(5))
    assert node.freeing.step() == 0
    assert node.why() == "no archive lists 1 of its instances"
    assert len(node.files()) == 7
    node.clock.forward(2 * DAY_S)  # it is asked again, and now has it
    node.freeing.look_again()
    node.freeing.step()
    node.archive_lists()
    assert node.freeing.step() == 1


def test_an_old_list_counts_no_more(node: Node) -> None:
    node.clock.forward(31 * DAY_S)
    node.freeing.step()
    node.archive_lists()
    node.clock.forward(1.5 * DAY_S)
    node.freeing.look_again()
    assert node.freeing.step() == 0
    assert len(node.files()) == 7


def test_an_archive_that_does_not_answer_frees_nothing(node: Node) -> None:
    node.clock.forward(31 * DAY_S)
    node.freeing.step()
    with pytest.raises(Transient):
        node.archive_lists(fault=Transient("away"))
    node.freeing.look_again()
    assert node.freeing.step() == 0
    node.archive_lists(fault=Failed("no such service"))
    assert node.freeing.step() == 0
    assert len(node.files()) == 7


def _held(node: Node) -> None:
    with node.db.transaction():
        studies.move(node.db, node.clock.now(), STUDY, StudyState.HELD, "two patients")


def _unwritten(node: Node) -> None:
    with node.db.transaction():
        node.db.execute("UPDATE work_item SET state = 'parked' WHERE kind = 'report'")


def _sent_again(node: Node) -> None:
    with node.db.transaction():
        node.db.execute("UPDATE outbox SET state = 'queued'")


def _dead(node: Node) -> None:
    with node.db.transaction():
        node.db.execute("UPDATE outbox SET state = 'dead'")


def _unconfirmed(node: Node) -> None:
    with node.db.transaction():
        node.db.execute("UPDATE outbox SET state = 'sent'")


def _at_work(node: Node) -> None:
    assert operations.force(node.db, node.clock.now(), node.policy, STUDY)


def _looked_at(node: Node) -> None:
    look(node.db, node.clock.now(), STUDY)


def _late(node: Node) -> None:
    node.send(7)


def _two_contents(node: Node) -> None:
    node.send(5, seed=9)
    close_due(node.db, node.clock.forward(601), node.policy)
    _finish_all(node)
    node.clock.forward(31 * DAY_S)


def _finish_all(node: Node) -> None:
    with node.db.transaction():
        node.db.execute("UPDATE work_item SET state = 'finished' WHERE state = 'ready'")
        node.db.execute("UPDATE study SET state = 'done'")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_held, "it is held"),
        (_unwritten, "work is under way: report"),
        (_sent_again, "seg is queued at PACS"),
        (_dead, "seg is dead at PACS"),
        (_unconfirmed, "PACS has not committed itself to seg"),
        (_at_work, "it is waiting"),
        (_looked_at, "worked on or looked at"),
        (_late, ""),
        (_two_contents, "1 of its instances came with two contents"),
    ],
    ids=lambda each: each.__name__ if callable(each) else None,
)
def test_what_is_held_unsent_dead_at_work_or_looked_at_stays(
    node: Node, change: Callable[[Node], None], why: str
) -> None:
    node.clock.forward(31 * DAY_S)
    node.freeing.step()
    node.archive_lists()
    change(node)
    node.freeing.look_again()
    assert node.freeing.step() == 0
    assert len(node.files()) >= 7
    stays = list(judged(node.db, node.clock.now(), node.settings))
    assert (why in stays[0].reason) if why else stays == []


def test_a_kill_between_row_and_file_is_made_good_at_the_next_step(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Freeing, "_remove", lambda _self: None)
    node.free()
    assert len(node.files()) == 7
    assert tallies.lost_objects(node.db) == tallies.unindexed_objects(node.db, node.db.folder) == []
    monkeypatch.undo()
    assert node.freeing.step() == 0
    assert node.files() == []


def test_neither_start_nor_rebuild_brings_back_what_was_freed_or_misses_it(node: Node) -> None:
    node.free()
    for counts in (reconcile(node.db, node.spool, node.settings), rebuild(node.db, node.spool, node.settings)):
        assert (counts.indexed, counts.unreadable) == (0, ())
    assert tallies.lost_objects(node.db) == []
    assert retention.freed_counts(node.db)["instances"] == 6


def test_a_freed_instance_that_comes_again_is_kept_under_its_row_and_nothing_runs(node: Node) -> None:
    node.free()
    before = [each.id for each in outcomes.of_study(node.db, STUDY)]
    assert not node.send(3)
    held = {each.sop_instance_uid: each for each in instances.of_study(node.db, STUDY, current_only=False)}
    assert len(held) == 6
    again = held[f"{SERIES}.3"]
    assert (again.freed_at, (node.db.folder / again.path).is_file()) == ("", True)
    study = studies.study(node.db, STUDY)
    assert study is not None
    assert not study.open
    assert [each.id for each in outcomes.of_study(node.db, STUDY)] == before
    [stay] = judged(node.db, node.clock.now(), node.settings)
    assert stay.reason == "it was worked on or looked at of late"


def test_other_bytes_of_the_same_digest_are_not_taken_for_what_was_freed(node: Node) -> None:
    node.free()
    with node.db.transaction():
        node.db.execute("UPDATE instance SET freed_digest = 'another'")
    assert node.send(3)
    rows = [
        each for each in instances.of_study(node.db, STUDY, current_only=False) if each.sop_instance_uid.endswith(".3")
    ]
    assert [bool(each.freed_at) for each in rows] == [True, False]


def test_a_file_that_takes_the_name_before_the_old_one_is_removed_stays(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Freeing, "_remove", lambda _self: None)
    node.free()
    assert not node.send(3)
    monkeypatch.undo()
    node.freeing.step()
    [held] = [each for each in instances.of_study(node.db, STUDY) if not each.freed_at]
    assert [str(path.relative_to(node.db.folder)) for path in node.files()] == [held.path]


def test_a_model_that_would_read_freed_files_says_where_they_are_and_what_it_found_stands(node: Node) -> None:
    node.free()
    with pytest.raises(Failed, match=r"6 of its images were freed.*`matins fetch` them, then `matins force`"):
        operations.force(node.db, node.clock.now(), node.policy, STUDY)
    [outcome] = outcomes.current(node.db, STUDY)
    assert outcome.state is OutcomeState.RESULT
    assert [row.state for row in outbox.of_study(node.db, STUDY)] == [ResultState.COMMITTED]


def test_the_digest_is_of_the_data_set_alone(node: Node) -> None:
    [path, *_] = node.spool.objects()
    found = {hashlib.sha256(encoded(mr_slice(number))).hexdigest() for number in range(6)}
    assert data_set_digest(node.db.folder / path) in found


def test_the_command_says_why_studies_stay_and_frees_only_when_it_may(node: Node, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "rules").mkdir()
    place = 'host = "127.0.0.1"\nport = 104'
    lines = [
        "[data]\nkeep_days = 30\nminimum_free_percent = 0",
        f'[[peers]]\nname = "PACS"\nae_title = "PACS"\nroles = ["destination"]\n{place}',
        f'[[peers]]\nname = "ARCHIVE"\nae_title = "ARCHIVE"\nroles = ["archive"]\n{place}',
    ]
    (tmp_path / "config.toml").write_text("\n".join(lines))

    def told(*options: str) -> Any:
        done = CliRunner().invoke(app, ["retention", *options, "--config", str(tmp_path / "config.toml")])
        assert done.exit_code == 0, done.output
        return done.stdout

    [study] = json.loads(told("--dry-run", "--json"))["studies"]  # made in January 2026, on the fake clock
    assert (study["study_instance_uid"], study["may_go"]) == (STUDY, False)
    assert "nothing has been done" in told("--dry-run")
    assert len(node.files()) == 7


def test_a_file_that_cannot_be_read_keeps_its_study_and_stops_nothing_else(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.clock.forward(31 * DAY_S)
    node.freeing.step()
    node.archive_lists()

    def fail(_path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("node.clock.freeing.data_set_digest", fail)
    assert node.freeing.step() == 0
    assert len(node.files()) == 7
