"""Real and odd objects over a real association: each is kept byte for byte, or refused for a reason that is known."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage

from node.config import Settings
from node.domain.time import SystemClock
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.receive.part10 import read_meta
from node.store import instances
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import settings_for
from tests.receive.peer import calling, store

#: What is refused, and why that is right. An object that belongs to no study and no series cannot be filed.
NO_STUDY = (0xC000, "missing or empty: Study Instance UID, Series Instance UID")
NOTHING = (0xC000, "missing or empty: SOP Instance UID, Study Instance UID, Series Instance UID")
REFUSED = {
    "HTJ2K_08_RGB.dcm": NO_STUDY,
    "HTJ2KLossless_08_RGB.dcm": NO_STUDY,
    "JLSL_08_07_0_1F.dcm": NO_STUDY,
    "JLSL_16_15_1_1F.dcm": NO_STUDY,
    "JLSL_RGB_ILV0.dcm": NOTHING,
    "JLSL_RGB_ILV1.dcm": NOTHING,
    "JLSL_RGB_ILV2.dcm": NOTHING,
    "JLSN_RGB_ILV0.dcm": NOTHING,
    # Its UIDs were replaced by hashes in hexadecimal.
    "bad_sequence.dcm": (0x0117, "the command's SOP Instance UID is no UID"),
    # Cut off inside its pixel data, as its name says.
    "emri_small_jpeg_2k_lossless_too_short.dcm": (0xC000, "the data set ends inside an element: truncated"),
}
DEFLATED = {"liver_deflate.dcm", "liver_nonbyte_aligned_deflate.dcm"}
MOST_INFLATED_BYTES = 64 << 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A site that takes deflated objects."""
    return settings_for(tmp_path / "var", receive={"deflated_maximum_bytes": MOST_INFLATED_BYTES})


@pytest.fixture
def keeper(db: Database, spool: Spool) -> Iterator[Keeper]:
    made = Keeper(db, spool, SystemClock(), segment_bytes=4 << 20, inflated_maximum_bytes=MOST_INFLATED_BYTES)
    yield made
    made.close()


def uid_of(whole: bytes) -> str:
    """The SOP Instance UID of a file's data set: one file has another in its file meta group."""
    return str(dcmread(BytesIO(whole), force=True, stop_before_pixels=True).get("SOPInstanceUID", ""))


def sent(door: cstore.Acceptor, whole: bytes) -> tuple[int, str]:
    """Send a file's data set as it is, as any sender would; return status and comment."""
    meta = read_meta(whole)
    # Some files have none of their own.
    sop_class, sop_instance = meta.sop_class_uid or SecondaryCaptureImageStorage, uid_of(whole) or "1.2.3"
    with calling(door.port, syntaxes=(meta.transfer_syntax_uid,), classes=(sop_class,)) as association:
        answer = store(
            association,
            whole[meta.dataset_offset :],
            sop_class=sop_class,
            sop_instance=sop_instance,
            syntax=meta.transfer_syntax_uid,
        )
    return int(answer.Status), str(answer.ErrorComment)


def kept(db: Database, spool: Spool, keeper: Keeper, sop_instance_uid: str) -> set[tuple[str, bytes]]:
    """Transfer syntax and data set of each version that is kept of a SOP Instance UID."""
    assert keeper.settle()
    found = set()
    for (uid, _), (_, path) in instances.held_of(db, [sop_instance_uid]).items():
        assert uid == sop_instance_uid
        whole = spool.read(path)
        assert whole.startswith(bytes(128) + b"DICM")
        meta = read_meta(whole)
        found.add((meta.transfer_syntax_uid, whole[meta.dataset_offset :]))
    return found


def files(test_data: Path) -> list[Path]:
    found = sorted((test_data / "dicom" / "pydicom-data").glob("*.dcm"))
    assert len(found) > 70
    return found


def test_every_object_is_kept_byte_for_byte_or_refused_for_a_reason_that_is_known(
    test_data: Path, door: cstore.Acceptor, db: Database, spool: Spool, keeper: Keeper
):
    refused: dict[str, tuple[int, str]] = {}
    for file in files(test_data):
        whole = file.read_bytes()
        meta = read_meta(whole)
        status, comment = sent(door, whole)
        if status:
            refused[file.name] = (status, comment)
        # Some are one image in several encodings under one UID: each of them is kept.
        versions = kept(db, spool, keeper, uid_of(whole))
        is_kept = (meta.transfer_syntax_uid, whole[meta.dataset_offset :]) in versions
        assert is_kept is (status == 0), file.name
    assert {name: (status, reason[:64]) for name, (status, reason) in REFUSED.items()} == refused


def test_deflated_objects_are_not_offered_unless_a_site_wants_them(test_data: Path, tmp_path: Path, db: Database):
    plain = settings_for(tmp_path / "plain")
    keeper = Keeper(db, Spool(db.folder), SystemClock(), segment_bytes=4 << 20)
    running = cstore.start(plain, keeper)
    syntaxes = (DeflatedExplicitVRLittleEndian,)
    try:
        with calling(running.port, syntaxes=syntaxes, classes=(CTImageStorage,)) as association:
            assert association.accepted_contexts == []
    finally:
        running.stop(0.0)
        keeper.close()
    assert DEFLATED <= {file.name for file in files(test_data)}


def test_a_real_series_whose_uids_were_emptied_is_refused_by_name(test_data: Path, door: cstore.Acceptor, db: Database):
    for file in sorted((test_data / "dicom" / "totalseg_ct20").iterdir()):
        status, comment = sent(door, file.read_bytes())
        assert status == 0xC000
        assert comment.startswith("missing or empty: SOP Class UID, SOP Instance UID, Study")
    assert instances.of_study(db) == []
