"""`export`: copies of what is held, as files that other programs read."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from node.commands.output import say
from node.commands.site import opened
from node.config import Settings
from node.domain.uid import is_valid_uid
from node.errors import Failed
from node.store import artifacts, instances, outcomes
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.spool import Spool
from node.workflow.story import Story, find_study, study_story

_MASK = "mask"


def export(settings: Settings, study: str, target: Path, *, every_version: bool, with_findings: bool) -> None:
    """Write a study's instances below `target`, one folder a series; with findings also `target/findings`.

    Raises:
        Failed: there is no such study, a file of it is gone, or the target cannot be written.
    """
    with opened(settings) as db:
        uid = find_study(db, study)
        held = instances.of_study(db, uid, current_only=not every_version)
        try:
            target.mkdir(parents=True, exist_ok=True)
            spool = Spool(db.folder)
            for each in held:
                if each.freed_at:
                    remedy = "`matins fetch` has an archive send them again"
                    raise Failed(f"the files of {uid} were freed on {each.freed_at[:10]}; {remedy}")
                _copy_object(spool, each.path, target / _folder_name(each) / _file_name(each))
            count = _export_findings(db, uid, target / "findings") if with_findings else 0
        except OSError as error:
            raise Failed(f"cannot write {error.filename or target}: {error.strerror}") from error
    say(f"{len(held)} instances" + (f" and {count} files of findings" if with_findings else "") + f" in {target}")


def _export_findings(db: Database, uid: str, folder: Path) -> int:
    """Write findings.json, masks as NIfTI, and the evidence documents; return how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    told = study_story(db, uid)
    assert told is not None
    written = [folder / "findings.json"]
    written[0].write_text(json.dumps(_told_findings(told), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for outcome in outcomes.current(db, uid):
        for artifact in artifacts.of_outcome(db, outcome.id):
            source = db.folder / artifact.path
            stem = "-".join(part for part in (outcome.model, artifact.kind, artifact.profile) if part)
            if artifact.kind == _MASK:
                # Only here is nibabel loaded.
                from node.imaging.nifti import export_mask

                written.append(folder / f"{stem}.nii.gz")
                export_mask(source, written[-1])
            else:
                written.append(folder / f"{stem}.dcm")
                _copy(source, written[-1])
    return len(written)


def _told_findings(told: Story) -> Story:
    kept: Sequence[str] = ("study_instance_uid", "revision", "findings", "outcomes", "results")
    return {key: told[key] for key in kept}


def _copy_object(spool: Spool, path: str, target: Path) -> None:
    """Copy a kept object, filed or not."""
    try:
        source = spool.open(path)
    except FileNotFoundError:
        raise Failed(f"{path} is gone; `matins check` says what else is") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Failed(f"{source} is gone; `matins check` says what else is")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _folder_name(held: HeldInstance) -> str:
    return _safe(held.series_instance_uid)


def _file_name(held: HeldInstance) -> str:
    version = "" if held.current else f"-version-{held.id}"
    return f"{_safe(held.sop_instance_uid)}{version}.dcm"


def _safe(uid: str) -> str:
    """A UID is a file name; anything else that was received becomes none."""
    return uid if is_valid_uid(uid) else hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:32]
