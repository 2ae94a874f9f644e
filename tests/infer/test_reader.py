"""What a model process does with its orders, with a real small network and in this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from node.errors import Failed, Misconfigured
from node.imaging.mask import read_mask
from node.imaging.pipelines import STILL, Given, Pulse, Reading, Runner
from node.infer import reader as reader_module
from node.infer.messages import LAST_REPLIES, ORDER, Job, Order, OrderKind, Reply, ReplyKind, Slice, Start, line
from node.infer.reader import Reader
from node.infer.serving import load
from node.store import instances
from tests.infer.conftest import Site

FIRST, SECOND, THIRD = "1.2.3.1", "1.2.3.2", "1.2.3.3"
#: It is only read from.
pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")
GO_SECOND = Order(kind=OrderKind.GO, id=SECOND)


def job_of(site: Site, study: str, folder: Path) -> Job:
    site.waits(study)
    held = instances.of_study(site.db, study)
    slices = [Slice(path=str(site.db.folder / each.path), instance=each.instance) for each in held if each.instance]
    return Job(id=study, slices=tuple(slices), stem=str(folder / study))


@pytest.fixture
def runner(site: Site) -> Runner:
    model = site.model
    start = Start(
        card=model.card,
        folder=str(model.folder),
        weights={role: str(path) for role, path in model.weights.items()},
        model_digest=model.model_digest,
        device="cpu",
        threads=1,
    )
    return load(start)[0]


@pytest.fixture
def replies() -> list[Reply]:
    return []


@pytest.fixture
def reader(site: Site, runner: Runner, replies: list[Reply]) -> Iterator[Reader]:
    with Reader(site.model.card, runner, replies.append) as made:
        yield made


def of_network(replies: list[Reply]) -> list[tuple[str, ReplyKind]]:
    """What the network did, in order; the writing goes on beside it."""
    return [(reply.id, reply.kind) for reply in replies if reply.kind not in LAST_REPLIES]


def last(replies: list[Reply], study: str) -> Reply:
    (found,) = (reply for reply in replies if reply.id == study and reply.kind in LAST_REPLIES)
    return found


def labels(folder: Path, study: str) -> NDArray[np.uint8]:
    return read_mask(folder / f"{study}.npz").labels


class Interrupted:
    """The network, told of another order just before its first beat."""

    def __init__(self, runner: Runner, reader: Reader, order: Order) -> None:
        self.runner, self.reader, self.orders = runner, reader, [order]

    def warm_up(self) -> None:
        """Warm already."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        while self.orders:
            self.reader._orders.put(self.orders.pop())
        return self.runner.run(given, pulse)


def test_a_study_read_in_the_midst_of_another_changes_neither(
    site: Site, runner: Runner, reader: Reader, replies: list[Reply], tmp_path: Path
):
    jobs = [job_of(site, study, tmp_path) for study in (FIRST, SECOND)]
    for job in jobs:
        reader.prepare(job)
    reader._runner = Interrupted(runner, reader, GO_SECOND)
    reader.read(FIRST)
    reader.__exit__()
    assert of_network(replies) == [
        (FIRST, ReplyKind.STARTED),
        (SECOND, ReplyKind.STARTED),
        (SECOND, ReplyKind.COMPUTED),
        (FIRST, ReplyKind.COMPUTED),
    ]
    together = [(labels(tmp_path, job.id), last(replies, job.id).findings) for job in jobs]
    with Reader(site.model.card, runner, replies.append) as alone:
        for job, (mask, found) in zip(jobs, together, strict=True):
            replies.clear()
            alone.prepare(job)
            alone.read(job.id)
            alone._writing.result()  # type: ignore[union-attr]
            assert mask.any()
            assert np.array_equal(labels(tmp_path, job.id), mask)
            assert last(replies, job.id).findings == found


