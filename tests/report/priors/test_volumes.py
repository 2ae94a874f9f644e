"""Volumes of the segments of a segmentation without report: counted where its images are here, else told why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.commands.prior_lines import lines
from node.domain.prior_document import DocumentState
from node.domain.work import WorkKind
from node.receive.fields import instance_of
from node.report.composition import compose, encode
from node.report.priors.handling import read_back
from node.report.priors.reader import DocumentReader
from node.store import instances, prior_documents, prior_findings, studies, work_items
from node.store.database import Database, open_database
from node.workflow.closing import close_due
from node.workflow.priors_told import priors_told
from tests.fakes import FakeClock, arrive, policy
from tests.foreign_reports import masked, measured, nodule, number, written
from tests.report.synthetic import AVAILABLE, SCANS, Scan, evidence_on, mr_series

POLICY = policy()
UID = "1.2.3.9"
VOLUME = ("118565006", "SCT", "Volume")


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    with closing(DocumentReader()) as made:
        yield made


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(tmp_path / "var", "report")) as database:
        yield database


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def come(db: Database, clock: FakeClock, reader: DocumentReader) -> Callable[..., None]:
    """Let these files come and do what the rooms do as their study closes."""

    def arrived(paths: Sequence[Path], used: DocumentReader = reader, **pixels: int) -> None:
        for path in paths:
            described = instance_of(dcmread(path), issuer="", has_pixels=True)
            if described.plane is not None and described.pixels is not None:
                described = replace(described, pixels=replace(described.pixels, **pixels))
            arrive(db, clock.now(), described)
            row = db.row("SELECT max(id) AS id FROM instance")
            assert row is not None
            with db.transaction():
                instances.move(db, row["id"], str(path))
        with db.transaction():
            studies.request_closing(db, described.study_instance_uid)
        close_due(db, clock.forward(1), POLICY)
        for item in work_items.claim(db, clock.now(), WorkKind.READ_PRIOR, "report:1", 60, limit=9):
            read_back(db, clock, POLICY, used, item)

    return arrived


def images(paths: Sequence[Path]) -> list[Dataset]:
    return [dcmread(each) for each in paths]


def ball(found: Sequence[Dataset], at: int = 3) -> NDArray[np.bool_]:
    """12 pixels on each of three slices."""
    mask = np.zeros((len(found), found[0].Rows, found[0].Columns), bool)
    mask[at - 1 : at + 2, 5:8, 6:10] = True
    return mask


def told(db: Database, study: str) -> list[tuple[str, list[float]]]:
    """What each finding of a segmentation or report is, and its volumes, mL."""
    return [
        (
            row.found.finding.code.meaning,
            [one.value for one in row.found.finding.measurements if one.unit.value == "mL"],
        )
        for row in prior_findings.of_studies(db, [study])
    ]


def reason(db: Database, study: str, uid: str = UID) -> str:
    found = prior_documents.document(db, uid)
    assert found is not None
    assert found.state is DocumentState.READ
    return found.reason


@pytest.mark.parametrize("scan", ["oblique", "anisotropic", "odd pixel bytes"])
@pytest.mark.parametrize("kind", ["seg", "labelmap_seg"])
def test_of_ours_the_volume_is_what_the_model_has_measured(
    db: Database, come: Callable[..., None], tmp_path: Path, kind: str, scan: str
) -> None:
    paths = mr_series(tmp_path / "series", SCANS[scan])
    evidence = evidence_on(paths)
    made = compose(evidence, [kind], AVAILABLE, {})[kind]
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(made))
    come([path, *paths])
    (expected,) = evidence.findings[0].measurements
    (found,) = [each for each in told(db, evidence.study_instance_uid) if each[0] == "Brain"]
    assert found == ("Brain", [pytest.approx(expected.value, rel=1e-6)])
    assert reason(db, evidence.study_instance_uid, str(made.SOPInstanceUID)) == ""


@pytest.mark.parametrize("columns", [20, 19])
def test_of_anothers_it_is_voxels_times_their_size_and_is_printed(
    db: Database, come: Callable[..., None], tmp_path: Path, columns: int
) -> None:
    paths = mr_series(tmp_path / "series", Scan(columns=columns, rows=21, spacing_mm=(2.5, 0.8, 0.8)))
    found = images(paths)
    come([*paths, written(tmp_path, masked(UID, found, ball(found), np.roll(ball(found, 5), 8, axis=2)))])
    study = str(found[0].StudyInstanceUID)
    volume_ml = 36 * 2.5 * 0.8 * 0.8 / 1000
    assert told(db, study) == [
        ("Nodule", [pytest.approx(volume_ml)]),
        ("Pulmonary embolism", [pytest.approx(volume_ml)]),
    ]
    row = studies.study(db, study)
    assert row is not None
    shown = [line for _, line in lines({**priors_told(db, row), "read_again": []})]
    assert "Nodule: Volume 0.0576 mL" in shown


def test_where_its_images_are_not_here_its_header_stands_and_it_is_looked_at_again_when_they_come(
    db: Database, come: Callable[..., None], tmp_path: Path
) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    found = images(paths)
    study = str(found[0].StudyInstanceUID)
    come([written(tmp_path, masked(UID, found, ball(found)))])
    assert told(db, study) == [("Nodule", [])]
    assert reason(db, study).endswith("the images that it was made on are not here")
    come(paths[::2])
    assert told(db, study) == [("Nodule", [])]
    assert reason(db, study).endswith("3 of the images that it was made on are not here")
    come(paths[1::2])
    assert told(db, study) == [("Nodule", [pytest.approx(36 * 3 / 1000)])]
    assert reason(db, study) == ""


def test_missing_slices_that_it_does_not_name_make_no_volume_twice_as_large(
    db: Database, come: Callable[..., None], tmp_path: Path
) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    found = images(paths)
    mask = ball(found)
    mask[1::2] = False
    segmentation = masked(UID, found, mask)
    named = segmentation.ReferencedSeriesSequence[0]
    named.ReferencedInstanceSequence = [named.ReferencedInstanceSequence[place] for place in (2, 4)]
    come([*paths[::2], written(tmp_path, segmentation)])
    assert told(db, str(found[0].StudyInstanceUID)) == [("Nodule", [])]
    assert "its slices lie 3 mm apart, those of the images 6 mm" in reason(db, str(found[0].StudyInstanceUID))


def overlapping(found: list[Dataset]) -> Dataset:
    return masked(UID, found, ball(found), ball(found))


def beside(found: list[Dataset]) -> Dataset:
    made = masked(UID, found, ball(found))
    for groups in made.PerFrameFunctionalGroupsSequence:
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        groups.PlanePositionSequence[0].ImagePositionPatient = [x + 0.5, y, z]
    return made


def of_two_series(found: list[Dataset]) -> Dataset:
    made = masked(UID, found, ball(found))
    other = Dataset()
    other.SeriesInstanceUID = "1.2.3.4"
    made.ReferencedSeriesSequence.append(other)
    return made


def of_no_series(found: list[Dataset]) -> Dataset:
    made = masked(UID, found, ball(found))
    del made.ReferencedSeriesSequence
    return made


def twice_the_number(found: list[Dataset]) -> Dataset:
    made = masked(UID, found, ball(found), np.roll(ball(found, 5), 8, axis=2))
    made.SegmentSequence[1].SegmentNumber = 1
    for groups in made.PerFrameFunctionalGroupsSequence:
        groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    return made


def cut(found: list[Dataset]) -> Dataset:
    made = masked(UID, found, ball(found))
    made.PixelData = made.PixelData[:100]
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (overlapping, "its segments overlap"),
        (beside, "does not lie on the pixels of the images"),
        (of_two_series, "names 2 series"),
        (of_no_series, "names no series"),
        (twice_the_number, "2 segments have the number 1"),
        (cut, "cannot be decoded"),
    ],
)
def test_of_one_that_cannot_be_measured_the_header_is_read_and_the_reason_shown(
    db: Database, come: Callable[..., None], tmp_path: Path, make: Callable[[list[Dataset]], Dataset], words: str
) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    found = images(paths)
    study = str(found[0].StudyInstanceUID)
    come([*paths, written(tmp_path, make(found))])
    assert told(db, study)[0] == ("Nodule", [])
    assert not any(volumes for _, volumes in told(db, study))
    assert words in reason(db, study)
    row = studies.study(db, study)
    assert row is not None
    assert any(words in line for _, line in lines({**priors_told(db, row), "read_again": []}))


def test_one_that_takes_more_memory_than_is_given_costs_its_volumes_and_no_more(
    db: Database, come: Callable[..., None], tmp_path: Path
) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    found = images(paths)
    study = str(found[0].StudyInstanceUID)
    made = masked(UID, found, ball(found))
    made.Rows = made.Columns = 8192
    made.PixelData = bytes(3 * 8192 * 8192 // 8)
    with closing(DocumentReader(memory_bytes=128 << 20)) as small:
        come([*paths, written(tmp_path, made)], small, rows=8192, columns=8192)
    assert told(db, study) == [("Nodule", [])]
    assert "more memory than" in reason(db, study)


@pytest.mark.parametrize("segmentation", [UID, ""], ids=["by its segment", "by its tracking UID"])
@pytest.mark.parametrize("report_uid", ["1.2.3.10", "1.2.3.8"], ids=["after", "before"])
def test_a_volume_that_a_report_tells_is_told_once(
    db: Database, come: Callable[..., None], tmp_path: Path, report_uid: str, segmentation: str
) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    found = images(paths)
    study = str(found[0].StudyInstanceUID)
    group = nodule(segmentation=segmentation, tracking_uid="2.25.5" if segmentation else "2.25.77")
    group.ContentSequence.insert(-1, number(VOLUME, "0.11", "mL"))
    report = measured(report_uid, study, group)
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(report, keyword, found[0].get(keyword))
    documents = [written(tmp_path, masked(UID, found, ball(found))), written(tmp_path, report)]
    come([*paths, *(documents if report_uid > UID else documents[::-1])])
    assert sorted(volumes for _, volumes in told(db, study)) == [[], [0.11]]


def test_the_process_that_reads_loads_no_torch() -> None:
    program = (
        "import sys, node.report.priors.child; print([n for n in ('torch', 'monai', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
