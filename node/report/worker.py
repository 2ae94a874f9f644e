"""The report room: turns finished outcomes into stored DICOM objects, queued for their destinations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from pydicom import Dataset, dcmread

from node.config import Peer, Settings
from node.domain.model_card import ModelCard
from node.domain.time import Clock, SystemClock
from node.domain.work import OutcomeState, WorkKind
from node.errors import Failed, MatinsError, Misconfigured
from node.imaging.mask import read_mask
from node.loop import Handling, Herald, run, stop_on_signals, work_step
from node.report.composition import compose, encode
from node.report.evidence import Evidence
from node.report.outputs import Output, in_order, outputs
from node.report.sources import normalise, read_headers
from node.report.warming import warm
from node.store import artifacts, files, findings, instances, outcomes, work_items
from node.store.artifacts import Artifact
from node.store.database import Database, open_database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import reading, recovery, reporting
from node.workflow.identity import destinations
from node.workflow.policy import Policy, load_policy
from node.workflow.reporting import BuiltResult

#: Built for every result, whether or not a destination asks for them.
DEFAULT_OUTPUTS = ("seg", "measurement_sr")
DEFAULT_PROFILE = "standard"
_OWNER = "report:"
_LEASE_S = 60.0

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the room until SIGTERM.

    Raises:
        Misconfigured: a peer asks for an output that does not exist.
    """
    available = outputs()
    check_outputs(settings.peers, available)
    db = open_database(settings.data.folder, "report")
    clock = SystemClock()
    policy = load_policy(settings)
    herald, stop = Herald(), stop_on_signals()
    files.sweep_temporary(settings.data.folder / artifacts.RESULTS)
    recovery.take_back(db, clock.now(), _OWNER, (WorkKind.REPORT,))
    warm(DEFAULT_OUTPUTS, available)
    herald.ready(f"writes {', '.join(sorted(available))}")
    run(db, work_step(db, clock, handling(db, clock, policy, available)), stop, herald)
    herald.stopping()
    db.close()
    return 0


