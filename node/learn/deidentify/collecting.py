"""From chosen studies to a data set: de-identified objects in folders of pseudonyms, readers' classes beside."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from node.errors import Failed
from node.learn.deidentify.burned_in import Flagged, flagged
from node.learn.deidentify.choosing import Chosen, LeftOut
from node.learn.deidentify.contents import UNREADABLE, every_element
from node.learn.deidentify.identities import Identity, Sought
from node.learn.deidentify.leaks import kinds_in, leaks
from node.learn.deidentify.profile import LIBRARY, Options, Subject, deidentified, quiet
from node.learn.deidentify.pseudonyms import Pseudonyms
from node.learn.deidentify.table import EDITION
from node.store.spool import Spool

#: What the folder holds beside the objects.
LABELS, ACCOUNT = "labels.csv", "deidentification.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for."""

    chosen: Sequence[Chosen]
    target: Path
    options: Options
    #: The word of the sheet that somebody has looked at; empty: nobody has.
    word: str = ""
    #: Study Instance UID → what leads to it.
    identity_of: Callable[[str], Identity]
    #: Everybody whose studies are held: none of them may be told of.
    everybody: Sought


@dataclass(slots=True, kw_only=True)
class Collected:
    """What became of it."""

    series: int = 0
    images: int = 0
    segmentations: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    #: Study and Series Instance UID of what is held back, and why.
    held_back: list[tuple[str, str, Flagged]] = field(default_factory=list)
    #: To be read off the sheet of what is held back.
    word: str = ""


def look(spool: Spool, wish: Wish, pseudonyms: Pseudonyms) -> Collected:
    """See what may have text burned in, without writing anything.

    Raises:
        Failed: the word given is of another sheet.
    """
    found = Collected()
    for each in wish.chosen:
        try:
            images = _read(spool, each)
        except Failed as error:
            found.left_out.append(LeftOut(study_instance_uid=each.study.study_instance_uid, reason=str(error)))
            continue
        for series in dict.fromkeys(str(image.SeriesInstanceUID) for image in images):
            with quiet():
                risk = flagged([image for image in images if image.SeriesInstanceUID == series])
            if risk is not None and series not in {known for _, known, _ in found.held_back}:
                found.held_back.append((each.study.study_instance_uid, series, risk))
    found.word = pseudonyms.word(*(series for _, series, _ in found.held_back)) if found.held_back else ""
    if wish.word and wish.word != found.word:
        raise Failed("the word is not that of the sheet of these images: look at the sheet, and give the word below it")
    return found


