"""What the outputs of one outcome rest on, loaded from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.change import Change
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.domain.study import is_image
from node.domain.work import OutcomeState
from node.errors import Failed
from node.imaging import saliency
from node.imaging.mask import Mask, read_mask
from node.imaging.saliency import Saliency
from node.report.documents.predecessors import predecessors
from node.report.evidence import Evidence
from node.report.prior_image import PriorImage
from node.report.sources import described_header, normalise, read_headers
from node.store import artifacts, findings, instances, outcomes
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.triage.change_said import with_changes
from node.workflow import changed
from node.workflow.policy import Policy, load_policy

#: A map of one image is laid beside all images of the series up to this size.
_MOST_BYTES = 1 << 29


def gather(db: Database, policy: Policy, outcome: Outcome) -> Evidence:
    """Load what the outputs of one outcome rest on.

    Raises:
        Failed: the mask, an input or the card is not that of the outcome any more.
        Transient: an input cannot be read now.
    """
    if outcome.state is not OutcomeState.RESULT:
        return _unread(db, policy, outcome)
    held = instances.with_ids(db, outcomes.inputs(db, outcome.id))
    inputs = {each.sop_instance_uid: each for each in held}
    mask_file = next((each for each in artifacts.of_outcome(db, outcome.id) if each.kind == "mask"), None)
    changes = changed.changes_of_outcome(db, outcome.study_instance_uid, outcome.id)
    found = tuple(with_changes(findings.of_outcome(db, outcome.id), changes))
    if mask_file is None:
        if not found:
            raise Failed(f"{outcome.model} left neither a mask nor a finding: there is nothing to write down")
        of_series = [each for each in held if each.series_instance_uid == outcome.series_instance_uid]
        return _evidence(db, policy, outcome, findings=found, **_without_mask(db, outcome, of_series))
    mask = read_mask(db.folder / mask_file.path)
    strangers = [uid for uid in mask.sop_instance_uids if uid not in inputs]
    if strangers:
        raise Failed(f"{len(strangers)} slice(s) of the mask are no inputs of the outcome, the first is {strangers[0]}")
    # Slices may be frames of one image: each image is read once.
    uids = list(dict.fromkeys(mask.sop_instance_uids))
    files, sources = _read(db, [inputs[uid] for uid in uids], mask.grid)
    frames = zip(mask.sop_instance_uids, mask.frame_numbers, strict=True) if mask.frame_numbers else ()
    return _evidence(
        db,
        policy,
        outcome,
        sources=sources,
        frames=tuple((uids.index(uid), number) for uid, number in frames),
        paths=files,
        grid=mask.grid,
        mask=mask.labels,
        saliency=_on_mask(_saliency(db, outcome), mask),
        findings=found,
        changes=changes,
        prior_images=_prior_images(db, changes),
    )


def _prior_images(db: Database, changes: Sequence[Change]) -> tuple[PriorImage, ...]:
    """The images of priors that show best what has changed, as far as they are known here."""
    named = {each.prior_image for each in changes if each.prior_image}
    held = [
        each
        for study in sorted({each.prior_study_instance_uid for each in changes if each.prior_image})
        for each in instances.of_study(db, study)
        if each.sop_instance_uid in named and not each.rejected
    ]
    return tuple(
        PriorImage(
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_class_uid=each.sop_class_uid,
            sop_instance_uid=each.sop_instance_uid,
        )
        for each in held
    )


def _read(
    db: Database, held: Sequence[HeldInstance], grid: Grid | None = None
) -> tuple[tuple[Path, ...], tuple[Dataset, ...]]:
    """The files of the inputs, and their headers as builders need them."""
    files = tuple(db.folder / each.path for each in held)
    headers = read_headers(files[:1])
    for file, each in zip(files[1:], held[1:], strict=True):
        described = described_header(each.instance) if each.instance else None
        headers += [described] if described is not None else read_headers([file])
    placed = [each.instance.frames if each.instance else None for each in held]
    return files, normalise(headers, grid, [each if each and each.stacks else None for each in placed])


def _saliency(db: Database, outcome: Outcome) -> Saliency | None:
    """What the model looked at, where it left that: the first of its maps."""
    held = artifacts.of_outcome(db, outcome.id)
    file = next((each for each in held if each.kind == saliency.KIND and not each.freed_at), None)
    return None if file is None else saliency.read_saliency(db.folder / file.path)


def _on_mask(found: Saliency | None, mask: Mask) -> NDArray[np.float32] | None:
    """The map on the pixels of the mask."""
    if found is None:
        return None
    if (found.sop_instance_uids, found.weights.shape) == (mask.sop_instance_uids, mask.labels.shape):
        return found.weights
    rows = _slices_of(found, mask.sop_instance_uids, mask.frame_numbers)
    if found.grid is not None or rows is None or found.weights.shape[1:] != mask.labels.shape[1:]:
        raise Failed("saliency and mask are not of the same slices")
    return _spread(found, rows, len(mask.labels))


def _without_mask(db: Database, outcome: Outcome, held: Sequence[HeldInstance]) -> dict[str, Any]:
    """Sources, and what the model looked at, where it labelled no voxel: a map in space says how they lie."""
    found = _saliency(db, outcome)
    by_uid = {each.sop_instance_uid: each for each in held}
    if found is not None and found.grid is not None and set(found.sop_instance_uids) <= by_uid.keys():
        uids = list(dict.fromkeys(found.sop_instance_uids))
        files, sources = _read(db, [by_uid[uid] for uid in uids], found.grid)
        frames = zip(found.sop_instance_uids, found.frame_numbers, strict=True) if found.frame_numbers else ()
        placed = tuple((uids.index(uid), number) for uid, number in frames)
        return {"sources": sources, "paths": files, "frames": placed, "grid": found.grid, "saliency": found.weights}
    files, sources = _read(db, held)
    return {"sources": sources, "paths": files, "saliency": None if found is None else _on_images(found, sources)}


def _on_images(found: Saliency, sources: Sequence[Dataset]) -> NDArray[np.float32] | None:
    """A map of one image beside all of them; `None` where they are not alike, or too many to be drawn."""
    rows = _slices_of(found, [str(each.SOPInstanceUID) for each in sources], ())
    sizes = {(int(each.Rows), int(each.Columns)) for each in sources}
    if rows is None or sizes != {found.weights.shape[1:]} or len(sources) * found.weights[0].nbytes > _MOST_BYTES:
        return None
    return _spread(found, rows, len(sources))


def _slices_of(found: Saliency, uids: Sequence[str], numbers: Sequence[int]) -> list[int] | None:
    """Where each slice of a map stands among others; `None` if one is not there."""
    places = {key: index for index, key in enumerate(zip(uids, numbers or [0] * len(uids), strict=True))}
    wanted = zip(found.sop_instance_uids, found.frame_numbers or [0] * len(found.weights), strict=True)
    rows = [places.get(key) for key in wanted]
    return None if None in rows else [row for row in rows if row is not None]


def _spread(found: Saliency, rows: Sequence[int], count: int) -> NDArray[np.float32]:
    weights = np.zeros((count, *found.weights.shape[1:]), dtype=np.float32)
    weights[list(rows)] = found.weights
    return weights


def _unread(db: Database, policy: Policy, outcome: Outcome) -> Evidence:
    """A model that did not read: an image of the study says whose it is, an input or one of its series if it can."""
    inputs = set(outcomes.inputs(db, outcome.id))
    held = [each for each in instances.of_study(db, outcome.study_instance_uid) if _speaks(each)]
    if not held:
        raise Failed("no image of the study is here to say whose it is")
    series = outcome.series_instance_uid
    first = min(held, key=lambda each: (each.id not in inputs, each.series_instance_uid != series, each.id))
    _, sources = _read(db, [first])
    return _evidence(db, policy, outcome, sources=sources)


def _speaks(held: HeldInstance) -> bool:
    return held.instance is not None and not held.ours and not held.rejected and is_image(held.sop_class_uid)


def _evidence(db: Database, policy: Policy, outcome: Outcome, **loaded: object) -> Evidence:
    return Evidence(
        **loaded,  # type: ignore[arg-type]
        card=_card(policy, outcome),
        model_digest=outcome.model_digest,
        card_digest=outcome.card_digest,
        content_digest=outcome.content_digest,
        run_number=outcome.run_number,
        revision=outcome.revision,
        finished_at=datetime.fromisoformat(outcome.finished_at).astimezone(),
        state=outcome.state,
        reason=outcome.reason,
        notes=outcome.notes,
        zone=_zone(policy, outcomes.sources(db, outcome.id)),
        predecessors=predecessors(db, outcome),
    )


def _zone(policy: Policy, sources: Sequence[str]) -> ZoneInfo | None:
    """The zone of the sources' clocks, where all of them have the same."""
    zones = {peer.timezone for name in sources if (peer := policy.settings.peer_named(name))}
    return ZoneInfo(zones.pop()) if len(zones) == 1 and "" not in zones else None


def _card(policy: Policy, outcome: Outcome) -> ModelCard:
    """The card with which the outcome was made; read anew where this room started with another."""
    for current in (policy, None):
        model = (current or load_policy(policy.settings)).model(outcome.model)
        if model is not None and model.card_digest == outcome.card_digest:
            return model.card
    raise Failed(f"the card of {outcome.model} has changed since it read the study; `matins force` reads it again")
