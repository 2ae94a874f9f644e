"""What the embedded archive holds: Part 10 files in one folder, and the headers that queries are answered from."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import cast

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread

from node.demo import query

#: One JSON line an arrival, in the order of arrival.
ARRIVALS = "arrivals.jsonl"
_PIXEL_DATA = 0x7FE00008
_ENTITIES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class Misfit(ValueError):
    """A data set that is not what its request says, or lacks a UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One object as it arrived, a line of `ARRIVALS`."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    calling_ae_title: str
    #: Name of the file in the folder; a later arrival of the same UID takes its place.
    file: str
    #: SHA-256 of the file.
    sha256: str


class Collection:
    """A folder of Part 10 files; one object a SOP Instance UID, the last one that arrived."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, made where absent, and read the headers of what lies there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._headers: dict[str, Dataset] = {}
        self._lock = threading.Lock()
        for left_over in folder.glob(".incoming-*"):
            left_over.unlink()
        for path in sorted(folder.glob("*.dcm")):
            try:
                header = _header(path.read_bytes())
                self._headers[str(header.SOPInstanceUID)] = header
            except (InvalidDicomError, Misfit) as error:
                print(f"{path.name} is left aside: {error}", file=sys.stderr)

    def __len__(self) -> int:
        return len(self._headers)

    def keep(self, part10: bytes, sop_instance_uid: str, calling_ae_title: str) -> Arrival:
        """Write one object, durably and at once or not at all, under a name of our own.

        Raises:
            Misfit: a UID is missing, or the data set has another SOP Instance UID than the request.
            InvalidDicomError: the bytes are no DICOM file.
            OSError: it cannot be written.
        """
        header = _header(part10)
        if header.SOPInstanceUID != sop_instance_uid:
            raise Misfit("SOP Instance UID of request and data set differ")
        name = _name_of(sop_instance_uid)
        arrival = Arrival(
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=sop_instance_uid,
            series_instance_uid=str(header.SeriesInstanceUID),
            study_instance_uid=str(header.StudyInstanceUID),
            calling_ae_title=calling_ae_title,
            file=name,
            sha256=hashlib.sha256(part10).hexdigest(),
        )
        self._write(name, part10)
        with self._lock:
            self._headers[sop_instance_uid] = header
            with (self._folder / ARRIVALS).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(asdict(arrival)) + "\n")
        return arrival

    def path(self, arrival: Arrival) -> Path:
        """Where the object lies."""
        return self._folder / arrival.file

    def find(self, identifier: Dataset) -> Iterator[Dataset]:
        """Answer a Study Root query (PS3.4 §C.4.1) from what is held now.

        Raises:
            query.BadQuery: no level, or no unique key of the level above.
        """
        with self._lock:
            headers = list(self._headers.values())
        return query.answers(identifier, headers)

    def matching(self, identifier: Dataset) -> list[Path]:
        """Return the files that the unique keys of a retrieval name (PS3.4 §C.4.2.2.1), by SOP Instance UID.

        Raises:
            query.BadQuery: a level without its unique keys.
        """
        level = str(identifier.get("QueryRetrieveLevel", ""))
        keywords = dict(zip(("STUDY", "SERIES", "IMAGE"), (_ENTITIES[:1], _ENTITIES[:2], _ENTITIES), strict=True))
        if level not in keywords or not all(identifier.get(keyword) for keyword in keywords[level]):
            raise query.BadQuery(f"no retrieval at level {level!r} without its unique keys")
        wanted = {keyword: set(_texts(identifier[keyword].value)) for keyword in keywords[level]}
        with self._lock:
            found = [each for each in self._headers.values() if all(str(each[k].value) in v for k, v in wanted.items())]
        return [self._folder / _name_of(str(each.SOPInstanceUID)) for each in found]

    def _write(self, name: str, content: bytes) -> None:
        temporary = self._folder / f".incoming-{uuid.uuid4().hex}"
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._folder / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name_of(sop_instance_uid: str) -> str:
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:40] + ".dcm"


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(each) for each in cast("Sequence[object]", value)]


def arrivals(folder: Path) -> list[Arrival]:
    """Return what has arrived in an archive's folder so far, first to last; safe while the archive runs."""
    try:
        lines = (folder / ARRIVALS).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    # What follows the last line break is a line still being written, or nothing.
    return [Arrival(**json.loads(line)) for line in lines[:-1]]


def _header(part10: bytes) -> Dataset:
    """The elements that can be asked for: neither sequences nor private ones nor pixels.

    Raises:
        Misfit: a UID is missing.
        InvalidDicomError: the bytes are no DICOM file.
    """
    dataset = dcmread(BytesIO(part10), stop_before_pixels=True)
    for keyword in ("SOPClassUID", *_ENTITIES):
        if not dataset.get(keyword):
            raise Misfit(f"{keyword} is missing")
    header = Dataset()
    for tag in list(dataset.keys()):
        if tag < _PIXEL_DATA and not tag.is_private and (element := dataset[tag]).VR != "SQ":
            header.add(element)
    return header
