from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from node.config import Settings
from node.errors import Transient
from node.receive.intakes.folder import ImportedFile, Verdict, import_paths
from node.receive.part10 import head
from node.store import instances
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice, part10, settings_for


def test_files_of_folders_are_kept_in_order_with_all_below(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path
):
    (tmp_path / "disc" / "b").mkdir(parents=True)
    (tmp_path / "disc" / "b" / "2").write_bytes(part10(mr_slice(2)))
    (tmp_path / "disc" / "1.dcm").write_bytes(part10(mr_slice(1), ImplicitVRLittleEndian))
    single = tmp_path / "3.dcm"
    single.write_bytes(part10(mr_slice(3)))
    heard: list[ImportedFile] = []
    counts = import_paths(db, spool, settings, [tmp_path / "disc", single], heard.append)
    assert (counts.kept, counts.held, counts.refused) == (3, 0, ())
    assert [each.path.name for each in heard] == ["1.dcm", "2", "3.dcm"]
    assert {each.source for each in instances.of_study(db)} == {"import"}
    again = import_paths(db, spool, settings, [tmp_path / "disc", single])
    assert (again.kept, again.held) == (0, 3)


def test_files_of_old_equipment_without_head_are_kept(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    (tmp_path / "bare").write_bytes(encoded(mr_slice(1), ImplicitVRLittleEndian))
    (tmp_path / "no-preamble").write_bytes(part10(mr_slice(2))[132:])
    counts = import_paths(db, spool, settings, [tmp_path / "bare", tmp_path / "no-preamble"])
    assert (counts.kept, counts.refused) == (2, ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"notes of a visit", "no DICOM file"),
        (part10(mr_slice())[:-5], "truncated"),
        (part10(mr_slice(SOPInstanceUID="")), "missing or empty: SOP Instance UID"),
        (
            head(
                sop_class_uid="1.2.3",
                sop_instance_uid="1.2.3",
                transfer_syntax_uid="1.2.840.10008.1.2.1.99",
                sending="",
                receiving="",
            )
            + b"deflated",
            "deflated",
        ),
        (
            head(
                sop_class_uid="1.2.840.10008.1.3.10",
                sop_instance_uid="1.2.3",
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                sending="",
                receiving="",
            ),
            "DICOMDIR",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason_and_the_rest_goes_on(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path, content: bytes, reason: str
):
    (tmp_path / "1-bad").write_bytes(content)
    (tmp_path / "2-good").write_bytes(part10(mr_slice()))
    counts = import_paths(db, spool, settings, [tmp_path / "1-bad", tmp_path / "2-good"])
    assert counts.kept == 1
    [refused] = counts.refused
    assert (refused.path.name, refused.verdict) == ("1-bad", Verdict.REFUSED)
    assert reason in refused.reason


def test_a_path_that_is_not_there_is_refused(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    [refused] = import_paths(db, spool, settings, [tmp_path / "nothing"]).refused
    assert refused.reason == "No such file or directory"


def test_an_import_stops_while_the_disk_has_no_reserve(db: Database, spool: Spool, tmp_path: Path):
    (tmp_path / "1").write_bytes(part10(mr_slice()))
    full = settings_for(tmp_path / "var", data={"minimum_free_percent": 99.999})
    with pytest.raises(Transient, match="of the disk is free"):
        import_paths(db, spool, full, [tmp_path / "1"])


def test_a_real_study_is_kept_whole(db: Database, spool: Spool, settings: Settings, test_data: Path):
    counts = import_paths(db, spool, settings, [test_data / "dicom" / "brain_tumor_progression_Study1"])
    assert (counts.kept, counts.refused) == (76, ())
    assert len({each.series_instance_uid for each in instances.of_study(db)}) == 3
