"""A stored result as it is sent: its file meta, whom it names, and its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from node.domain.patient import Patient
from node.domain.uid import is_valid_uid
from node.errors import Failed, MatinsError, Transient

#: Preamble and prefix "DICM" (PS3.10 §7.1), then (0002,0000): tag, VR, length and value.
_META_START = 132
_GROUP_LENGTH_BYTES = 12
#: Patient's Sex, the last element that the gate looks at.
_LAST_TAG = 0x00100040
_REBUILD = "`matins force` builds a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHeader:
    """What is known of one Part 10 file before its data set is read."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    #: Whom the object names.
    patient: Patient
    #: Where the data set starts, and how long it is, bytes.
    start: int
    size: int


def read_header(path: Path) -> StoredHeader:
    """Read the file meta group and the patient.

    Raises:
        Failed: the file is gone, or is no Part 10 file.
        Transient: the disk does not answer.
    """
    try:
        with path.open("rb") as stream:
            header = read_partial(stream, stop_when=lambda tag, _vr, _length: int(tag) > _LAST_TAG)
        meta = header.file_meta
        start = _META_START + _GROUP_LENGTH_BYTES + int(meta.FileMetaInformationGroupLength)
        read = StoredHeader(
            path=path,
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            patient=_patient(header),
            start=start,
            size=path.stat().st_size - start,
        )
    except OSError as error:
        raise _unreadable(path, error) from error
    except (InvalidDicomError, AttributeError, ValueError, TypeError, EOFError) as error:
        raise Failed(f"the stored file {path.name} is no Part 10 file; {_REBUILD}") from error
    if read.size <= 0 or not all(map(is_valid_uid, (read.sop_instance_uid, read.sop_class_uid))):
        raise Failed(f"the stored file {path.name} has no data set, or no sound UIDs; {_REBUILD}")
    return read


def read_file(header: StoredHeader, digest: str) -> bytes:
    """Read the whole file, as it lies on disk; its data set begins at `header.start`.

    `digest` is the SHA-256 of the file as it was written.

    Raises:
        Failed: the file is gone, or is not what was written.
        Transient: the disk does not answer.
    """
    try:
        content = header.path.read_bytes()
    except OSError as error:
        raise _unreadable(header.path, error) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise Failed(f"the stored file {header.path.name} is not what was written; {_REBUILD}")
    return content


def _unreadable(path: Path, error: OSError) -> MatinsError:
    if isinstance(error, FileNotFoundError):
        return Failed(f"the stored file {path.name} is gone; {_REBUILD}")
    return Transient(f"the stored file {path.name} cannot be read: {error.strerror}")


def _patient(header: Dataset) -> Patient:
    return Patient(
        patient_id=_text(header, "PatientID"),
        issuer=_text(header, "IssuerOfPatientID"),
        name=_text(header, "PatientName"),
        birth_date=_text(header, "PatientBirthDate"),
        sex=_text(header, "PatientSex"),
    )


def _text(header: Dataset, keyword: str) -> str:
    """The value as arriving headers are read: values without padding, several joined by a backslash."""
    value = header.get(keyword)
    if value is None:
        return ""
    values = value if isinstance(value, MultiValue) else [value]
    texts = [str(each).replace("\0", "").strip() for each in values]
    return "\\".join(texts) if any(texts) else ""
