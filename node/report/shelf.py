"""The results folder: each dataset once, durable, under its SOP Instance UID."""

from __future__ import annotations

import hashlib

from pydicom import Dataset, dcmread

from node.report.composition import encode
from node.report.evidence import Evidence
from node.store import artifacts, files
from node.store.artifacts import Artifact
from node.store.database import Database
from node.workflow.reporting import BuiltResult


def kept(artifact: Artifact) -> BuiltResult:
    """What is recorded already."""
    return BuiltResult(
        kind=artifact.kind,
        profile=artifact.profile,
        path=artifact.path,
        size=artifact.size,
        digest=artifact.digest,
        sop_instance_uid=artifact.sop_instance_uid,
        sop_class_uid=artifact.sop_class_uid,
    )


def on_disk(db: Database, evidence: Evidence, kind: str) -> BuiltResult | None:
    """The stored file of an output, if there is one: files are written whole or not at all."""
    path = _path(evidence.uid(kind, "instance"))
    file = db.folder / path
    if not file.is_file():
        return None
    return _result(kind, evidence.profile, dcmread(file, stop_before_pixels=True), path, file.read_bytes())


def store(db: Database, kind: str, profile: str, dataset: Dataset) -> BuiltResult:
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
