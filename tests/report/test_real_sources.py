"""Odd objects that others have collected: each ends in objects or in a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from node.errors import Refused, Unsuitable
from node.receive.header import walk_file
from node.receive.part10 import LONGEST_HEAD, read_meta
from node.report.composition import compose, encode
from tests.report.gathered import FLAT, VOLUME, gather
from tests.report.synthetic import AVAILABLE

KINDS = ("measurement_sr", "seg")
#: What a model of volumes can read: two frames of an Enhanced CT.
VOLUMES = {"eCT_Supplemental.dcm"}


def refused(path: Path) -> str:
    """Why the door does not let it in; empty where it does."""
    with path.open("rb") as file:
        try:
            meta = read_meta(file.read(LONGEST_HEAD))
            syntax = meta.transfer_syntax_uid or ExplicitVRLittleEndian
            walk_file(file.fileno(), meta.dataset_offset, syntax, inflated_maximum_bytes=1 << 26)
        except Refused as refusal:
            return refusal.reason
    return ""


def what_becomes_of(path: Path, folder: Path) -> str:
    """The kinds that were written, or the reason why none was."""
    reason = refused(path)
    if reason:
        return reason
    written = []
    for card in (VOLUME, FLAT):
        below = folder / ("volume" if card is VOLUME else "flat")
        below.mkdir(parents=True)
        try:
            found = gather(below, [path], card)
        except Unsuitable as unsuitable:
            written.append(str(unsuitable))
            continue
        fitting = [kind for kind in KINDS if not AVAILABLE[kind].unfit(found.evidence)]
        built = compose(found.evidence, fitting, AVAILABLE, {})
        assert all(encode(dataset) for dataset in built.values())
        assert all(dataset.PatientID == found.evidence.source.PatientID for dataset in built.values())
        written.append(f"{'volume' if card is VOLUME else 'image'}: {', '.join(sorted(built))}")
    assert all(written)
    return "; ".join(written)


@pytest.mark.filterwarnings("ignore")  # of pydicom, which tells what is odd in them
def test_every_odd_object_ends_in_objects_or_in_a_reason(test_data: Path, tmp_path: Path) -> None:
    paths = sorted((test_data / "dicom" / "pydicom-data").glob("*.dcm"))
    assert len(paths) > 70
    told = {path.name: what_becomes_of(path, tmp_path / path.name) for path in paths}
    assert {name for name, what in told.items() if "volume: measurement_sr, seg" in what} == VOLUMES
    images = {name for name, what in told.items() if "image: measurement_sr, seg" in what}
    assert {"RG1_J2KI.dcm", "US1_UNCI.dcm", "emri_small.dcm", "MR2_J2KR.dcm", "SC_rgb.dcm"} <= images
    assert all("no images in this series" in told[name].lower() for name in told if name.startswith("liver"))
    assert not {name for name, what in told.items() if "object has no attribute" in what}
