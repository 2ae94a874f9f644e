from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from node.config import Settings
from node.domain.retrieval import Purpose, RetrievalState, Wanted
from node.domain.work import WorkHours, WorkKind, WorkState
from node.errors import Failed, Transient
from node.loop import Stop, work_step
from node.retrieve.fetches import Fetches
from node.retrieve.found import FoundInstance
from node.retrieve.question import ContentsQuery, Errand, NotOffered, Portion, Reply, Tally, Transfer, Way
from node.retrieve.worker import give_up_unknown
from node.store import events, retrievals, studies, work_items
from node.store.database import Database
from node.store.inbox import Inbox, hand_over, new_part
from node.store.retrievals import Retrieval
from tests.fakes import MR, SERIES, STUDY, FakeClock, arrive, slice_of
from tests.retrieve.conftest import settings_for

Give = Callable[[Transfer], Reply]


def listed(*numbers: int) -> tuple[FoundInstance, ...]:
    return tuple(
        FoundInstance(series_instance_uid=SERIES, sop_instance_uid=f"{SERIES}.{n}", sop_class_uid=MR) for n in numbers
    )


@dataclass
class Pacs:
    """Stands for the process that asks: an archive whose instances arrive in the store when they are asked for."""

    db: Database
    clock: FakeClock
    holds: tuple[int, ...] = (1, 2, 3, 4)
    lists: bool = True
    #: What each transfer sends, by number; after the last, all that is asked for.
    gives: list[tuple[int, ...] | Exception] = field(default_factory=list)
    reason: str = ""
    #: Modality of each, where the archive tells it.
    modalities: dict[int, str] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)

    def __call__(self, errand: Errand, *, heard: Any = lambda _: None, stirs: Any = lambda: False) -> Reply:
        if isinstance(errand, ContentsQuery):
            return Reply(contents=self._listed() if self.lists else None)
        assert isinstance(errand, Transfer)
        self.transfers.append(errand)
        number = len(self.transfers) - 1
        given = self.gives[number] if number < len(self.gives) else self._wanted(errand)
        if isinstance(given, Exception):
            raise given
        for each in given:
            assert not stirs()
            arrive(self.db, self.clock.now(), slice_of(each))
            assert stirs()
            heard(Tally(completed=1))
        return Reply(tally=Tally(completed=len(given)), reason=self.reason)

    def _listed(self) -> tuple[FoundInstance, ...]:
        found = zip(self.holds, listed(*self.holds), strict=True)
        return tuple(replace(each, modality=self.modalities.get(n, "")) for n, each in found)

    def _wanted(self, errand: Transfer) -> tuple[int, ...]:
        named = [uid for portion in errand.portions for uid in portion.sop_instance_uids]
        return tuple(n for n in self.holds if not named or f"{SERIES}.{n}" in named)


@dataclass
class Room:
    db: Database
    clock: FakeClock
    settings: Settings
    pacs: Pacs
    stop: Stop

    def step(self) -> bool:
        peer = self.settings.peer_named("SCANNER")
        assert peer is not None
        fetches = Fetches(self.db, self.clock, self.settings, peer, self.pacs, self.stop, settle_s=0.3)
        return work_step(self.db, self.clock, fetches.handling())()

    def ask(self, purpose: Purpose = Purpose.ASKED, peer: str = "SCANNER") -> Retrieval:
        with self.db.transaction():
            return retrievals.record(self.db, self.clock.now(), STUDY, peer, purpose)

    def now(self, of: Retrieval) -> Retrieval:
        found = retrievals.retrieval(self.db, of.id)
        assert found is not None
        return found

    def item(self, of: Retrieval) -> WorkState | None:
        return work_items.state(self.db, WorkKind.FETCH, f"{of.peer}/{of.id}")


@pytest.fixture
def room(db: Database, clock: FakeClock) -> Room:
    settings = settings_for(db, 4242)
    data = settings.data.model_copy(update={"minimum_free_percent": 0.0})
    return Room(db, clock, settings.model_copy(update={"data": data}), Pacs(db, clock), Stop())


