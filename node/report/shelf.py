"""The results folder: each dataset once, durable, under its SOP Instance UID."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from pydicom import Dataset, dcmread

from node.report.composition import parts
from node.report.evidence import Evidence
from node.store import artifacts, files
from node.store.artifacts import Artifact
from node.store.database import Database
from node.workflow.reporting import BuiltResult

#: What is recorded of a file; the rest is not read.
_NAMES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")


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
        series_instance_uid=artifact.series_instance_uid,
    )


def on_disk(db: Database, evidence: Evidence, kind: str) -> BuiltResult | None:
    """The stored file of an output, if there is one: files are written whole or not at all."""
    path = _path(evidence.uid(kind, "instance"))
    file = db.folder / path
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = dcmread(file, stop_before_pixels=True, specific_tags=list(_NAMES))
    return _result(kind, evidence.profile, names, path, file.stat().st_size, digest)


def store(db: Database, kind: str, profile: str, dataset: Dataset) -> BuiltResult:
    """Put a dataset into the results folder, durably, under its SOP Instance UID."""
    content = parts(dataset)
    path = _path(str(dataset.SOPInstanceUID))
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(_digest, content)
        files.write_durably(db.folder / path, *content)
        return _result(kind, profile, dataset, path, sum(map(len, content)), digest.result())


def _digest(content: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()


def _path(sop_instance_uid: str) -> str:
    return f"{artifacts.RESULTS}/{sop_instance_uid}.dcm"


def _result(kind: str, profile: str, dataset: Dataset, path: str, size: int, digest: str) -> BuiltResult:
    return BuiltResult(
        kind=kind,
        profile=profile,
        path=path,
        size=size,
        digest=digest,
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
    )
