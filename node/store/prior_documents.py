"""Reports, segmentations and documents beside images, as they were read back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.domain.prior_document import DocumentKind, DocumentState, Passage, PriorDocument
from node.domain.time import Instant
from node.store import events, prior_findings
from node.store.database import Database

_PASSAGES = TypeAdapter(tuple[Passage, ...])
_PATIENT = TypeAdapter(Patient)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """One object and what became of it."""

    sop_instance_uid: str
    instance_id: int
    study_instance_uid: str
    kind: DocumentKind
    #: Without its coded terms and findings: see `prior_findings`.
    document: PriorDocument
    ours: bool
    #: How many facts of history it told.
    facts: int
    state: DocumentState
    reason: str
    #: The patient of its study when it was read.
    belongs_to: Patient
    #: Whose history it told facts of; nobody's where it told none.
    told_of: Patient
    #: ISO 8601 UTC.
    read_at: str


def record(db: Database, now: Instant, row: DocumentRow) -> None:
    """Keep what became of an object in place of what became of it before, with its findings."""
    document = row.document
    db.execute("DELETE FROM prior_finding WHERE sop_instance_uid = ?", (row.sop_instance_uid,))
    db.execute(
        "INSERT OR REPLACE INTO prior_document (sop_instance_uid, instance_id, study_instance_uid, kind, title,"
        " completion, verification, preliminary, made_by, by_device, ours, document_date, texts, facts, state, reason,"
        " belongs_to, told_of, read_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.sop_instance_uid, row.instance_id, row.study_instance_uid, row.kind, document.title),
            *(document.completion, document.verification, document.preliminary, document.made_by),
            *(document.by_device, row.ours, document.document_date),
            *(_PASSAGES.dump_json(document.passages).decode(), row.facts, row.state, row.reason),
            *(_PATIENT.dump_json(row.belongs_to).decode(), _PATIENT.dump_json(row.told_of).decode(), now.iso),
        ),
    )
    prior_findings.record(db, row.sop_instance_uid, row.study_instance_uid, document.findings)
    told = f"{row.kind}: {len(document.findings)} finding(s), {row.facts} fact(s)"
    if document.left_out:
        told += f"; {document.left_out} left out, it has too many"
    study, reason = row.study_instance_uid, row.reason or told
    events.record(db, now, "document", row.sop_instance_uid, after=row.state, reason=reason, study=study)


def document(db: Database, sop_instance_uid: str) -> DocumentRow | None:
    """What became of one object, if it was looked at."""
    found = _rows(db, "WHERE sop_instance_uid = ?", (sop_instance_uid,))
    return found[0] if found else None


def of_studies(db: Database, uids: Sequence[str]) -> list[DocumentRow]:
    """What became of every object of these studies."""
    where = "WHERE study_instance_uid IN (SELECT value FROM json_each(?)) ORDER BY study_instance_uid, sop_instance_uid"
    return _rows(db, where, (json.dumps(list(uids)),))


def made_here(db: Database, study_instance_uid: str) -> frozenset[str]:
    """SOP Instance UIDs of what this node has made of a study: what it says is in the tables already."""
    rows = db.rows(
        "SELECT a.sop_instance_uid FROM artifact a JOIN outcome o ON o.id = a.outcome_id"
        " WHERE o.study_instance_uid = ? AND a.sop_instance_uid != ''",
        (study_instance_uid,),
    )
    return frozenset(row["sop_instance_uid"] for row in rows)


def _rows(db: Database, where: str, values: tuple[str, ...]) -> list[DocumentRow]:
    return [_row(row) for row in db.rows(f"SELECT * FROM prior_document {where}", values)]


def _row(row: sqlite3.Row) -> DocumentRow:
    read = PriorDocument(
        title=row["title"],
        completion=row["completion"],
        verification=row["verification"],
        preliminary=row["preliminary"],
        by_device=bool(row["by_device"]),
        made_by=row["made_by"],
        document_date=row["document_date"],
        passages=_PASSAGES.validate_json(row["texts"]),
    )
    return DocumentRow(
        sop_instance_uid=row["sop_instance_uid"],
        instance_id=row["instance_id"],
        study_instance_uid=row["study_instance_uid"],
        kind=DocumentKind(row["kind"]),
        document=read,
        ours=bool(row["ours"]),
        facts=row["facts"],
        state=DocumentState(row["state"]),
        reason=row["reason"],
        belongs_to=_PATIENT.validate_json(row["belongs_to"]),
        told_of=_PATIENT.validate_json(row["told_of"]),
        read_at=row["read_at"],
    )