def test_a_study_is_had_whole_and_the_retrieval_says_so(room: Room) -> None:
    made = room.ask()
    assert room.step()
    done = room.now(made)
    assert (done.state, done.reason) == (RetrievalState.RETRIEVED, "all 4 instances are here")
    assert (done.expected, done.held, room.item(made)) == (4, 4, WorkState.FINISHED)
    (transfer,) = room.pacs.transfers
    assert transfer.portions == (Portion(),)
    assert (transfer.way, transfer.sop_class_uids, transfer.our_port) == (Way.MOVE, (MR,), 11112)
    assert not room.step()


def test_of_a_study_of_which_a_part_is_wanted_no_more_is_asked_for_and_no_more_expected(room: Room) -> None:
    room.pacs.modalities = {1: "MR", 2: "MR", 3: "SR", 4: "PR"}
    with room.db.transaction():
        wanted = Wanted(modalities=(), results=True)
        now = room.clock.now()
        made = retrievals.record(room.db, now, STUDY, "SCANNER", Purpose.PRIOR, wanted=wanted)
    room.pacs.gives = [(3,)]
    assert room.step()
    (transfer,) = room.pacs.transfers
    assert transfer.portions == (Portion(series_instance_uid=SERIES),)
    done = room.now(made)
    assert (done.state, done.reason, done.wanted) == (RetrievalState.RETRIEVED, "all 1 instances are here", wanted)
    assert retrievals.is_of_part(room.db, STUDY)
    room.ask()
    assert not retrievals.is_of_part(room.db, STUDY)


def test_only_what_is_missing_is_asked_for(room: Room) -> None:
    for number in (1, 2):
        arrive(room.db, room.clock.now(), slice_of(number))
    made = room.ask()
    room.step()
    (transfer,) = room.pacs.transfers
    assert transfer.portions == (Portion(series_instance_uid=SERIES, sop_instance_uids=(f"{SERIES}.3", f"{SERIES}.4")),)
    assert room.now(made).state is RetrievalState.RETRIEVED


def test_what_is_here_already_is_not_asked_for_at_all(room: Room) -> None:
    for number in room.pacs.holds:
        arrive(room.db, room.clock.now(), slice_of(number))
    made = room.ask()
    room.step()
    assert room.pacs.transfers == []
    assert room.now(made).state is RetrievalState.RETRIEVED


def test_what_did_not_come_is_asked_for_again_by_name(room: Room) -> None:
    room.pacs.gives = [(1, 2, 3)]
    made = room.ask()
    room.step()
    assert [len(transfer.portions[0].sop_instance_uids) for transfer in room.pacs.transfers] == [0, 1]
    assert room.now(made).state is RetrievalState.RETRIEVED


def test_what_the_archive_will_not_give_leaves_it_incomplete_with_the_reason(room: Room) -> None:
    room.pacs.gives = [(1, 2), (3,), ()]
    room.pacs.reason = "PACS could not send 1 of the instances"
    made = room.ask()
    room.step()
    done = room.now(made)
    assert done.state is RetrievalState.INCOMPLETE
    assert done.reason == "3 of 4 instances are here; PACS could not send 1 of the instances"
    assert len(room.pacs.transfers) == 3


def test_an_archive_that_gives_nothing_is_asked_once_a_try(room: Room) -> None:
    room.pacs.gives = [()]
    made = room.ask()
    room.step()
    assert len(room.pacs.transfers) == 1
    assert room.now(made).state is RetrievalState.FAILED


def test_an_archive_that_lists_no_instances_is_believed_when_it_says_that_it_sent_all(room: Room) -> None:
    room.pacs.lists = False
    made = room.ask()
    room.step()
    assert len(room.pacs.transfers) == 1
    assert (room.now(made).state, room.now(made).expected) == (RetrievalState.RETRIEVED, None)


def test_what_cannot_be_had_says_why_with_the_remedy(room: Room) -> None:
    room.pacs.gives = [Failed("PACS does not know our AE title MATINS (0xA801): enter it there")]
    made = room.ask()
    room.step()
    assert room.now(made).state is RetrievalState.FAILED
    assert "enter it there" in room.now(made).reason
    assert room.item(made) is WorkState.FINISHED


def test_a_refusal_half_way_keeps_what_came(room: Room) -> None:
    room.pacs.gives = [(1, 2), Failed("no")]
    made = room.ask()
    room.step()
    assert room.now(made).state is RetrievalState.INCOMPLETE
    assert "2 of 4" in room.now(made).reason


