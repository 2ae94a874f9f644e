"""What readers say of results is kept; a Segmentation corrects the result it was drawn on, and never another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import Dataset

from node.domain.feedback import Verdict
from node.errors import Failed
from node.report.priors.reader import DocumentReader
from node.store import events, feedback
from node.store.database import Database
from node.workflow import prior_reading
from node.workflow.feedback import counting, feedback_told, give
from tests.corrections import EMBOLISM, MODEL, UID, Room
from tests.fakes import FakeClock
from tests.foreign_reports import code


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    with closing(DocumentReader()) as made:
        yield made


@pytest.fixture
def room(db: Database, clock: FakeClock, tmp_path: Path, reader: DocumentReader) -> Room:
    return Room(db, clock, tmp_path / "files", reader)


def verdicts(room: Room, study: str) -> list[tuple[str, str, bool]]:
    return [(each["verdict"], each["given_by"], each["stands"]) for each in feedback_told(room.db, study)]


def test_what_a_reader_says_is_kept_with_a_name_and_the_last_word_counts(room: Room) -> None:
    study = str(room.series()[0].StudyInstanceUID)
    for verdict in (Verdict.ACCEPT, Verdict.REJECT):
        give(
            room.db,
            room.clock.now(),
            lambda: room.policy,
            study,
            model=MODEL,
            verdict=verdict,
            by="maria",
            because="a\nb",
        )
    (first, last) = feedback.of_study(room.db, study)
    assert (first.verdict, last.verdict, last.because) == (Verdict.ACCEPT, Verdict.REJECT, "a b")
    assert counting(room.db, last.outcome_id, study) == last
    told = [each for each in events.of_study(room.db, study) if each.about == "feedback"]
    assert [(each.after, each.reason) for each in told] == [("accept", "by maria"), ("reject", "by maria")]


def test_of_what_is_not_there_nothing_can_be_said(room: Room) -> None:
    study = str(room.series()[0].StudyInstanceUID)

    def said(study: str = study, model: str = MODEL, **more: str) -> None:
        give(
            room.db,
            room.clock.now(),
            lambda: room.policy,
            study,
            model=model,
            verdict=Verdict.REJECT,
            by="maria",
            **more,
        )

    with pytest.raises(Failed, match=r"no study 9\.9"):
        said("9.9")
    with pytest.raises(Failed, match="there are results of nodules"):
        said(model="another")
    with pytest.raises(Failed, match="tells none apart"):
        said(label="benign")
    with room.db.transaction():
        room.db.execute("UPDATE study SET state = 'held'")
    with pytest.raises(Failed, match="held"):
        said()
    assert feedback_told(room.db, study) == []


def test_a_segmentation_that_a_reader_drew_on_our_images_is_their_correction(room: Room) -> None:
    images = room.series()
    room.correction(images)
    study = str(images[0].StudyInstanceUID)
    assert verdicts(room, study) == [("corrected", "SCANNER", True)]
    (row,) = feedback.of_study(room.db, study)
    assert (row.sop_instance_uid, row.model) == (UID, MODEL)


def another_study(made: Dataset) -> None:
    made.StudyInstanceUID = "1.2.3.77"


def another_patient(made: Dataset) -> None:
    made.PatientID = "SOMEBODY-ELSE"


def another_issuer(made: Dataset) -> None:
    made.IssuerOfPatientID = "B"


def no_issuer(made: Dataset) -> None:
    del made.IssuerOfPatientID


def another_birth_date(made: Dataset) -> None:
    made.PatientBirthDate = "19010101"


def another_name(made: Dataset) -> None:
    made.PatientName = "Other^Person"


def another_frame(made: Dataset) -> None:
    made.FrameOfReferenceUID = "1.2.3.78"


def no_frame(made: Dataset) -> None:
    del made.FrameOfReferenceUID


def another_image(made: Dataset) -> None:
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = "1.2.3.79"


def an_image_of_a_frame(made: Dataset) -> None:
    source, derivation = Dataset(), Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.80"
    derivation.SourceImageSequence = [source]
    made.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence = [derivation]


def no_images(made: Dataset) -> None:
    del made.ReferencedSeriesSequence


def another_thing(made: Dataset) -> None:
    made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code(("10200004", "SCT", "Liver"))]


def no_type(made: Dataset) -> None:
    del made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence


def by_an_algorithm(made: Dataset) -> None:
    made.SegmentSequence[0].SegmentAlgorithmType = "AUTOMATIC"


def elsewhere(made: Dataset) -> None:
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient = [500.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "change",
    [
        *(another_study, another_patient, another_issuer, no_issuer, another_birth_date, another_name),
        *(another_frame, no_frame, another_image, an_image_of_a_frame, no_images),
        *(another_thing, no_type, by_an_algorithm, elsewhere),
    ],
)
def test_one_that_does_not_agree_in_everything_corrects_nothing(room: Room, change: Callable[[Dataset], None]) -> None:
    images = room.series()
    room.correction(images, change)
    assert list(room.db.rows("SELECT * FROM feedback")) == []


def test_one_on_another_series_of_the_study_corrects_nothing_of_ours(room: Room) -> None:
    images = room.series()
    other = room.series(name="other")
    (read,) = {row["series_instance_uid"] for row in room.db.rows("SELECT * FROM outcome WHERE state = 'result'")}
    drawn_on = other if read == images[0].SeriesInstanceUID else images
    room.correction(drawn_on)
    assert list(room.db.rows("SELECT * FROM feedback")) == []


def test_a_correction_that_is_taken_out_of_use_corrects_no_more(room: Room) -> None:
    images = room.series()
    room.correction(images)
    study = str(images[0].StudyInstanceUID)
    (held,) = room.db.rows("SELECT id FROM instance WHERE sop_instance_uid = ?", (UID,))
    with room.db.transaction():
        room.db.execute("UPDATE instance SET rejected = '113001' WHERE id = ?", (held["id"],))
        prior_reading.ask_again(room.db, room.clock.now(), [held["id"]])
    room.work()
    assert verdicts(room, study) == [("corrected", "SCANNER", False)]
    (row,) = feedback.of_study(room.db, study)
    assert counting(room.db, row.outcome_id, study) is None


def test_the_words_in_which_a_finding_of_several_types_is_drawn_are_all_known(room: Room) -> None:
    images = room.series()

    def as_embolism(made: Dataset) -> None:
        made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [
            code((EMBOLISM.value, EMBOLISM.scheme, EMBOLISM.meaning))
        ]

    room.correction(images, as_embolism)
    assert verdicts(room, str(images[0].StudyInstanceUID)) == [("corrected", "SCANNER", True)]