def test_a_paused_network_waits_reads_what_it_is_told_to_and_goes_on(
    site: Site, runner: Runner, reader: Reader, replies: list[Reply], tmp_path: Path
):
    for study in (FIRST, SECOND):
        reader.prepare(job_of(site, study, tmp_path))
    for order in (Order(kind=OrderKind.PAUSE), GO_SECOND, Order(kind=OrderKind.RESUME)):
        reader._orders.put(order)
    reader._depth = 1
    reader.read(FIRST)
    assert [kind for _, kind in of_network(replies)] == [
        ReplyKind.STARTED,
        ReplyKind.PAUSED,
        ReplyKind.STARTED,
        ReplyKind.COMPUTED,
        ReplyKind.COMPUTED,
    ]
    assert of_network(replies)[2][0] == SECOND


class Answering(Interrupted):
    """Answers several in one pass, and is told of another order in it."""

    def run_many(self, givens: Sequence[Given], pulse: Pulse = STILL) -> list[Reading | None]:
        orders, self.orders = self.orders, []
        answers: list[Reading | None] = [self.runner.run(given, pulse) for given in givens]
        for order in orders:
            self.reader._orders.put(order)
        return answers


def test_what_is_more_urgent_is_read_before_what_was_answered_together_and_each_has_its_own_answer(
    site: Site, runner: Runner, reader: Reader, replies: list[Reply], tmp_path: Path
):
    jobs = [job_of(site, study, tmp_path) for study in (FIRST, SECOND, THIRD)]
    for place, job in enumerate(jobs):
        # Something of each that tells it from the others: its images end elsewhere.
        reader.prepare(replace(job, slices=job.slices[: len(job.slices) - place]))
    reader._runner = Answering(runner, reader, Order(kind=OrderKind.GO, id=THIRD))
    reader._obey(Order(kind=OrderKind.GO, id=FIRST, company=(SECOND,)))
    reader.__exit__()
    began = [study for study, kind in of_network(replies) if kind is ReplyKind.STARTED]
    assert began == [THIRD, FIRST, SECOND]
    assert [len(labels(tmp_path, job.id)) for job in jobs] == [
        len(job.slices) - place for place, job in enumerate(jobs)
    ]


