"""Two studies compared by their images: how they lie on each other, and which lesion is which."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from node.domain.alignment import Conditions, Correspondence
from node.domain.model_card import ModelCard
from node.domain.study import Instance
from node.errors import Failed, MatinsError, Unsuitable
from node.imaging.correspond import Found, Outlined, correspond, cut, places_of, samplings
from node.imaging.mask import Mask, read_mask
from node.imaging.register import register
from node.imaging.volume import Volume, read_volume
from node.infer.comparison import ANSWER, QUESTION, Answer, Question, Side
from node.infer.messages import line
from node.triage.roles import card_of
from node.triage.suitability import slices_of

_GONE = "the prior's images are not here any more"
_FLAT = "single images are not laid on each other"


def answered(question: bytes) -> bytes:
    """Return the answer to a question, both as they go through the pipe."""
    try:
        answer = Answer(found=compared(QUESTION.validate_json(question)))
    except MatinsError as error:
        answer = Answer(failed=str(error))
    return line(ANSWER, answer)


def compared(asked: Question) -> Correspondence:
    """Lay a prior on a study and match their findings.

    Raises:
        Failed, Unsuitable: the current study cannot be read.
    """
    if not asked.card.needs_volume:
        return Correspondence(not_aligned=_FLAT)
    now = _volume(asked.now, asked.card)
    made_now = _conditions(asked.now, asked.card, now)
    try:
        before = _volume(asked.before, asked.card) if asked.before.slices else None
    except (Failed, Unsuitable) as error:
        return Correspondence(now=made_now, not_aligned=f"the prior: {error}")
    if before is None:
        return Correspondence(now=made_now, not_aligned=_GONE)
    made_before = _conditions(asked.before, asked.card, before)
    frames = [_first(side, asked.card)[1].frame_of_reference_uid for side in (asked.now, asked.before)]
    aligned = register(
        (now.array, now.grid), (before.array, before.grid), same_frame=bool(frames[0]) and frames[0] == frames[1]
    )
    outlined = _outlined(asked.now, now), _outlined(asked.before, before)
    places = places_of(outlined[0]), places_of(outlined[1])
    if aligned.refused:
        found = Found(pairs=(), knots=(), unseen_now=(), unseen_before=(), faint_before={}, faint_now={})
    else:
        found = correspond(*outlined, places, aligned)
    return Correspondence(
        now=made_now,
        before=made_before,
        alignment=aligned,
        pairs=found.pairs,
        knots=found.knots,
        unseen_now=found.unseen_now,
        unseen_before=found.unseen_before,
        cut_now=cut(places[0]),
        cut_before=cut(places[1]),
        sampled_now=samplings(places[0]),
        sampled_before=samplings(places[1]),
        faint_before=found.faint_before,
        faint_now=found.faint_now,
    )


def _slices(side: Side, card: ModelCard) -> list[tuple[Path, Instance]]:
    """What bears the result: the series of the first role, or the only one."""
    role = card.roles[0].name if card.roles else ""
    paths = {each.instance.sop_instance_uid: Path(each.path) for each in side.slices}
    of_role = [each.instance for each in side.slices if each.role == role]
    return [(paths[each.sop_instance_uid], each) for each in slices_of(of_role, card_of(card, role))]


def _first(side: Side, card: ModelCard) -> tuple[Path, Instance]:
    return min(_slices(side, card), key=lambda each: each[1].sop_instance_uid)


def _volume(side: Side, card: ModelCard) -> Volume:
    return read_volume(_slices(side, card), intensity=card.intensity)


def _outlined(side: Side, volume: Volume) -> Outlined:
    """What was outlined there; nothing, where the model left no mask."""
    if not side.mask:
        return Outlined(Mask((volume.array[:0] > 0).astype("uint8"), None, ()), volume.grid, side.findings)
    mask = read_mask(Path(side.mask))
    if mask.grid is None or not mask.grid.coincides_with(volume.grid):
        raise Failed("a mask does not lie on the images that it was made of")
    return Outlined(mask, volume.grid, side.findings)


def _conditions(side: Side, card: ModelCard, volume: Volume) -> Conditions:
    path, first = _first(side, card)
    steps = volume.grid.spacing_mm
    return Conditions(
        slice_spacing_mm=steps[0],
        in_plane_spacing_mm=max(steps[1:]),
        slice_thickness_mm=first.slice_thickness_mm,
        kernel=_kernel(path),
        contrast_agent=first.contrast_agent,
    )


def _kernel(path: Path) -> str:
    """Convolution Kernel (0018,1210), of a multi-frame image that of all its frames; empty where it is not said."""
    wanted = ["ConvolutionKernel", "SharedFunctionalGroupsSequence"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    except (OSError, InvalidDicomError):
        return ""
    if "SharedFunctionalGroupsSequence" in header and header.SharedFunctionalGroupsSequence:
        shared = header.SharedFunctionalGroupsSequence[0].get("CTReconstructionSequence")
        header = shared[0] if shared else header
    value = header.get("ConvolutionKernel", "")
    return value if isinstance(value, str) else "\\".join(map(str, value or ()))
