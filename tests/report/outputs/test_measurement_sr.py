"""The report's number is the Segmentation's, and every tracking UID owns coordinates."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from node.domain.measures import Lesions, Measure, Midline, Quantity, Sided
from node.errors import Failed
from node.imaging import measure
from node.imaging.volume import Volume
from node.report.composition import compose, encode
from node.report.evidence import Evidence, Predecessor
from tests.report.outputs.test_seg import with_two_segments
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, card, classified, evidence_for, evidence_on
from tests.report.test_outputs import errors_of

Series = Callable[[Scan], list[Path]]


def items(dataset: Dataset, name: object, **wanted: object) -> list[Dataset]:
    return list(find_content_items(dataset, name=name, recursive=True, **wanted))


def groups_of(report: Dataset) -> list[Dataset]:
    return items(report, codes.DCM.MeasurementGroup)


def tracking_of(group: Dataset) -> str:
    return str(items(group, codes.DCM.TrackingUniqueIdentifier)[0].UID)


def template_of(group: Dataset) -> str:
    return str(group.ContentTemplateSequence[0].TemplateIdentifier)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_the_volume_is_that_of_the_segmentation(scan: Scan, series: Series, tmp_path: Path) -> None:
    built = compose(evidence_on(series(scan)), ["measurement_sr"], AVAILABLE, {})
    for kind, dataset in built.items():
        (tmp_path / kind).write_bytes(encode(dataset))
    segmentation = highdicom.seg.segread(tmp_path / "seg")
    volume = segmentation.get_volume(combine_segments=True)
    expected_ml = np.count_nonzero(volume.array) * volume.voxel_volume / 1000
    [number] = items(dcmread(tmp_path / "measurement_sr"), codes.SCT.Volume)
    measured = number.MeasuredValueSequence[0]
    assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
    assert float(measured.NumericValue) == pytest.approx(expected_ml, rel=1e-3)


def test_it_can_be_read_as_a_measurement_report(series: Series, tmp_path: Path) -> None:
    evidence = with_two_segments(series(SCANS["oblique"]))
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence, "measurement_sr")))
    report = highdicom.sr.srread(path)
    assert isinstance(report, highdicom.sr.Comprehensive3DSR)
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == len(report.content.get_planar_roi_measurement_groups()) == 2
    for number, group in enumerate(groups, start=1):
        assert group.tracking_uid == evidence.tracking_uid(number)
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == evidence.uid("seg", "instance")
        assert list(reference.referenced_segment_numbers) == [number]


def test_it_names_the_source_series_not_every_image(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    report = build(evidence, "measurement_sr")
    [source] = items(report, codes.DCM.SourceSeriesForSegmentation)
    assert source.UID == evidence.source_series_instance_uid
    assert items(report, codes.DCM.SourceImageForSegmentation) == []


def test_every_tracking_uid_owns_coordinates_and_a_segment(series: Series) -> None:
    evidence = with_two_segments(series(SCANS["axial"]))
    by_tracking: dict[str, set[str]] = {}
    for group in groups_of(build(evidence, "measurement_sr")):
        kinds = {str(item.ValueType) for item in group.ContentSequence}
        by_tracking.setdefault(tracking_of(group), set()).update(kinds)
    assert set(by_tracking) == {evidence.tracking_uid(1), evidence.tracking_uid(2)}
    assert all({"SCOORD", "IMAGE", "NUM"} <= kinds for kinds in by_tracking.values())


def test_the_tracking_uid_is_that_of_the_segment(series: Series) -> None:
    built = compose(evidence_on(series(SCANS["axial"])), ["measurement_sr"], AVAILABLE, {})
    tracked = {tracking_of(group) for group in groups_of(built["measurement_sr"])}
    assert tracked == {built["seg"].SegmentSequence[0].TrackingUID}


@pytest.mark.parametrize("name", ["axial", "oblique", "reversed"])
def test_the_outline_encloses_the_segment_on_its_largest_slice(name: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS[name]))
    report = build(evidence, "measurement_sr")
    [region] = items(report, codes.DCM.ImageRegion)
    assert region.GraphicType == "POLYLINE"
    points = np.array(region.GraphicData).reshape(-1, 2)
    np.testing.assert_array_equal(points[0], points[-1])
    image = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    index = [str(source.SOPInstanceUID) for source in evidence.sources].index(image)
    counts = np.count_nonzero(evidence.mask, axis=(1, 2))
    assert counts[index] == counts.max()
    rows, columns = np.nonzero(evidence.mask[index])
    # Sub-pixel coordinates: the pixel of index i reaches from i to i + 1.
    np.testing.assert_allclose(points.min(axis=0), [columns.min(), rows.min()])
    np.testing.assert_allclose(points.max(axis=0), [columns.max() + 1, rows.max() + 1])
    x, y = points.T
    area = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    assert area == pytest.approx(counts.max() - 0.5)


@pytest.mark.parametrize("present", [True, False, None])
def test_it_says_whether_what_a_segment_shows_counts_as_there(present: bool | None, series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    decided = replace(evidence.findings[0], probability=0.25, present=present, operating_point=0.5)
    report = build(replace(evidence, findings=(decided,)), "measurement_sr")
    said = [item.ConceptCodeSequence[0].CodeMeaning for item in items(report, codes.DCM.PresenceOfProperty)]
    assert said == {True: ["Present"], False: ["Absent"], None: []}[present]
    assert "operating_point=0.5" in {item.TextValue for item in items(report, codes.DCM.AlgorithmParameters)}


@pytest.mark.parametrize("kind", ["measurement_sr", "classification_sr", "basic_text_sr"])
def test_it_says_how_it_was_computed_where_that_was_not_the_plain_way(
    kind: str, series: Series, tmp_path: Path
) -> None:
    note = "The device had too little memory: computed in windows of half the size."
    report = build(replace(evidence_for(kind, series(SCANS["axial"])), notes=(note,)), kind)
    assert f"note={note}" in {item.TextValue for item in items(report, codes.DCM.AlgorithmParameters)}
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(report))
    assert errors_of(path) == []


def test_it_is_preliminary_unverified_and_complete(series: Series) -> None:
    report = build(evidence_on(series(SCANS["axial"])), "measurement_sr")
    flags = (report.PreliminaryFlag, report.VerificationFlag, report.CompletionFlag)
    assert flags == ("PRELIMINARY", "UNVERIFIED", "COMPLETE")


def test_the_observer_is_the_device_and_the_same_in_every_study(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    reports = [build(each, "measurement_sr") for each in (evidence, replace(evidence, content_digest="9" * 64))]
    uids = [items(report, codes.DCM.DeviceObserverUID)[0].UID for report in reports]
    assert uids[0] == uids[1] == evidence.device_uid
    assert items(reports[0], codes.DCM.ObserverType)[0].ConceptCodeSequence[0].CodeValue == "121007"


def test_it_says_procedure_language_and_algorithm(series: Series) -> None:
    report = build(evidence_on(series(SCANS["axial"])), "measurement_sr")
    [procedure] = items(report, codes.DCM.ProcedureReported)
    assert procedure.ConceptCodeSequence[0].CodeValue == "25056-3"
    [language] = items(report, codes.DCM.LanguageOfContentItemAndDescendants)
    assert language.ConceptCodeSequence[0].CodeValue == "en"
    for group in groups_of(report):
        assert items(group, codes.DCM.AlgorithmName)[0].TextValue == "brain-t1"
        parameters = {item.TextValue for item in items(group, codes.DCM.AlgorithmParameters)}
        assert parameters == {"model=" + "1f" * 32, "card=" + "2e" * 32}


def test_every_object_it_rests_on_is_listed_as_evidence(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    report = build(evidence, "measurement_sr")
    listed = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for each in study.ReferencedSeriesSequence
        for instance in each.ReferencedSOPSequence
    }
    assert listed == {str(s.SOPInstanceUID) for s in evidence.sources} | {evidence.uid("seg", "instance")}


def test_a_probability_is_written_where_the_model_gives_one(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    likely = replace(evidence.findings[0], probability=0.75)
    [number] = items(build(replace(evidence, findings=(likely,)), "measurement_sr"), codes.DCM.Probability)
    assert float(number.MeasuredValueSequence[0].NumericValue) == 0.75


def test_findings_without_a_segment_are_refused_with_the_reason(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    elsewhere = replace(evidence.findings[0], segment_number=None, measurements=())
    with pytest.raises(Failed, match="no finding has a segment"):
        build(replace(evidence, findings=(elsewhere,)), "measurement_sr")


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_dsrdump_reads_it(scan: Scan, series: Series, tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("no dsrdump: apt-get install dcmtk")
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence_on(series(scan)), "measurement_sr")))
    dumped = subprocess.run([dsrdump, path], capture_output=True, text=True, errors="replace", timeout=60)
    assert dumped.returncode == 0, dumped.stderr
    assert '"Volume")=' in dumped.stdout


@pytest.mark.parametrize("kind", ["comprehensive_sr", "enhanced_sr"])
def test_another_sop_class_tells_the_same(kind: str, series: Series) -> None:
    evidence = with_two_segments(series(SCANS["oblique"]))
    first, other = build(evidence, "measurement_sr"), build(evidence, kind)
    assert first.ContentSequence == other.ContentSequence
    assert first.SOPClassUID != other.SOPClassUID


@pytest.mark.parametrize("kind", ["measurement_sr", "comprehensive_sr", "enhanced_sr", "classification_sr"])
@pytest.mark.parametrize("profile", ["standard", "ohif"])
def test_every_kind_and_profile_is_conformant(kind: str, profile: str, series: Series, tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence_for(kind, series(SCANS["oblique"]), profile=profile), kind)))
    assert errors_of(path) == []
    dsrdump = shutil.which("dsrdump")
    if dsrdump is not None:
        dumped = subprocess.run([dsrdump, path], capture_output=True, text=True, errors="replace", timeout=60)
        assert dumped.returncode == 0, dumped.stderr


def test_ohif_gets_a_length_that_it_can_take_over(series: Series) -> None:
    evidence = replace(with_two_segments(series(SCANS["anisotropic"])), profile="ohif")
    groups = groups_of(build(evidence, "measurement_sr"))
    assert [template_of(group) for group in groups] == ["1501", "1411", "1501", "1411"]
    for number, (located, measured) in enumerate(zip(groups[::2], groups[1::2], strict=True), start=1):
        assert tracking_of(located) == tracking_of(measured) == evidence.tracking_uid(number)
        names = [str(items(group, codes.DCM.TrackingIdentifier)[0].TextValue) for group in (located, measured)]
        assert names == ["Cornerstone3DTools@^0.1.0:Length", evidence.tracking_identifier(number)]
        [length] = items(located, codes.SCT.Length)
        [axis] = length.ContentSequence
        assert (axis.RelationshipType, axis.ValueType, axis.GraphicType) == ("INFERRED FROM", "SCOORD", "POLYLINE")
        columns, rows = np.array(axis.GraphicData).reshape(2, 2).T
        _, row_mm, column_mm = evidence.lattice.spacing_mm
        drawn_mm = float(np.hypot(np.diff(columns)[0] * column_mm, np.diff(rows)[0] * row_mm))
        written = length.MeasuredValueSequence[0]
        assert float(written.NumericValue) == pytest.approx(drawn_mm, rel=1e-5)
        assert written.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
        image = axis.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        shown = [str(header.SOPInstanceUID) for header in evidence.sources].index(image)
        assert shown == int((evidence.labels == number).sum(axis=(1, 2)).argmax())


def test_on_images_that_lie_nowhere_ohif_gets_an_outline_like_all_others(series: Series) -> None:
    located = evidence_on(series(SCANS["axial"]))
    unmeasured = tuple(replace(each, measurements=()) for each in located.findings)
    flat = replace(located, grid=None, findings=unmeasured, profile="ohif")
    groups = groups_of(build(flat, "measurement_sr"))
    assert [template_of(group) for group in groups] == ["1411", "1410"]
    assert items(groups[1], codes.DCM.ImageRegion)


def test_the_two_profiles_are_two_objects(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    built = [build(replace(evidence, profile=profile), "measurement_sr") for profile in ("standard", "ohif")]
    assert built[0].SOPInstanceUID != built[1].SOPInstanceUID


def test_a_new_revision_names_what_it_replaces_and_says_so(series: Series, tmp_path: Path) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    before = Predecessor(
        kind="comprehensive_sr", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid="2.25.7", series_instance_uid="2.25.8",
    )  # fmt: skip
    report = build(replace(evidence, revision=2, predecessors=(before,)), "measurement_sr")
    [study] = report.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == evidence.study_instance_uid
    [old] = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (old.ReferencedSOPInstanceUID, study.ReferencedSeriesSequence[0].SeriesInstanceUID) == ("2.25.7", "2.25.8")
    assert " rev 2 " in report.SeriesDescription
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(report))
    assert errors_of(path) == []


def test_a_finding_without_a_place_replaces_no_measurement(series: Series) -> None:
    evidence = classified(evidence_on(series(SCANS["axial"])))
    before = Predecessor(kind="measurement_sr", sop_class_uid="1.2", sop_instance_uid="1.3", series_instance_uid="1.4")
    report = build(replace(evidence, predecessors=(before,)), "classification_sr")
    assert "PredecessorDocumentsSequence" not in report


def test_a_product_bears_its_udi(series: Series, tmp_path: Path) -> None:
    udi = "(01)00844588003288(10)A213B1(17)261231"
    evidence = evidence_on(series(SCANS["axial"]), card=replace(card(), udi=udi, content_qualification="PRODUCT"))
    for kind, output in compose(evidence, ["measurement_sr"], AVAILABLE, {}).items():
        [device] = output.UDISequence
        assert device.UniqueDeviceIdentifier == udi
        assert device.DeviceDescription == "Brain extraction, T1 1.0.2"
        path = tmp_path / f"{kind}.dcm"
        path.write_bytes(encode(output))
        assert errors_of(path) == []


def with_lesions(paths: list[Path], sentence: str = "") -> Evidence:
    """Two lesions of one segment, on either side, measured as the card asks."""
    wanted = replace(
        card(),
        measures=(
            Measure(quantity=Quantity.LESION_COUNT, segment_number=1),
            *(
                Measure(quantity=quantity, segment_number=1, per_lesion=True)
                for quantity in (Quantity.VOLUME, Quantity.LONG_AXIS, Quantity.SHORT_AXIS, Quantity.MEAN)
            ),
        ),
        lesions=(Lesions(segment_number=1),),
        sides=(Sided(segment_number=1, midline=Midline.VOLUME),),
    )
    base = evidence_on(paths)
    labels = np.zeros_like(base.labels)
    labels[2:4, 4:8, 3:7] = labels[3:5, 10:16, 12:17] = 1
    volume = Volume(
        labels.astype(np.int16) * 40, base.lattice, tuple(str(each.SOPInstanceUID) for each in base.sources)
    )
    found = measure.measured(wanted, labels, base.lattice, volume, modality="CT").findings
    found = tuple(replace(each, sentence=sentence) for each in found)
    return replace(base, mask=labels, findings=found, card=wanted, tally=None)


def test_each_lesion_has_a_group_with_its_own_outline_numbers_and_side(series: Series, tmp_path: Path) -> None:
    evidence = with_lesions(series(SCANS["axial"]), "One sentence.")
    report = build(evidence, "measurement_sr")
    groups = {tracking_of(each): each for each in groups_of(report) if template_of(each) == "1411"}
    whole, *lesions = (groups[each.tracking_uid or evidence.tracking_uid(1)] for each in evidence.findings)
    assert [len(items(each, codes.DCM.ImageRegion)) for each in (whole, *lesions)] == [0, 2, 2]
    assert items(whole, codes.SCT.NumberOfLesions)[0].MeasuredValueSequence[0].NumericValue == 2
    sides = [items(each, codes.SCT.Laterality)[0].ConceptCodeSequence[0].CodeMeaning for each in lesions]
    assert sides == ["Left", "Right"]
    for group, finding in zip(lesions, evidence.findings[1:], strict=True):
        (long,) = items(group, codes.SCT.LongAxis)
        assert float(long.MeasuredValueSequence[0].NumericValue) == pytest.approx(finding.measurements[1].value)
        (mean,) = items(group, codes.DCM.AttenuationCoefficient)
        assert mean.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
        assert items(mean, codes.DCM.Derivation)[0].ConceptCodeSequence[0].CodeMeaning == "Mean"
    assert {each.TextValue for each in items(report, codes.DCM.Comment)} == {"One sentence."}
    assert build(evidence, "seg").SegmentSequence[0].TrackingUID == evidence.tracking_uid(1)


@pytest.mark.parametrize("kind", ["measurement_sr", "comprehensive_sr", "enhanced_sr", "basic_text_sr"])
@pytest.mark.parametrize("profile", ["standard", "ohif"])
def test_a_report_on_lesions_is_sound(kind: str, profile: str, series: Series, tmp_path: Path) -> None:
    evidence = replace(with_lesions(series(SCANS["oblique"]), "One sentence."), profile=profile)
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    assert errors_of(path) == []
    assert "One sentence." in {item.TextValue for item in items(dcmread(path), codes.DCM.Comment)}


def test_a_lesion_that_the_mask_does_not_show_is_no_lesion(series: Series) -> None:
    evidence = with_lesions(series(SCANS["axial"]))
    beyond = replace(evidence.findings[-1], lesion_number=3)
    with pytest.raises(Failed, match=r"2 lesion\(s\) of segment 1, not 3"):
        build(replace(evidence, findings=(*evidence.findings[:-1], beyond)), "measurement_sr")


def test_a_lesion_cannot_be_larger_than_its_segment(series: Series) -> None:
    evidence = with_lesions(series(SCANS["axial"]))
    volume = replace(evidence.findings[-1].measurements[0], value=1000.0)
    with pytest.raises(Failed, match=r"measured 1000\.000 mL"):
        replace(evidence, findings=(replace(evidence.findings[-1], measurements=(volume,)),))