def test_an_archive_that_is_away_is_asked_again_and_at_last_given_up(room: Room) -> None:
    room.pacs.gives = [Transient("nobody answers")] * 10
    made = room.ask()
    for number in range(1, 5):
        assert room.step()
        assert (room.now(made).state, room.now(made).reason) == (RetrievalState.REQUESTED, "nobody answers")
        assert room.item(made) is WorkState.READY
        assert not room.step()
        room.clock.forward(400)
        assert len(room.pacs.transfers) == number
    assert room.step()
    assert room.now(made).state is RetrievalState.FAILED
    assert "tried 5 times" in room.now(made).reason


def test_an_archive_that_drops_half_way_goes_on_where_it_stopped(room: Room) -> None:
    made = room.ask()
    room.pacs.gives = [(1, 2), Transient("broke off")]
    room.step()
    assert room.now(made).state is RetrievalState.REQUESTED
    room.clock.forward(60)
    room.step()
    assert room.now(made).state is RetrievalState.RETRIEVED
    assert room.pacs.transfers[-1].portions[0].sop_instance_uids == (f"{SERIES}.3", f"{SERIES}.4")


def test_an_archive_that_offers_no_move_is_asked_by_get_which_leaves_its_objects_in_the_inbox(room: Room) -> None:
    room.pacs.gives = [NotOffered("PACS offers no MOVE for studies")]
    made = room.ask()
    room.step()
    assert [transfer.way for transfer in room.pacs.transfers] == [Way.MOVE, Way.GET]
    assert [bool(transfer.folder) for transfer in room.pacs.transfers] == [False, True]
    assert room.now(made).state is RetrievalState.RETRIEVED
    assert not Path(room.pacs.transfers[1].folder).exists()


def test_a_listener_that_takes_nothing_is_waited_for(room: Room) -> None:
    made = room.ask()

    def leave(_errand: Transfer) -> None:
        part = new_part(Inbox(room.settings.data.folder).folder_of(made.id))
        part.write_bytes(b"x")
        hand_over(part)

    pacs = room.pacs
    given = replace(pacs, gives=[()])

    def asked(errand: Errand, *, heard: Any = None, stirs: Any = None) -> Reply:
        if isinstance(errand, Transfer):
            leave(errand)
        return given(errand)

    room.pacs = asked  # type: ignore[assignment]
    room.step()
    assert room.now(made).state is RetrievalState.REQUESTED
    assert "listener does not take" in room.now(made).reason


def test_a_disk_without_reserve_makes_it_wait(room: Room) -> None:
    data = room.settings.data.model_copy(update={"minimum_free_percent": 99.999})
    room.settings = room.settings.model_copy(update={"data": data})
    made = room.ask()
    room.step()
    assert room.pacs.transfers == []
    assert "of the disk is free" in room.now(made).reason


def test_a_fault_of_our_own_is_tried_three_times_and_parked(room: Room) -> None:
    room.pacs.gives = [ZeroDivisionError("oops")] * 3
    made = room.ask()
    for _ in range(3):
        room.step()
        room.clock.forward(60)
    assert room.item(made) is WorkState.PARKED
    assert room.now(made).state is RetrievalState.FAILED


def test_a_prior_waits_for_its_hours_and_what_is_asked_for_does_not(room: Room) -> None:
    local = room.clock.now().wall.astimezone()
    hours = f"{(local.hour + 2) % 24:02}:00-{(local.hour + 3) % 24:02}:00"
    retrieve = room.settings.retrieve.model_copy(update={"priors_between": hours})
    room.settings = room.settings.model_copy(update={"retrieve": retrieve})
    made = room.ask(Purpose.PRIOR)
    assert room.step()
    assert room.pacs.transfers == []
    assert room.item(made) is WorkState.READY
    assert not room.step()
    room.clock.forward(2 * 3600)
    assert room.step()
    assert room.now(made).state is RetrievalState.RETRIEVED


def test_a_stop_gives_the_item_back_however_often_it_was_tried(room: Room) -> None:
    room.pacs.gives = [Transient("the room ends")]
    made = room.ask()
    room.db.execute("UPDATE work_item SET passing_faults = 50")
    room.stop.set()
    room.step()
    assert room.item(made) is WorkState.READY
    assert room.now(made).is_open


def test_each_archive_has_its_own_items(room: Room) -> None:
    other = room.ask(peer="OTHER")
    assert not room.step()
    assert room.now(other).state is RetrievalState.REQUESTED


