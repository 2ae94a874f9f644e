"""What the outputs of one outcome rest on, loaded from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.domain.study import is_image
from node.domain.work import OutcomeState
from node.errors import Failed
from node.imaging import saliency
from node.imaging.mask import Mask, read_mask
from node.report.documents.predecessors import predecessors
from node.report.evidence import Evidence
from node.report.sources import described_header, normalise, read_headers
from node.store import artifacts, findings, instances, outcomes
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.workflow.policy import Policy, load_policy


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
    found = tuple(findings.of_outcome(db, outcome.id))
    if mask_file is None:
        if not found:
            raise Failed(f"{outcome.model} left neither a mask nor a finding: there is nothing to write down")
        files, sources = _read(db, [each for each in held if each.series_instance_uid == outcome.series_instance_uid])
        return _evidence(db, policy, outcome, sources=sources, paths=files, findings=found)
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
        saliency=_saliency(db, outcome, mask),
        findings=found,
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


def _saliency(db: Database, outcome: Outcome, mask: Mask) -> NDArray[np.float32] | None:
    """What the model looked at, where it left that; on the pixels of the mask."""
    file = next((each for each in artifacts.of_outcome(db, outcome.id) if each.kind == saliency.KIND), None)
    if file is None:
        return None
    found = saliency.read_saliency(db.folder / file.path)
    if (found.sop_instance_uids, found.weights.shape) != (mask.sop_instance_uids, mask.labels.shape):
        raise Failed("saliency and mask are not of the same slices")
    return found.weights


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
