"""From readers' feedback to a data set: nobody is told from it, and no label lies on another's images."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import Dataset, dcmread

from node.domain.feedback import Verdict
from node.errors import Failed
from node.learn.deidentify.burned_in import flagged
from node.learn.deidentify.choosing import Chosen, LeftOut, choose
from node.learn.deidentify.collecting import Collected, Wish, collect, look
from node.learn.deidentify.identities import Sought
from node.learn.deidentify.leaks import identities, identity_of, leaks
from node.learn.deidentify.lettering import text_boxes
from node.learn.deidentify.profile import Options
from node.learn.deidentify.pseudonyms import Pseudonyms
from node.learn.deidentify.sheet import sheet
from node.report.priors.reader import DocumentReader
from node.store.database import Database, open_database
from node.store.pseudonym_key import pseudonym_key
from node.store.spool import Spool
from node.workflow.feedback import give
from tests.corrections import MODEL, Room
from tests.fakes import FakeClock

PSEUDONYMS = Pseudonyms(bytes(range(32)))


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    with closing(DocumentReader()) as made:
        yield made


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "var", "test")) as database:
        yield database


@pytest.fixture
def room(db: Database, tmp_path: Path, reader: DocumentReader) -> Room:
    return Room(db, FakeClock(), tmp_path / "files", reader)


def wish(room: Room, target: Path, *named: str, word: str = "") -> Wish:
    return Wish(
        chosen=[each for each in choose(room.db, named=named) if isinstance(each, Chosen)],
        target=target,
        options=Options(),
        word=word,
        identity_of=lambda uid: identity_of(room.db, uid),
        everybody=Sought(identities(room.db)),
    )


def collected(room: Room, target: Path, *named: str, word: str = "") -> Collected:
    return collect(Spool(room.db.folder), wish(room, target, *named, word=word), PSEUDONYMS)


def written(target: Path) -> list[Dataset]:
    return [dcmread(file) for file in sorted(target.rglob("*.dcm"))]


def test_a_correction_comes_out_with_its_images_and_without_the_patient(room: Room, tmp_path: Path) -> None:
    images = room.series(PatientName="Nepomuk^Erika", SeriesDescription="T1 Nepomuk", ImageComments="Erika")
    room.correction(images)
    target = tmp_path / "set"
    found = collected(room, target)
    assert (found.images, found.segmentations, found.left_out) == (7, 1, [])
    (mask,) = [each for each in written(target) if each.Modality == "SEG"]
    shown = {str(each.SOPInstanceUID) for each in written(target) if each.Modality == "MR"}
    named = {str(each.ReferencedSOPInstanceUID) for each in mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == shown
    assert {each.PatientID for each in written(target)} == {PSEUDONYMS.patient("T-1", "A")}
    assert {each.FrameOfReferenceUID for each in written(target)} == {mask.FrameOfReferenceUID}
    assert leaks(target, Sought(identities(room.db), strict=True)) == []
    assert leaks(tmp_path / "files", Sought(identities(room.db))) != []


def test_what_was_accepted_rejected_or_never_judged(room: Room, tmp_path: Path) -> None:
    study = str(room.series()[0].StudyInstanceUID)
    assert list(choose(room.db)) == []
    assert collected(room, tmp_path / "plain", study).images == 7
    give(room.db, room.clock.now(), lambda: room.policy, study, model=MODEL, verdict=Verdict.REJECT, by="maria")
    (left,) = choose(room.db)
    assert isinstance(left, LeftOut)
    assert "nobody has said what is right" in left.reason
    assert list(choose(room.db, model="another")) == []
    assert list(choose(room.db, since="2026-01-03")) == []
    room.db.execute("UPDATE feedback SET label = 'benign'")
    found = collected(room, tmp_path / "labelled")
    ((series, label),) = found.labels.items()
    assert label == "benign"
    told = (tmp_path / "labelled" / "labels.csv").read_text().splitlines()
    assert told == ["series_instance_uid,label", f"{series},benign"]
    assert {str(each.SeriesInstanceUID) for each in written(tmp_path / "labelled")} == {series}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: setattr(image, "PatientID", "X-2"), "another patient"),
        (lambda image: setattr(image, "StudyInstanceUID", "1.2.99"), "another object"),
        (lambda image: setattr(image, "SOPInstanceUID", "1.2.98"), "another object"),
    ],
)
def test_a_file_that_is_not_what_was_indexed_is_left_out(
    room: Room, tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    study = str(room.series()[0].StudyInstanceUID)
    first = next((tmp_path / "files").rglob("*.dcm"))
    image = dcmread(first)
    change(image)
    image.save_as(first)
    found = collected(room, tmp_path / "set", study)
    assert [reason in each.reason for each in found.left_out] == [True]
    assert written(tmp_path / "set") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: setattr(mask, "FrameOfReferenceUID", "1.2.97"),
        lambda mask: setattr(mask, "StudyInstanceUID", "1.2.97"),
        lambda mask: setattr(mask, "PatientID", "X-2"),
        lambda mask: setattr(
            mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0], "ReferencedSOPInstanceUID", "1.2.96"
        ),
    ],
)
def test_a_segmentation_of_something_else_never_becomes_a_label(
    room: Room, tmp_path: Path, change: Callable[[Dataset], None]
) -> None:
    mask = room.correction(room.series())
    change(mask)
    path = tmp_path / "files" / "1.2.3.9.dcm"
    mask.save_as(path, enforce_file_format=True)
    found = collected(room, tmp_path / "set")
    assert len(found.left_out) == 1
    assert written(tmp_path / "set") == []


def test_a_text_where_no_profile_looks_keeps_the_study_out(room: Room, tmp_path: Path) -> None:
    study = str(room.series(PatientName="Nepomuk^Erika")[0].StudyInstanceUID)
    first = next((tmp_path / "files").rglob("*.dcm"))
    image = dcmread(first)
    # Between the entries of a lookup table nobody looks.
    image.ICCProfile = b"Nepomuk^Erika"
    image.RedPaletteColorLookupTableData = b"Nepomuk^Erika "
    image.save_as(first)
    found = collected(room, tmp_path / "set", study)
    assert len(found.left_out) == 1
    assert "where no profile looks" in found.left_out[0].reason
    assert written(tmp_path / "set") == []


def test_a_screen_is_held_back_until_somebody_has_looked(room: Room, tmp_path: Path) -> None:
    study = str(room.series(BurnedInAnnotation="YES")[0].StudyInstanceUID)
    found = collected(room, tmp_path / "set", study)
    assert (found.images, len(found.held_back), len(found.word)) == (0, 1, 6)
    assert written(tmp_path / "set") == []
    drawn = sheet([("1", found.held_back[0][2])], found.word)
    assert drawn.startswith(b"\x89PNG")
    assert leaks_of(drawn, room) == set()
    with pytest.raises(Failed, match="look at the sheet"):
        collected(room, tmp_path / "guessed", study, word="aaaaaa")
    assert not (tmp_path / "guessed").exists()
    assert collected(room, tmp_path / "looked", study, word=found.word).images == 7
    assert look(Spool(room.db.folder), wish(room, tmp_path / "x", study), PSEUDONYMS).word == found.word


def leaks_of(content: bytes, room: Room) -> set[str]:
    from node.learn.deidentify.leaks import kinds_in

    return {kind.value for kind in kinds_in(content, Sought(identities(room.db)))}


def test_a_folder_that_is_there_is_not_written_into(room: Room, tmp_path: Path) -> None:
    study = str(room.series()[0].StudyInstanceUID)
    with pytest.raises(Failed, match="new folder"):
        collected(room, tmp_path, study)


def lettered(text: str, shade: int = 255) -> np.ndarray:
    noise = np.random.default_rng(0).normal(60, 10, (160, 200)).clip(0, 255).astype(np.uint8)
    drawn = Image.fromarray(noise)
    ImageDraw.Draw(drawn).text((10, 10), text, fill=shade, font_size=16)
    return np.asarray(drawn, np.float32) / 255


def test_letters_are_seen_and_noise_is_none() -> None:
    assert text_boxes(lettered("NEPOMUK, ERIKA"))
    assert text_boxes(lettered("")) == []
    assert text_boxes(np.zeros((8, 8), np.float32)) == []


@pytest.mark.parametrize(
    ("header", "is_flagged"),
    [
        ({}, False),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
        ({"ConversionType": "WSD"}, True),
        ({"BurnedInAnnotation": "NO"}, False),
        ({"PixelData": b"\0"}, True),
    ],
)
def test_what_a_header_says_of_burned_in_text(room: Room, header: dict[str, object], is_flagged: bool) -> None:
    (image, *_) = room.series()
    for keyword, value in header.items():
        setattr(image, keyword, value)
    assert (flagged([image]) is not None) is is_flagged


def test_the_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    key = pseudonym_key(tmp_path)
    assert pseudonym_key(tmp_path) == key
    (file,) = (tmp_path / "learning").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
