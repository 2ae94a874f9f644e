"""What is drawn can be built from each kind of source: oblique stacks, frames of one image, projections, colour."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, UltrasoundImageStorage

from node.domain.finding import Finding
from node.errors import Failed
from node.imaging import saliency
from node.report import gathering
from node.report.composition import encode
from node.report.evidence import Evidence
from node.store import artifacts, findings, outcomes
from node.store.database import open_database
from tests.enhanced import enhanced_ct, legacy_mr, write
from tests.fakes import BRAIN, FakeClock, model, policy
from tests.report.gathered import FLAT, gather
from tests.report.synthetic import (
    AVAILABLE,
    Scan,
    build,
    evidence_on,
    explained,
    fitting_kinds,
    mr_series,
    not_performed,
)
from tests.report.test_outputs import errors_of

DRAWN = (*("encapsulated_pdf", "key_objects", "parametric_map", "presentation_state", "rtstruct", "secondary_capture"),)
#: What asks for a place in space.
PLACED = {"parametric_map", "rtstruct"}


def ct(folder: Path) -> Evidence:
    header = {"SOPClassUID": CTImageStorage, "Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    window = {"WindowCenter": [40, 600], "WindowWidth": [400, 1500], "BodyPartExamined": "HEAD"}
    return explained(evidence_on(mr_series(folder, Scan(header=header | window, slices=5))))


def projection(folder: Path, sop_class_uid: str, modality: str) -> Evidence:
    (path,) = mr_series(folder, Scan(slices=1))
    image = dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class_uid
    image.Modality = modality
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        del image[keyword]
    image.PhotometricInterpretation = "MONOCHROME1"
    image.ImagerPixelSpacing = [0.2, 0.1]
    image.PatientOrientation = ["L", "F"]
    image.save_as(path, enforce_file_format=True)
    return gather(folder, [path], FLAT).evidence


@pytest.fixture(scope="module")
def evidences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evidence]:
    folder = tmp_path_factory.mktemp("pictures")
    found = {
        "CT": ct(folder / "ct"),
        "CR": projection(folder / "cr", ComputedRadiographyImageStorage, "CR"),
        "US": projection(folder / "us", UltrasoundImageStorage, "US"),
    }
    for name, made in {"enhanced CT": enhanced_ct(), "legacy MR": legacy_mr()}.items():
        place = folder / name
        place.mkdir()
        found[name] = explained(gather(place, [write(place / "image.dcm", made)]).evidence)
    return found


@pytest.mark.parametrize("source", ["CT", "CR", "US", "enhanced CT", "legacy MR"])
@pytest.mark.parametrize("kind", DRAWN)
def test_dciodvfy_finds_no_error(kind: str, source: str, evidences: dict[str, Evidence], tmp_path: Path) -> None:
    evidence = evidences[source]
    fits = bool(fitting_kinds(evidence, [kind], AVAILABLE))
    assert fits == (source not in {"CR", "US"} or kind not in PLACED)
    if fits:
        path = tmp_path / "output.dcm"
        path.write_bytes(encode(build(evidence, kind)))
        assert errors_of(path) == []


def frames_named(dataset: Dataset) -> set[int]:
    found = [each.value for each in dataset.iterall() if each.keyword == "ReferencedFrameNumber"]
    return {int(number) for value in found for number in np.atleast_1d(value)}


@pytest.mark.parametrize(
    "kind", ["key_objects", "parametric_map", "presentation_state", "rtstruct", "secondary_capture"]
)
def test_frames_are_named_as_the_mask_has_them(kind: str, evidences: dict[str, Evidence]) -> None:
    evidence = evidences["enhanced CT"]
    held = {each.frame_number for each, plane in zip(evidence.slices, evidence.labels, strict=True) if plane.any()}
    named = frames_named(build(evidence, kind))
    assert named
    assert named <= {each.frame_number for each in evidence.slices}
    if kind == "presentation_state":
        assert named == held


def test_the_shape_of_a_projection_is_that_of_its_detector(evidences: dict[str, Evidence]) -> None:
    (area,) = build(evidences["CR"], "presentation_state").DisplayedAreaSelectionSequence
    assert area.PresentationPixelAspectRatio == [2000, 1000]


def test_nothing_is_drawn_of_a_model_that_did_not_read(evidences: dict[str, Evidence]) -> None:
    evidence = not_performed(evidences["CT"])
    assert fitting_kinds(evidence, DRAWN, AVAILABLE) == []


def test_another_window_or_file_changes_no_uid(evidences: dict[str, Evidence]) -> None:
    evidence = evidences["CT"]
    assert replace(evidence, paths=()).uid("secondary_capture", "instance") == evidence.uid(
        "secondary_capture", "instance"
    )


def test_saliency_is_gathered_with_the_mask_that_it_belongs_to(tmp_path: Path) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    evidence = gather(tmp_path, paths).evidence
    weights = np.full(evidence.labels.shape, 0.25, np.float32)
    uids = tuple(str(each.header.SOPInstanceUID) for each in evidence.slices)
    with closing(open_database(tmp_path / "var", "report")) as db:
        outcome = outcomes.outcome(db, 1)
        assert outcome is not None
        for named, place in ((uids, "saliency.npz"), (uids[::-1], "other.npz")):
            (db.folder / place).write_bytes(saliency.to_bytes(saliency.Saliency(weights, evidence.lattice, named)))
        clock = FakeClock()
        artifacts.record(db, clock.now(), outcome_id=1, kind=saliency.KIND, path="saliency.npz", size=1, digest="")
        found = gathering.gather(db, policy(model()), outcome)
        assert found.saliency is not None
        np.testing.assert_array_equal(found.saliency, weights)
        alone = saliency.Saliency(weights[2:3], None, uids[2:3])
        (db.folder / "alone.npz").write_bytes(saliency.to_bytes(alone))
        db.execute("UPDATE artifact SET path = 'alone.npz' WHERE kind = 'saliency'")
        spread = gathering.gather(db, policy(model()), outcome).saliency
        assert spread is not None
        np.testing.assert_array_equal(spread[2], weights[2])
        assert spread.sum() == weights[2].sum()
        db.execute("UPDATE artifact SET path = 'other.npz' WHERE kind = 'saliency'")
        with pytest.raises(Failed, match="not of the same slices"):
            gathering.gather(db, policy(model()), outcome)


def test_without_a_mask_a_map_in_space_is_gathered_and_drawn(tmp_path: Path) -> None:
    paths = mr_series(tmp_path / "series", Scan())
    evidence = gather(tmp_path, paths).evidence
    weights = np.full(evidence.labels.shape, 0.25, np.float32)
    weights[3] = 1
    uids = tuple(str(each.header.SOPInstanceUID) for each in evidence.slices)
    with closing(open_database(tmp_path / "var", "report")) as db:
        outcome = outcomes.outcome(db, 1)
        assert outcome is not None
        db.execute("DELETE FROM artifact")
        db.execute("DELETE FROM finding")
        findings.record(db, 1, [Finding(code=BRAIN, present=True)])
        (db.folder / "saliency.npz").write_bytes(saliency.to_bytes(saliency.Saliency(weights, evidence.lattice, uids)))
        artifacts.record(
            db,
            FakeClock().now(),
            outcome_id=1,
            kind=saliency.KIND,
            profile="grad-cam/brain",
            path="saliency.npz",
            size=1,
            digest="",
        )
        found = gathering.gather(db, policy(model()), outcome)
        assert (found.mask, found.grid) == (None, evidence.grid)
        assert found.saliency is not None
        np.testing.assert_array_equal(found.saliency, weights)
        assert {"parametric_map", "secondary_capture"} <= set(fitting_kinds(found, DRAWN, AVAILABLE))
        assert len(build(found, "parametric_map").PerFrameFunctionalGroupsSequence) == len(weights)
        assert build(found, "secondary_capture").Rows > 0
        # The image alone, without place: drawn, but no map in space.
        alone = saliency.Saliency(weights[3:4], None, uids[3:4])
        (db.folder / "saliency.npz").write_bytes(saliency.to_bytes(alone))
        flat = gathering.gather(db, policy(model()), outcome)
        assert flat.saliency is not None
        assert [str(each.SOPInstanceUID) for each in flat.sources].index(uids[3]) == int(
            flat.saliency.sum((1, 2)).argmax()
        )
        assert "parametric_map" not in fitting_kinds(flat, DRAWN, AVAILABLE)
