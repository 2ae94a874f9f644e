"""Cards of classifiers and detectors, what they are given, and what they answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Code
from node.domain.model_card import ModelCard, Task
from node.domain.target import Calibration, Target
from node.imaging.images import Image
from node.imaging.pipelines import Box, Given, Reading
from node.imaging.volume import Volume
from tests.imaging.series import grid_of
from tests.report.synthetic import card

NODULE = Code("27925004", "SCT", "Nodule")
EFFUSION = Code("60046008", "SCT", "Pleural effusion")
LUNG = Code("39607008", "SCT", "Lung")

Edges = tuple[tuple[float, float], ...]


def fitted(temperature: float = 1.0, bias: float = 0.0) -> Calibration:
    return Calibration(temperature=temperature, bias=bias, cases=100, fitted_on="2026-11-01", fitted_at="here")


def target(index: int = 0, code: Code = NODULE, **changes: object) -> Target:
    return Target(index=index, label=changes.pop("label", code.meaning), code=code, **changes)  # type: ignore[arg-type]


def asking(task: Task, *targets: Target, **changes: object) -> ModelCard:
    """A card that looks for these."""
    return replace(card(), segments=(), task=task, targets=targets or (target(),), **changes)


def images(*sizes: tuple[int, int], uids: tuple[str, ...] = ()) -> Given:
    """Single images of these sizes; of one instance each, unless their UIDs are given."""
    made = []
    for number, size in enumerate(sizes):
        uid = uids[number] if uids else f"1.2.{number}"
        frame = 1 + uids[:number].count(uid) if uids.count(uid) > 1 else 0
        made.append(Image(array=np.zeros(size, np.int16), sop_instance_uid=uid, frame_number=frame))
    return Given(images=tuple(made))


def volume(shape: tuple[int, int, int]) -> Given:
    uids = tuple(f"1.2.{index}" for index in range(shape[0]))
    return Given(volumes={"": Volume(np.zeros(shape, np.int16), grid_of(shape, np.eye(4)), uids)})


def numbers(rows: list[list[float]] | NDArray[np.float32], **changes: object) -> Reading:
    """Logits."""
    return Reading(logits=np.array(rows, np.float32), timings={}, **changes)  # type: ignore[arg-type]


def seen(*boxes: tuple[float, Edges] | tuple[float, Edges, int], **changes: object) -> Reading:
    """Boxes of the first target: score, edges and perhaps the image."""
    made = tuple(Box(target=0, score=score, edges=edges, image=rest[0] if rest else 0) for score, edges, *rest in boxes)
    return Reading(boxes=made, timings={}, **changes)  # type: ignore[arg-type]
