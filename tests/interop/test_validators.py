"""Every output from every kind of source, as validators and other people's readers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from node.domain.work import OutcomeState
from node.report.building import fitting_kinds
from node.report.composition import compose, encode
from node.report.evidence import Evidence
from tests.enhanced import MultiFrame, stack_of
from tests.interop.validators import dcentvfy, dciodvfy, dsrdump, pixelmed, read_by_dcmqi
from tests.report.gathered import FLAT, VOLUME, gather
from tests.report.synthetic import AVAILABLE, SCANS, Scan, classified, explained, not_performed, of_study
from tests.report.test_source_kinds import SINGLES, edited, framed, scanned

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


def computed_tomography(_number: int, dataset: Dataset) -> None:
    """Make a slice one of CT."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.Modality, dataset.BodyPartExamined = "CT", "CHEST"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.KVP, dataset.AcquisitionNumber = 120, 1


SOURCES: dict[str, Callable[[Path], list[Path]]] = {
    "axial CT": edited(computed_tomography, Scan(rows=48, columns=40)),
    "oblique MR": scanned(SCANS["oblique"]),
    "enhanced MR": framed(MultiFrame(frames=stack_of(7))),
    "CR": SINGLES["cr"],
    "US": SINGLES["us"],
}
#: What the evidence of a source is turned into, so that every output has something to say.
EVIDENCE: dict[str, Callable[[Evidence], Evidence]] = {
    "segmented": explained,
    "as OHIF reads it": lambda evidence: replace(evidence, profile="ohif"),
    "classified": classified,
    "failed": lambda evidence: not_performed(evidence, OutcomeState.FAILED, "it ran out of memory"),
    "not applicable": lambda evidence: not_performed(evidence, OutcomeState.NOT_APPLICABLE, "no series suits"),
    "of two models": of_study,
    "corrected": lambda evidence: replace(
        evidence, corrections={"PatientID": "T-2", "AccessionNumber": "A-2"}, corrected_by="ARCHIVE"
    ),
    "of a later revision": lambda evidence: replace(evidence, revision=2),
}
CASES = [(source, what) for source in SOURCES for what in EVIDENCE]
#: A JVM takes ten seconds a report: each kind of report is judged once from each kind of evidence.
TEMPLATES = [("axial CT", what) for what in EVIDENCE] + [("enhanced MR", "segmented"), ("CR", "classified")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[list[Path], dict[str, Path]]]:
    """Files of a source, and of every output that it can be written as; each made once."""

    @cache
    def gathered(source: str) -> tuple[list[Path], Evidence]:
        folder = tmp_path_factory.mktemp("source")
        paths = SOURCES[source](folder)
        return paths, gather(folder, paths, FLAT if source in ("CR", "US") else VOLUME).evidence

    @cache
    def written(source: str, what: str) -> tuple[list[Path], dict[str, Path]]:
        paths, evidence = gathered(source)
        evidence = EVIDENCE[what](evidence)
        scope = "study" if evidence.together else "model"
        kinds = [
            kind for kind in fitting_kinds(evidence, sorted(AVAILABLE), AVAILABLE) if AVAILABLE[kind].SCOPE == scope
        ]
        folder = tmp_path_factory.mktemp("outputs")
        for kind, dataset in compose(evidence, kinds, AVAILABLE, {}).items():
            (folder / f"{kind}.dcm").write_bytes(encode(dataset))
        return paths, {path.stem: path for path in sorted(folder.iterdir())}

    return written


@pytest.mark.parametrize(("source", "what"), CASES)
def test_every_object_is_sound_readable_and_of_its_study(
    source: str, what: str, made: Callable[[str, str], tuple[list[Path], dict[str, Path]]], tmp_path: Path
) -> None:
    paths, outputs = made(source, what)
    assert outputs
    found: dict[str, list[str]] = {}
    for kind, path in outputs.items():
        dataset = dcmread(path, stop_before_pixels=True)
        found[kind] = dciodvfy(path) + read_by_dcmqi(dataset, path, tmp_path)
        if dataset.Modality in ("SR", "KO"):
            found[kind] += dsrdump(path)
    assert {kind: said for kind, said in found.items() if said} == {}
    assert what == "corrected" or dcentvfy([*paths, *outputs.values()]) == []


@pytest.mark.parametrize(("source", "what"), TEMPLATES)
def test_every_report_is_as_its_templates_say(
    source: str, what: str, made: Callable[[str, str], tuple[list[Path], dict[str, Path]]]
) -> None:
    _, outputs = made(source, what)
    reports = {
        kind: path for kind, path in outputs.items() if dcmread(path, stop_before_pixels=True).Modality in ("SR", "KO")
    }
    assert {kind: said for kind, path in reports.items() if (said := pixelmed(path))} == {}


def test_all_outputs_are_judged(made: Callable[[str, str], tuple[list[Path], dict[str, Path]]]) -> None:
    judged = {kind for source, what in CASES for kind in made(source, what)[1]}
    assert judged == set(AVAILABLE)
