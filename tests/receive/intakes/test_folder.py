from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from node.config import Settings
from node.errors import Transient
from node.receive.intakes.folder import ImportedFile, Verdict, import_paths
from node.receive.part10 import head
from node.store import instances, studies
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import STUDY, encoded, mr_slice, part10, settings_for


def media_directory() -> bytes:
    return head(
        sop_class_uid="1.2.840.10008.1.3.10",
        sop_instance_uid="1.2.3",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sending="",
        receiving="",
    )


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
        (media_directory(), "DICOMDIR"),
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


def test_what_is_no_object_is_skipped_in_a_folder_and_refused_when_it_is_named(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path
):
    disc = tmp_path / "disc"
    disc.mkdir()
    (disc / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (disc / "DICOMDIR").write_bytes(media_directory())
    (disc / "VIEWER.EXE").write_bytes(b"MZ" + bytes(300))
    (disc / "empty").touch()
    (disc / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(300))
    (disc / "report.docx").write_bytes(b"PK\x03\x04" + bytes(300))
    (disc / "slice").write_bytes(part10(mr_slice()))
    counts = import_paths(db, spool, settings, [disc])
    assert (counts.kept, counts.refused) == (1, ())
    assert [each.path.name for each in counts.skipped] == [
        *(".DS_Store", "DICOMDIR", "VIEWER.EXE", "empty", "photo.jpg", "report.docx"),
    ]
    named = import_paths(db, spool, settings, sorted(disc.iterdir()))
    assert (named.held, named.skipped) == (1, ())
    assert [each.path.name for each in named.refused] == [each.path.name for each in counts.skipped]


def test_a_pipe_is_not_waited_for(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    (tmp_path / "disc").mkdir()
    os.mkfifo(tmp_path / "disc" / "pipe")
    [refused] = import_paths(db, spool, settings, [tmp_path / "disc"]).refused
    assert refused.reason == "neither a file nor a folder"


def test_a_dry_run_tells_the_same_and_keeps_nothing(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    disc = tmp_path / "disc"
    disc.mkdir()
    for number in (1, 2):
        (disc / f"{number}").write_bytes(part10(mr_slice(number)))
    (disc / "3").write_bytes(part10(mr_slice(3))[:-7])
    (disc / "4").write_bytes(b"letter")
    looked = import_paths(db, spool, settings, [disc], dry_run=True)
    assert (looked.kept, looked.held, len(looked.refused), len(looked.skipped)) == (2, 0, 1, 1)
    assert looked.studies == (STUDY,)
    assert (instances.of_study(db), list(spool.objects())) == ([], [])
    import_paths(db, spool, settings, [disc / "1"])
    again = import_paths(db, spool, settings, [disc], dry_run=True)
    assert (again.kept, again.held, len(again.refused)) == (1, 1, 1)


def test_what_is_taken_in_for_a_peer_is_as_if_it_had_sent_it(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path
):
    (tmp_path / "1").write_bytes(part10(mr_slice()))
    import_paths(db, spool, settings, [tmp_path / "1"], source=settings.peer_named("SCANNER"))
    [held] = instances.of_study(db)
    assert held.source == "SCANNER"
    assert b"SCANNER1" in spool.read(held.path)[:1024]


def test_a_study_taken_in_by_hand_counts_as_asked_for(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    (tmp_path / "1").write_bytes(part10(mr_slice(1, StudyDate="19990101")))
    import_paths(db, spool, settings, [tmp_path / "1"])
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.asked


def test_a_real_study_is_kept_whole(db: Database, spool: Spool, settings: Settings, test_data: Path):
    counts = import_paths(db, spool, settings, [test_data / "dicom" / "brain_tumor_progression_Study1"])
    assert (counts.kept, counts.refused) == (76, ())
    assert len({each.series_instance_uid for each in instances.of_study(db)}) == 3