def collect(spool: Spool, wish: Wish, pseudonyms: Pseudonyms) -> Collected:
    """Write the data set; whole or not at all.

    Raises:
        Failed: the folder is there already, the word is of another sheet, two readers say different things of one
            series, or somebody can be told from what was written.
    """
    if wish.target.exists():
        raise Failed(f"{wish.target} is there already: a data set goes into a new folder")
    found = look(spool, wish, pseudonyms)
    held_back = set() if wish.word else {series for _, series, _ in found.held_back}
    unfinished = wish.target.with_name(f".{wish.target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        lost = {each.study_instance_uid for each in found.left_out}
        for each in wish.chosen:
            if each.study.study_instance_uid not in lost:
                _take(spool, wish, pseudonyms, each, unfinished, held_back, found)
        _write_beside(unfinished, wish.options, found)
        told = leaks(unfinished, wish.everybody)
        if told:
            kinds = sorted({kind for leak in told for kind in leak.kinds})
            raise Failed(f"{len(told)} files would tell of somebody ({', '.join(kinds)}): nothing was written")
        unfinished.rename(wish.target)
    except OSError as error:
        raise Failed(f"cannot write {wish.target}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return found


def _take(
    spool: Spool,
    wish: Wish,
    pseudonyms: Pseudonyms,
    chosen: Chosen,
    folder: Path,
    held_back: set[str],
    found: Collected,
) -> None:
    """Write what was chosen of one study, or leave all of it out."""
    study = chosen.study
    patient = study.patient
    try:
        images = _read(spool, chosen)
        subject = Subject(
            pseudonym=pseudonyms.patient(patient.patient_id, patient.issuer),
            days=pseudonyms.days(patient.patient_id, patient.issuer),
            identity=Sought([wish.identity_of(study.study_instance_uid)], strict=True),
        )
        taken = [each for each in images if each.SeriesInstanceUID not in held_back]
        if len(taken) < len(images):
            # A label or a mask is of all images that were read together.
            return
        objects = [*taken, *([_segmentation(spool, chosen, images)] if chosen.segmentation else [])]
        written = [_written(each, subject, pseudonyms, wish.options) for each in objects]
    except Failed as error:
        found.left_out.append(LeftOut(study_instance_uid=study.study_instance_uid, reason=str(error)))
        return
    for dataset, content in written:
        place = folder / subject.pseudonym / dataset.StudyInstanceUID / dataset.SeriesInstanceUID
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{dataset.SOPInstanceUID}.dcm").write_bytes(content)
    for series in dict.fromkeys(str(dataset.SeriesInstanceUID) for dataset, _ in written[: len(images)]):
        if chosen.label and found.labels.setdefault(series, chosen.label) != chosen.label:
            raise Failed("two results of one series are called by different classes: name one model with --model")
        found.series += 1
    found.images += len(images)
    found.segmentations += bool(chosen.segmentation)


def _read(spool: Spool, chosen: Chosen) -> list[Dataset]:
    """The images, each sure to be what the index says it is.

    Raises:
        Failed: one is gone or damaged, or names another patient or study.
    """
    found = []
    for held in chosen.images:
        dataset = _opened(spool, held.path)
        named = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("StudyInstanceUID", ""))
        if named != (held.sop_instance_uid, chosen.study.study_instance_uid):
            raise Failed("a file holds another object than was indexed")
        found.append(_of_patient(dataset, chosen))
    return found


def _segmentation(spool: Spool, chosen: Chosen, images: Sequence[Dataset]) -> Dataset:
    """The Segmentation, sure to be drawn on these images of this patient.

    Raises:
        Failed: it is gone or damaged, or of something else.
    """
    dataset = _of_patient(_opened(spool, chosen.segmentation), chosen)
    frames = {str(image.get("FrameOfReferenceUID", "")) for image in images}
    if str(dataset.get("StudyInstanceUID", "")) != chosen.study.study_instance_uid:
        raise Failed("its segmentation is of another study")
    if {str(dataset.get("FrameOfReferenceUID", ""))} != frames or "" in frames:
        raise Failed("its segmentation is in another frame of reference")
    named = {str(each.value) for each in every_element(dataset) if each.keyword == "ReferencedSOPInstanceUID"}
    if not named or not named <= {str(image.SOPInstanceUID) for image in images}:
        raise Failed("its segmentation names other images")
    return dataset


def _opened(spool: Spool, path: str) -> Dataset:
    try:
        with spool.open(path) as stream, quiet():
            return dcmread(stream, force=True)
    except UNREADABLE as error:
        raise Failed(f"an object of it cannot be read ({type(error).__name__})") from error


def _of_patient(dataset: Dataset, chosen: Chosen) -> Dataset:
    """The object, if it names the patient of its study."""
    with quiet():
        named = str(dataset.get("PatientID", "") or "").strip()
        issuer = str(dataset.get("IssuerOfPatientID", "") or "").strip()
    patient = chosen.study.patient
    if named != patient.patient_id or (issuer and patient.issuer and issuer != patient.issuer):
        raise Failed("an object of it names another patient than its study")
    return dataset


def _written(dataset: Dataset, subject: Subject, pseudonyms: Pseudonyms, options: Options) -> tuple[Dataset, bytes]:
    """The object without the patient, and its bytes, looked through once more.

    Raises:
        Failed: it cannot be cleaned or written, or tells of the patient all the same.
    """
    with quiet():
        site = pseudonyms.site(str(dataset.get("InstitutionName", "") or ""))
        stream = BytesIO()
        try:
            made = deidentified(dataset, replace(subject, site=site), pseudonyms, options)
            made.save_as(stream, enforce_file_format=True)
        except UNREADABLE as error:
            raise Failed(f"an object of it cannot be written ({type(error).__name__})") from error
        content = stream.getvalue()
        kinds = kinds_in(content, subject.identity)
    if kinds:
        raise Failed(f"an object of it tells of the patient where no profile looks ({', '.join(sorted(kinds))})")
    return made, content


def _write_beside(folder: Path, options: Options, found: Collected) -> None:
    if found.labels:
        with (folder / LABELS).open("w", newline="", encoding="utf-8") as stream:
            written = csv.writer(stream)
            written.writerow(("series_instance_uid", "label"))
            written.writerows(sorted(found.labels.items()))
    account = {
        "profile": f"PS3.15 Annex E, Basic Application Confidentiality Profile, table E.1-1 of {EDITION} by {LIBRARY}",
        "options": {"dates": options.dates, "characteristics": options.characteristics, "words": options.descriptors},
        "series": found.series,
        "images": found.images,
        "segmentations": found.segmentations,
        "series_held_back": len(found.held_back),
        "studies_left_out": len(found.left_out),
    }
    (folder / ACCOUNT).write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