def test_what_is_asked_of_an_archive_that_is_none_any_more_is_given_up(room: Room) -> None:
    gone, stays = room.ask(peer="GONE"), room.ask()
    give_up_unknown(room.db, room.clock, room.settings)
    assert room.now(gone).state is RetrievalState.FAILED
    assert "no peer GONE" in room.now(gone).reason
    assert room.item(gone) is WorkState.CANCELLED
    assert room.now(stays).is_open


def test_a_study_that_lies_here_as_a_prior_is_looked_at_again_when_a_person_fetches_it(room: Room) -> None:
    for number in room.pacs.holds:
        arrive(room.db, room.clock.now(), slice_of(number))
    room.db.execute("UPDATE study SET open = 0, prior = 'a prior: retrieved by this node'")
    room.ask(Purpose.ASKED)
    room.step()
    study = studies.study(room.db, STUDY)
    assert study is not None
    assert (study.open, study.force_requested) == (True, True)
    told = [event.after for event in events.of_study(room.db, STUDY) if event.about == "operation"]
    assert told == ["asked"]


def test_fetching_what_is_here_and_read_already_changes_nothing(room: Room) -> None:
    for number in room.pacs.holds:
        arrive(room.db, room.clock.now(), slice_of(number))
    room.db.execute("UPDATE study SET open = 0")
    room.ask(Purpose.ASKED)
    room.step()
    study = studies.study(room.db, STUDY)
    assert study is not None
    assert not study.open


def spare(room: Room, hours: WorkHours = WorkHours.SPARE) -> Retrieval:
    """A study of old that is fetched when nobody waits for another."""
    made = room.ask(Purpose.BACKFILL)
    with room.db.transaction():
        work_items.put_off(room.db, WorkKind.FETCH, retrievals.subject_of(made), hours)
    return made


def test_a_retrieval_in_spare_time_makes_way_and_goes_on_later_with_what_is_missing(room: Room) -> None:
    made = spare(room)
    plain = room.pacs
    live: list[Retrieval] = []

    def asked(errand: Errand, *, heard: Any = lambda _: None, stirs: Any = lambda: False) -> Reply:
        if isinstance(errand, Transfer) and not live:
            arrive(room.db, room.clock.now(), slice_of(1))
            assert stirs()
            with room.db.transaction():
                live.append(retrievals.record(room.db, room.clock.now(), "1.2.9", "SCANNER", Purpose.PRIOR))
            stirs()
            pytest.fail("it did not make way")
        if getattr(errand, "study_instance_uid", "") == "1.2.9":
            raise Failed("gone")
        return plain(errand, heard=heard, stirs=stirs)

    room.pacs = asked  # type: ignore[assignment]
    assert room.step()
    after = room.now(made)
    assert (after.state, after.reason) == (RetrievalState.REQUESTED, "made way for a study that somebody waits for")
    row = room.db.row("SELECT attempts, passing_faults FROM work_item WHERE subject = ?", (f"SCANNER/{made.id}",))
    assert row is not None
    assert tuple(row) == (0, 0)
    assert room.step()
    assert not room.now(live[0]).is_open
    assert room.now(made).is_open
    assert room.step()
    assert room.now(made).state is RetrievalState.RETRIEVED
    assert [named for each in plain.transfers[-1].portions for named in each.sop_instance_uids] == [
        f"{SERIES}.{number}" for number in (2, 3, 4)
    ]


def test_a_retrieval_for_the_night_ends_with_it_and_waits_for_the_next(room: Room) -> None:
    night = room.settings.night.model_copy(update={"timezone": "UTC"})
    room.settings = room.settings.model_copy(update={"night": night})
    made = spare(room, WorkHours.NIGHT)
    plain = room.pacs

    def asked(errand: Errand, *, heard: Any = lambda _: None, stirs: Any = lambda: False) -> Reply:
        if isinstance(errand, Transfer) and room.clock.wall.hour < 6:
            room.clock.forward(3 * 3600)
            stirs()
        return plain(errand, heard=heard, stirs=stirs)

    room.pacs = asked  # type: ignore[assignment]
    assert room.step()
    assert room.now(made).reason == "the night is over"
    assert room.step()
    assert not room.step()
    assert room.now(made).is_open
    room.clock.forward(16 * 3600)
    assert room.step()
    assert room.now(made).state is RetrievalState.RETRIEVED
