"""A folder of DICOM files, sorted: series that may be cases, Segmentations drawn on them, and what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import Unsuitable
from node.learn.dataset.dicom.header import Header, read_header
from node.learn.dataset.problems import Gravity, Problem

ENDINGS = (".dcm", ".ima", ".dicom")
_DAMAGED = "Replace them, or take them out"
_WRONG = "Take them out: a mask of another patient, study or series would teach something wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """The images of one series."""

    study_instance_uid: str
    series_instance_uid: str
    images: tuple[Header, ...]
    segmentation: Header | None = None

    @property
    def key(self) -> str:
        """Its name in the data set."""
        return f"{self.study_instance_uid}/{self.series_instance_uid}"


@dataclass(slots=True)
class Sorted:
    """All series of a folder, and the problems with it."""

    root: Path
    series: list[FoundSeries] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def tell(self, fault: str, names: Iterable[str], remedy: str, gravity: Gravity = Gravity.ERROR) -> None:
        """Keep a problem, if it has names."""
        told = tuple(sorted(names))
        if told:
            self.problems.append(Problem(fault=fault, names=told, remedy=remedy, gravity=gravity))


def dicom_files(path: Path) -> Iterable[Path]:
    """Files that are called like DICOM files, wherever they lie below a folder."""
    return (
        each for each in sorted(path.rglob("*")) if each.suffix.lower() in ENDINGS and not each.name.startswith(".")
    )


def sort_folder(root: Path) -> Sorted:
    """Read all headers and sort them; what is wrong becomes a problem, by the names of files."""
    found = Sorted(root)
    headers: list[Header] = []
    damaged = []
    for file in dicom_files(root):
        try:
            headers.append(read_header(file))
        except Unsuitable as error:
            damaged.append(f"{_name(root, file)}: {error}")
    found.tell("files that are no DICOM objects", damaged, _DAMAGED)
    twice = {uid for uid, times in Counter(each.instance.sop_instance_uid for each in headers).items() if times > 1}
    copies = [_name(root, each.file) for each in headers if each.instance.sop_instance_uid in twice]
    found.tell("one SOP Instance UID in several files", copies, "Keep one of each")
    images: dict[str, list[Header]] = {}
    for each in headers:
        if not each.is_segmentation and each.instance.pixels is not None:
            images.setdefault(each.instance.series_instance_uid, []).append(each)
    masks = _assigned([each for each in headers if each.is_segmentation], images, found)
    for uid, members in sorted(images.items()):
        _add(found, uid, members, masks.get(uid, []))
    return found


def _add(found: Sorted, uid: str, members: list[Header], masks: list[Header]) -> None:
    names = [_name(found.root, each.file) for each in members]
    if len({(each.patient, each.instance.study_instance_uid) for each in members}) > 1:
        found.tell("series of several patients or studies", names[:1], "Sort them: whose they are is not known")
        return
    many = [name for name, each in zip(names, members, strict=True) if _frames(each) > 1]
    if many:
        found.tell(
            "multi-frame images, which are not read from folders", many, "Send them through the node, or split them"
        )
        return
    if len(masks) > 1:
        found.tell(
            "several segmentations of one series", [_name(found.root, each.file) for each in masks], "Keep the true one"
        )
    found.series.append(
        FoundSeries(
            study_instance_uid=members[0].instance.study_instance_uid,
            series_instance_uid=uid,
            images=tuple(members),
            segmentation=masks[0] if masks else None,
        )
    )


def _frames(header: Header) -> int:
    return header.instance.pixels.number_of_frames if header.instance.pixels is not None else 0


def _assigned(masks: list[Header], images: dict[str, list[Header]], found: Sorted) -> dict[str, list[Header]]:
    """Series Instance UID → what is drawn on it. Study, patient, frame of reference and each image have to agree."""
    series_of = {each.instance.sop_instance_uid: uid for uid, members in images.items() for each in members}
    assigned: dict[str, list[Header]] = {}
    wrong = []
    for mask in masks:
        series = {series_of.get(uid, "") for uid in mask.named}
        reason = "" if series else "it names no images"
        if "" in series:
            reason = "it names images that are not here"
        elif len(series) > 1:
            reason = "it names images of several series"
        uid = next(iter(series), "")
        reason = reason or _disagreement(mask, images[uid])
        if reason:
            wrong.append(f"{_name(found.root, mask.file)}: {reason}")
        else:
            assigned.setdefault(uid, []).append(mask)
    found.tell("segmentations that are not of the images here", wrong, _WRONG)
    return assigned


def _disagreement(mask: Header, images: list[Header]) -> str:
    for what, theirs, ours in (
        ("study", {each.instance.study_instance_uid for each in images}, mask.instance.study_instance_uid),
        ("patient", {each.patient for each in images}, mask.patient),
        (
            "frame of reference",
            {each.instance.frame_of_reference_uid for each in images},
            mask.instance.frame_of_reference_uid,
        ),
    ):
        if theirs != {ours} or not ours:
            return f"another {what} than its images"
    return ""


def _name(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()