def handling(db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output]) -> Handling:
    """How this room treats `report` items."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        reading.reject(db, clock.now(), policy, item, error)

    def died(item: WorkItem, reason: str) -> None:
        reading.died(db, clock.now(), policy, item, reason)

    return Handling(
        kind=WorkKind.REPORT,
        owner=f"{_OWNER}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: report(db, clock, policy, available, item),
        reject=reject,
        died=died,
    )


def report(db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], item: WorkItem) -> None:
    """Build what is missing, store it durably, then record and queue everything in one transaction.

    What an earlier attempt has recorded is not built again.

    Raises:
        Failed: the result cannot be written down, with the reason.
        Transient: a file or the database is busy.
    """
    outcome = outcomes.outcome(db, int(item.subject))
    if outcome is None or outcome.state is not OutcomeState.RESULT:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
            reading.settle(db, clock.now(), item.study_instance_uid)
        return
    kept = {(each.profile, each.kind): _kept(each) for each in artifacts.of_outcome(db, outcome.id)}
    evidence: Evidence | None = None
    results = []
    for profile, kinds in wanted(destinations(db, policy, outcome)).items():
        wanted_kinds = in_order(kinds, available)
        if any((profile, kind) not in kept for kind in wanted_kinds):
            evidence = evidence or gather(db, policy, outcome)
            evidence = evidence if evidence.profile == profile else replace(evidence, profile=profile)
            kept |= {
                (profile, kind): each for kind, each in _built(db, evidence, wanted_kinds, available, kept).items()
            }
        results += [kept[profile, kind] for kind in wanted_kinds]
    with db.transaction():
        reporting.complete(db, clock.now(), policy, item, results)


def _built(
    db: Database,
    evidence: Evidence,
    kinds: Sequence[str],
    available: Mapping[str, Output],
    kept: Mapping[tuple[str, str], BuiltResult],
) -> dict[str, BuiltResult]:
    """Build and store the kinds that are neither recorded nor, under their derived UID, on disk already.

    A file that outlived its row (a database rebuilt from the spool) may have been sent: it goes out as it is, for
    one UID never has two contents.
    """
    there = {kind: kept[evidence.profile, kind] for kind in kinds if (evidence.profile, kind) in kept}
    there |= {kind: found for kind in kinds if kind not in there and (found := _on_disk(db, evidence, kind))}
    given = {kind: dcmread(db.folder / each.path, stop_before_pixels=True) for kind, each in there.items()}
    built = compose(evidence, [kind for kind in kinds if kind not in there], available, given)
    return there | {kind: _store(db, kind, evidence.profile, dataset) for kind, dataset in built.items()}


def wanted(peers: Iterable[Peer]) -> dict[str, set[str]]:
    """Profile → kinds to build: the default ones, and what any destination of the outcome asks for."""
    kinds = {DEFAULT_PROFILE: set(DEFAULT_OUTPUTS)}
    for peer in peers:
        kinds.setdefault(peer.profile, set()).update(peer.outputs)
    return kinds


def gather(db: Database, policy: Policy, outcome: Outcome) -> Evidence:
    """Load what the outputs of one outcome rest on.

    Raises:
        Failed: the mask, an input or the card is not that of the outcome any more.
        Transient: an input cannot be read now.
    """
    mask_file = next((each for each in artifacts.of_outcome(db, outcome.id) if each.kind == "mask"), None)
    if mask_file is None:
        raise Failed(f"{outcome.model} left no mask: there is nothing to write down")
    mask = read_mask(db.folder / mask_file.path)
    paths = {
        held.sop_instance_uid: db.folder / held.path for held in instances.with_ids(db, outcomes.inputs(db, outcome.id))
    }
    strangers = [uid for uid in mask.sop_instance_uids if uid not in paths]
    if strangers:
        raise Failed(f"{len(strangers)} slice(s) of the mask are no inputs of the outcome, the first is {strangers[0]}")
    headers = read_headers([paths[uid] for uid in mask.sop_instance_uids])
    return Evidence(
        sources=normalise(headers, mask.grid),
        grid=mask.grid,
        mask=mask.labels,
        findings=tuple(findings.of_outcome(db, outcome.id)),
        card=_card(policy, outcome),
        model_digest=outcome.model_digest,
        card_digest=outcome.card_digest,
        content_digest=outcome.content_digest,
        run_number=outcome.run_number,
        revision=outcome.revision,
        finished_at=datetime.fromisoformat(outcome.finished_at).astimezone(),
    )


def check_outputs(peers: Iterable[Peer], available: Mapping[str, Output]) -> None:
    """See that every output that a peer asks for exists.

    Raises:
        Misconfigured: one does not.
    """
    for peer in peers:
        unknown = sorted(set(peer.outputs) - set(available))
        if unknown:
            remedy = f"Choose from {', '.join(sorted(available))}"
            raise Misconfigured("config.toml", f"peers.{peer.name}.outputs", f"no output {', '.join(unknown)}", remedy)


def _card(policy: Policy, outcome: Outcome) -> ModelCard:
    """The card with which the outcome was made; read anew where this room started with another."""
    for current in (policy, None):
        model = (current or load_policy(policy.settings)).model(outcome.model)
        if model is not None and model.card_digest == outcome.card_digest:
            return model.card
    raise Failed(f"the card of {outcome.model} has changed since it read the study; `matins force` reads it again")


def _on_disk(db: Database, evidence: Evidence, kind: str) -> BuiltResult | None:
    """The stored file of an output, if there is one: files are written whole or not at all."""
    path = _path(evidence.uid(kind, "instance"))
    file = db.folder / path
    if not file.is_file():
        return None
    return _result(kind, evidence.profile, dcmread(file, stop_before_pixels=True), path, file.read_bytes())


def _store(db: Database, kind: str, profile: str, dataset: Dataset) -> BuiltResult:
    """Put a dataset into the results folder, durably, under its SOP Instance UID."""
    content = encode(dataset)
    path = _path(str(dataset.SOPInstanceUID))
    files.write_durably(db.folder / path, content)
    return _result(kind, profile, dataset, path, content)


def _path(sop_instance_uid: str) -> str:
    return f"{artifacts.RESULTS}/{sop_instance_uid}.dcm"


def _result(kind: str, profile: str, dataset: Dataset, path: str, content: bytes) -> BuiltResult:
    return BuiltResult(
        kind=kind,
        profile=profile,
        path=path,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
    )


def _kept(artifact: Artifact) -> BuiltResult:
    return BuiltResult(
        kind=artifact.kind,
        profile=artifact.profile,
        path=artifact.path,
        size=artifact.size,
        digest=artifact.digest,
        sop_instance_uid=artifact.sop_instance_uid,
        sop_class_uid=artifact.sop_class_uid,
    )
