"""The slices that matter, and nothing but them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from node.domain.finding import Segment
from tests.report.synthetic import ANATOMY, AVAILABLE, BRAIN, SCANS, Scan, build, card, classified, evidence_on, finding

Series = Callable[[Scan], list[Path]]
KIND = "key_objects"


def test_it_selects_the_largest_slice_of_each_segment(series: Series) -> None:
    base = evidence_on(series(SCANS["axial"]))
    mask = np.zeros_like(base.labels)
    mask[1, 3:5, 3:5] = 1
    mask[2, 3:9, 3:9] = 1
    mask[4, 10:12, 10:12] = 2
    mask[5, 10:13, 10:13] = 2
    segments = [Segment(number=n, label=f"Part {n}", category=ANATOMY, type=BRAIN) for n in (1, 2, 3)]
    found = tuple(finding(mask, base.lattice, n) for n in (1, 2))
    evidence = replace(base, card=card(*segments), mask=mask, findings=found, tally=None)
    selection = build(evidence, KIND)
    items = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items]
    assert named == [evidence.slices[index].header.SOPInstanceUID for index in (2, 5)]
    (study,) = selection.CurrentRequestedProcedureEvidenceSequence
    listed = [item.ReferencedSOPInstanceUID for item in study.ReferencedSeriesSequence[0].ReferencedSOPSequence]
    assert sorted(listed) == sorted(named)


def test_what_is_selected_has_no_purpose(series: Series) -> None:
    # PS3.16 TID 2010 has no concept name on what is selected; highdicom writes one.
    selection = build(evidence_on(series(SCANS["axial"])), KIND)
    for item in selection.ContentSequence:
        assert ("ConceptNameCodeSequence" in item) == (item.ValueType != "IMAGE")


def test_its_title_and_its_words_say_of_what_and_how_far(series: Series) -> None:
    selection = build(evidence_on(series(SCANS["axial"])), KIND)
    title = selection.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113000", "DCM")
    (text,) = [
        i.TextValue for i in selection.ContentSequence[:-1] if i.ConceptNameCodeSequence[0].CodeValue == "113012"
    ]
    assert text == "RESEARCH - not for diagnosis. Brain extraction, T1"


def test_of_a_stack_in_which_no_slice_stands_out_nothing_is_selected(series: Series) -> None:
    assert AVAILABLE[KIND].unfit(classified(evidence_on(series(SCANS["axial"])))) == "no slice stands out"


def test_an_image_that_stands_alone_is_selected_by_itself(series: Series) -> None:
    evidence = classified(evidence_on(series(SCANS["axial"])))
    evidence = replace(evidence, sources=evidence.sources[:1], paths=evidence.paths[:1])
    (item,) = [item for item in build(evidence, KIND).ContentSequence if item.ValueType == "IMAGE"]
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == evidence.source.SOPInstanceUID