class Forgiving:
    """Takes every fault in its midst for its own, as MONAI's steps and the way down from little memory do."""

    def __init__(self) -> None:
        self.runs = 0

    def warm_up(self) -> None:
        """Warm already."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        self.runs += 1
        if self.runs > 1:
            raise RuntimeError("sizes of tensors must match")
        try:
            pulse.beat(0, 1)
        except RuntimeError as error:
            raise Failed("the network of the bundle failed") from error
        raise AssertionError("it went on")


def test_a_fault_of_a_study_ends_the_process_and_is_never_laid_to_the_one_in_whose_midst_it_was_read(
    site: Site, reader: Reader, replies: list[Reply], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(reader_module.os, "_exit", end)
    for study in (FIRST, SECOND):
        reader.prepare(job_of(site, study, tmp_path))
    reader._runner = Forgiving()
    for order in (Order(kind=OrderKind.GO, id=FIRST), GO_SECOND):
        reader._orders.put(order)
    with pytest.raises(SystemExit, match="1"):
        reader.serve()
    # The last that began is the one that counts.
    assert [(reply.id, reply.kind) for reply in replies] == [(FIRST, ReplyKind.STARTED), (SECOND, ReplyKind.STARTED)]


class Full:
    """A network on a GPU whose memory runs out."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def warm_up(self) -> None:
        """Warm already."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        raise self._error


FULL = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_where_a_gpus_memory_ran_out_a_study_is_read_on_the_cpu_and_that_is_told(
    site: Site, runner: Runner, replies: list[Reply], tmp_path: Path
):
    loads = list[str]()

    def on_cpu() -> tuple[Runner, tuple[Runner, ...]]:
        loads.append("cpu")
        return runner, ()

    with Reader(site.model.card, Full(FULL), replies.append, on_cpu=on_cpu) as reader:
        for study in (FIRST, SECOND):
            reader.prepare(job_of(site, study, tmp_path))
            reader.read(study)
    assert loads == ["cpu", "cpu"]
    for study in (FIRST, SECOND):
        assert last(replies, study).kind is ReplyKind.DONE
        assert "memory ran out: on the CPU" in last(replies, study).notes
        assert labels(tmp_path, study).any()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FULL, "memory ran out, and there is no way that needs less"),
        (MemoryError(), "memory ran out, and there is no way that needs less"),
        (Misconfigured("model.toml", "weights", "is for cuda", "Compile it"), "the CPU cannot compute it.*is for cuda"),
    ],
)
def test_where_the_cpu_cannot_do_it_either_the_study_fails_and_the_process_goes_on(
    site: Site, runner: Runner, replies: list[Reply], tmp_path: Path, error: Exception, reason: str
):
    def on_cpu() -> tuple[Runner, tuple[Runner, ...]]:
        raise error

    with Reader(site.model.card, Full(FULL), replies.append, on_cpu=on_cpu) as reader:
        reader.prepare(job_of(site, FIRST, tmp_path))
        reader.read(FIRST)
        reader._runner = runner
        reader.prepare(job_of(site, SECOND, tmp_path))
        reader.read(SECOND)
    assert last(replies, FIRST).kind is ReplyKind.FAILED
    assert re.search(reason, last(replies, FIRST).reason)
    assert last(replies, SECOND).kind is ReplyKind.DONE


def test_on_a_cpu_want_of_memory_ends_the_process_and_the_study_is_read_again_by_another(
    site: Site, replies: list[Reply], tmp_path: Path
):
    with Reader(site.model.card, Full(MemoryError()), replies.append) as reader:
        reader.prepare(job_of(site, FIRST, tmp_path))
        with pytest.raises(MemoryError):
            reader.read(FIRST)
    assert [reply.kind for reply in replies] == [ReplyKind.STARTED]


def test_what_cannot_be_read_ahead_fails_its_own_study_alone(
    site: Site, reader: Reader, replies: list[Reply], tmp_path: Path
):
    good, bad = (job_of(site, study, tmp_path) for study in (FIRST, SECOND))
    Path(bad.slices[0].path).write_bytes(b"no image")
    for job in (bad, good):
        reader.prepare(job)
    reader.read(good.id)
    reader.read(bad.id)
    reader.__exit__()
    assert last(replies, good.id).kind is ReplyKind.DONE
    assert last(replies, bad.id).kind is ReplyKind.FAILED


@pytest.mark.parametrize("ahead", [True, False])
def test_without_memory_to_spare_a_study_is_read_when_its_turn_comes(
    site: Site, reader: Reader, replies: list[Reply], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool
):
    monkeypatch.setattr(reader_module, "fits_ahead", lambda job, beside: ahead)
    job = job_of(site, FIRST, tmp_path)
    reader.prepare(job)
    assert (reader._prepared[job.id].reading is not None) is ahead
    reader.read(job.id)
    reader.__exit__()
    assert last(replies, job.id).kind is ReplyKind.DONE
    assert labels(tmp_path, FIRST).any()


def test_orders_come_in_pieces_until_they_end(site: Site, runner: Runner, replies: list[Reply], tmp_path: Path):
    job = job_of(site, FIRST, tmp_path)
    text = line(ORDER, Order(kind=OrderKind.PREPARE, job=job)) + line(ORDER, Order(kind=OrderKind.GO, id=FIRST))
    reading, writing = os.pipe()

    def hear(reply: Reply) -> None:
        replies.append(reply)
        if reply.kind in LAST_REPLIES:
            os.close(writing)

    with Reader(site.model.card, runner, hear) as reader:
        reader.listen(reading)
        for piece in (text[:10], text[10:-5], text[-5:]):
            os.write(writing, piece)
        reader.serve()
    os.close(reading)
    assert last(replies, FIRST).kind is ReplyKind.DONE


def test_a_parent_that_is_gone_ends_the_study_that_nobody_waits_for(
    site: Site, reader: Reader, replies: list[Reply], tmp_path: Path
):
    reader.prepare(job_of(site, FIRST, tmp_path))
    reader._orders.put(None)
    with pytest.raises(SystemExit):
        reader.read(FIRST)
    assert of_network(replies) == [(FIRST, ReplyKind.STARTED)]
