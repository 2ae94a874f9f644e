"""A multi-frame image goes through the model process as its slices do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from node.domain.model_card import Condition, ModelCard
from node.imaging.mask import read_mask
from node.imaging.pipelines import STILL, Given, Pulse, Reading, Runner
from node.infer.messages import LAST_REPLIES, ORDER, Job, Order, OrderKind, Reply, ReplyKind, Slice, line
from node.infer.reader import Reader
from tests.enhanced import MultiFrame, stack_of, write
from tests.report.gathered import VOLUME, described


class Marker:
    """Marks every voxel that is brighter than most."""

    def warm_up(self) -> None:
        """Nothing to prepare."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        return Reading(labels=(given.volume.array > 1500).astype(np.uint8), timings={})


def answer(job: Job, card: ModelCard, runner: Runner) -> Reply:
    replies: list[Reply] = []
    with Reader(card, runner, replies.append) as reader:
        reader.prepare(job)
        reader.read(job.id)
    (last,) = (reply for reply in replies if reply.kind in LAST_REPLIES)
    return last


def job_on(folder: Path, made: MultiFrame) -> Job:
    path = write(folder / "a.dcm", made)
    job = Job(id="1", slices=(Slice(path=str(path), instance=described([path])[0]),), stem=str(folder / "mask"))
    order = ORDER.validate_json(line(ORDER, Order(kind=OrderKind.PREPARE, job=job)))
    assert order.job is not None
    return order.job


def test_the_mask_names_the_frames_that_it_lies_on(tmp_path: Path) -> None:
    made = MultiFrame(frames=tuple(stack_of(5)[place] for place in (4, 2, 0, 1, 3)))
    reply = answer(job_on(tmp_path, made), VOLUME, Marker())
    assert reply.kind is ReplyKind.DONE, reply.reason
    mask = read_mask(tmp_path / "mask.npz")
    assert mask.frame_numbers == (3, 4, 2, 5, 1)
    assert set(mask.sop_instance_uids) == {described([tmp_path / "a.dcm"])[0].sop_instance_uid}


def test_one_stack_of_several_is_read_and_else_none(tmp_path: Path) -> None:
    job = job_on(tmp_path, MultiFrame(frames=stack_of(4, b_value=0.0) + stack_of(4, b_value=700.0)))
    assert answer(job, VOLUME, Marker()).kind is ReplyKind.UNSUITABLE
    card = replace(VOLUME, requires=(Condition(field="diffusion_b_value", at_least=500),))
    assert answer(job, card, Marker()).kind is ReplyKind.DONE
    assert read_mask(tmp_path / "mask.npz").frame_numbers == (5, 6, 7, 8)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (lambda shape: np.zeros(shape, np.uint8), "the mask is empty: nothing was segmented"),
        (lambda shape: np.ones(shape, np.uint8), "the mask is 1 everywhere: nothing was told apart"),
        (lambda shape: np.full(shape, 9, np.uint8), "the mask holds 9, which is no segment of the card"),
        (lambda shape: np.ones(shape[1:], np.uint8), "the mask is uint8 (24, 20), the volume (5, 24, 20)"),
        (lambda shape: np.ones(shape, np.float32), "the mask is float32 (5, 24, 20), the volume (5, 24, 20)"),
        (lambda shape: None, "the model made no mask"),
    ],
)
def test_an_output_that_cannot_be_right_fails_with_what_is_wrong(
    tmp_path: Path, labels: Callable[[tuple[int, ...]], NDArray[Any] | None], reason: str
) -> None:
    class Wrong(Marker):
        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            return Reading(labels=labels(given.volume.grid.shape), timings={})

    reply = answer(job_on(tmp_path, MultiFrame(frames=stack_of(5))), VOLUME, Wrong())
    assert reply.kind is ReplyKind.FAILED
    assert reply.reason == reason
    assert not list(tmp_path.glob("*.npz"))
