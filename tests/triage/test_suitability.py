"""Which series suits a model, and what is said of the others."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.catalogue.cards import read_card
from node.domain.colour import Colour
from node.domain.finding import Code, Segment
from node.domain.model_card import Condition, ModelCard, Preference, Weights
from node.domain.patient import Patient
from node.domain.study import Instance, Pixels, Plane, Series
from node.triage.suitability import Verdict, choose, judge

#: A slow machine is no failure.
bounded = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[2]
MR, CT, SR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33"
CODE = Code("1", "99T", "Thing")
CARD = ModelCard(
    name="head",
    version="1",
    title="Head",
    purpose="p",
    intended_use="i",
    licence="l",
    citation="c",
    manufacturer="m",
    pipeline="p",
    weights=(Weights(role="main", source="file:x"),),
    requires=(
        Condition(field="modality", one_of=("MR",), because="{value} is not MR", when_missing="refuse"),
        Condition(field="scanning_sequence", none_of=("IR",), because="FLAIR, not T1-weighted"),
        Condition(field="series_description", matches_not="flair|t2", because="FLAIR, not T1-weighted"),
        Condition(field="image_type", none_of=("LOCALIZER",)),
        Condition(field="echo_time_ms", at_most=30),
        Condition(field="extent_mm", at_least=100, because="only {value} across: not a whole head"),
        Condition(field="slice_count", at_least=10),
        Condition(field="pixels.samples_per_pixel", at_most=1),
    ),
    prefers=(Preference(field="mr_acquisition_type", one_of=("3D",), points=2.0),),
    procedure=CODE,
    segments=(Segment(number=1, label="s", category=CODE, type=CODE),),
)


def instance(number: int, uid: str = "1.1", **changed) -> Instance:
    made = Instance(
        study_instance_uid="1",
        series_instance_uid=uid,
        sop_instance_uid=f"{uid}.{number + 1}",
        sop_class_uid=MR,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        patient=Patient(patient_id="P1", issuer="H"),
        modality="MR",
        series_description="t1 mprage",
        image_type=("ORIGINAL", "PRIMARY"),
        echo_time_ms=3.0,
        plane=Plane(position=(0.0, 0.0, 5.0 * number), orientation=(1, 0, 0, 0, 1, 0), spacing=(1.0, 1.0)),
        pixels=Pixels(rows=256, columns=192),
    )
    return replace(made, **changed)


def series(uid: str = "1.1", count: int = 24, **changed) -> Series:
    return Series(series_instance_uid=uid, instances=tuple(instance(number, uid, **changed) for number in range(count)))


def swapped(found: Series, number: int, **changed) -> Series:
    instances = list(found.instances)
    instances[number] = replace(instances[number], **changed)
    return replace(found, instances=tuple(instances))


def test_a_fitting_series_suits() -> None:
    assert judge(series(), CARD) == Verdict(
        series_instance_uid="1.1", suits=True, reason="Suits head: 24 slices, 5 mm apart", points=0.0, slice_count=24
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (series(modality="CT"), "CT is not MR"),
        (series(modality=""), "Modality is not given"),
        (series(scanning_sequence=("SE", "IR")), "FLAIR, not T1-weighted"),
        (series(series_description="AX_FLAIR"), "FLAIR, not T1-weighted"),
        (series(echo_time_ms=90.0), "Echo time is 90 ms, more than 30 ms"),
        (series(image_type=("ORIGINAL", "PRIMARY", "localizer")), "Image type is ORIGINAL\\PRIMARY\\localizer, which"),
        (series(count=12), "Only 60 mm across: not a whole head"),
        (series(count=1), "1 slice(s) with a position: no volume"),
        (series(pixels=None), "24 of 24 instances have no pixel data"),
        (series(plane=None), "24 of 24 images do not say where they lie"),
        (series(pixels=Pixels(rows=256, columns=192, samples_per_pixel=3)), "Samples per pixel is 3, more than 1"),
        (series(pixels=Pixels(rows=256, columns=192, number_of_frames=8)), "multi-frame object (8 frames)"),
        (series(pixels=Pixels(rows=256, columns=192, undecodable="no decoder for X")), "no decoder for X"),
        (series(sop_class_uid=SR, modality="SR"), "No images in this series (SR)"),
        (swapped(series(), 3, patient=Patient(patient_id="P2")), "different patients in one series"),
        (swapped(series(), 3, pixels=Pixels(rows=128, columns=128)), "sizes in one series (128 × 128, 256 × 192)"),
        (swapped(series(), 3, echo_time_ms=20.0), "several echo times in one series (3 ms, 20 ms)"),
        (swapped(series(), 3, image_type=("DERIVED", "PRIMARY")), "several image types in one series"),
        (swapped(series(), 3, plane=replace(instance(3).plane, position=(0.0, 0.0, 5.0))), "occur twice"),
        (swapped(series(), 3, plane=replace(instance(3).plane, orientation=(0, 1, 0, 0, 0, 1))), "mixed orientations"),
        (swapped(series(), 3, plane=replace(instance(3).plane, position=(0.0, 0.0, float("nan")))), "not a finite"),
        (replace(series(), instances=series().instances[:5] + series().instances[6:]), "gap of 10.0 mm"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_refused_in_a_sentence(found: Series, said: str) -> None:
    verdict = judge(found, CARD)
    assert not verdict.suits
    assert said.lower() in verdict.reason.lower()
    assert verdict.reason[0] == verdict.reason[0].upper()


def test_every_reason_is_said_and_each_once() -> None:
    found = series(count=12, scanning_sequence=("SE", "IR"), series_description="FLAIR", echo_time_ms=90.0)
    assert judge(found, CARD).reason == (
        "FLAIR, not T1-weighted; echo time is 90 ms, more than 30 ms; only 60 mm across: not a whole head"
    )


def test_an_absent_value_is_passed_over_unless_the_card_refuses_it() -> None:
    assert judge(series(echo_time_ms=None, series_description=""), CARD).suits
    assert not judge(series(modality=""), CARD).suits


def test_echo_times_that_differ_by_rounding_are_one() -> None:
    assert judge(swapped(series(), 3, echo_time_ms=3.01), CARD).suits


def test_a_model_of_single_images_needs_no_geometry() -> None:
    card = replace(CARD, needs_volume=False, requires=(Condition(field="modality", one_of=("CR",)),))
    assert judge(series(count=1, modality="CR", plane=None), card).reason == "Suits head: 1 image"


def test_images_in_colour_are_read_where_the_card_says_what_to_make_of_them() -> None:
    card = replace(CARD, needs_volume=False, requires=())
    in_colour = Pixels(rows=9, columns=9, samples_per_pixel=3, photometric_interpretation="RGB", bits_allocated=8)
    found = swapped(series(count=3, modality="US", plane=None), 1, pixels=in_colour)
    assert judge(found, card).reason == "Images in colour (RGB), which this model does not read"
    assert judge(found, replace(card, colour=Colour.GREY)).suits
    assert judge(found, replace(card, colour=Colour.RGB)).suits
    palette = series(
        count=1, pixels=replace(in_colour, samples_per_pixel=1, photometric_interpretation="PALETTE COLOR")
    )
    assert not judge(palette, card).suits


def test_clips_and_single_images_of_a_kind_are_read_together_but_not_images_of_several_kinds() -> None:
    card = replace(CARD, needs_volume=False, requires=())
    ultrasound, clip, dx = (f"1.2.840.10008.5.1.4.1.1.{each}" for each in ("6.1", "3.1", "1.1"))
    stills = series(count=2, modality="US", plane=None, sop_class_uid=ultrasound)
    frames = Pixels(rows=9, columns=9, number_of_frames=40, bits_allocated=8)
    assert judge(swapped(stills, 1, sop_class_uid=clip, pixels=frames), card).suits
    assert "everal kinds of object" in judge(swapped(stills, 1, sop_class_uid=dx), card).reason


def test_documents_beside_the_images_of_a_series_are_no_matter() -> None:
    found = replace(series(), instances=(*series().instances, instance(99, sop_class_uid=SR, pixels=None, plane=None)))
    assert judge(found, CARD).suits


@bounded
@given(st.randoms(use_true_random=False), st.sampled_from([None, 3]))
def test_the_order_of_arrival_is_no_matter(shuffle: random.Random, odd: int | None) -> None:
    found = series() if odd is None else swapped(series(), odd, image_type=("DERIVED",), echo_time_ms=50.0)
    instances = list(found.instances)
    shuffle.shuffle(instances)
    assert judge(replace(found, instances=tuple(instances)), CARD) == judge(found, CARD)


def test_the_preferred_series_is_chosen_and_the_other_says_so() -> None:
    choice = choose([series("1.1"), series("1.2", mr_acquisition_type="3D", series_description="t1 3d")], CARD)
    assert choice.chosen == "1.2"
    assert choice.reason.startswith("“t1 3d”: Suits head")
    assert [verdict.suits for verdict in choice.verdicts] == [True, True]
    assert choice.verdicts[0].reason.endswith("not read, because “t1 3d” suits better")


def test_of_equals_more_slices_win_and_then_the_lower_uid() -> None:
    assert choose([series("1.1"), series("1.2", count=30)], CARD).chosen == "1.2"
    assert choose([series("1.3"), series("1.2")], CARD).chosen == "1.2"
    assert choose([series("1.2"), series("1.3")], CARD).chosen == "1.2"


def test_where_none_suits_the_reason_names_every_series() -> None:
    choice = choose([series("1.1", count=12), series("1.2", modality="CT", series_description="thorax")], CARD)
    assert choice.chosen is None
    assert choice.reason == (
        "No series suits head. “t1 mprage”: Only 60 mm across: not a whole head; “thorax”: CT is not MR"
    )
    assert choose([], CARD).chosen is None


def _texts(value) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _described(folder: Path) -> list[Series]:
    """The headers below `folder`, with as much of them as this test needs."""
    pydicom = pytest.importorskip("pydicom")
    found: dict[str, list[Instance]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        plane = Plane(
            position=tuple(map(float, dataset.ImagePositionPatient)),
            orientation=tuple(map(float, dataset.ImageOrientationPatient)),
            spacing=tuple(map(float, dataset.PixelSpacing)),
        )
        made = instance(
            0,
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            modality=dataset.Modality,
            series_description=dataset.get("SeriesDescription", ""),
            image_type=_texts(dataset.ImageType),
            scanning_sequence=_texts(dataset.get("ScanningSequence")),
            echo_time_ms=float(dataset.EchoTime) if "EchoTime" in dataset else None,
            plane=plane,
            pixels=Pixels(rows=dataset.Rows, columns=dataset.Columns),
        )
        found.setdefault(made.series_instance_uid, []).append(made)
    return [Series(series_instance_uid=uid, instances=tuple(instances)) for uid, instances in found.items()]


def test_of_a_real_study_the_t1_series_suits_and_the_others_say_why(test_data: Path) -> None:
    found = _described(test_data / "dicom" / "brain_tumor_progression_Study1")
    choice = choose(found, CARD)
    names = {each.series_instance_uid: each.first.series_description for each in found}
    reasons = {names[verdict.series_instance_uid]: verdict.reason for verdict in choice.verdicts}
    assert names[choice.chosen] == "T1pre_reg"
    assert reasons["FLAIR_reg"] == "FLAIR, not T1-weighted; echo time is 127.8 ms, more than 30 ms"
    assert reasons["HippoCrop"] == "Only 32 mm across: not a whole head"


@pytest.mark.parametrize(
    ("folder", "chosen", "said"),
    [
        ("studyforrest_T1w", "anat-T1w", {"anat-T1w": "384 slices"}),
        (
            "brain_tumor_progression_Study1",
            "T1pre_reg",
            {"T1pre_reg": "22 slices, 6.5 mm apart", "FLAIR_reg": "not T1-weighted", "HippoCrop": "32 mm in one"},
        ),
        ("Lung_Dx-A0002", None, {"ThoraxRoutine  8.0.0  B40f": "the modality is CT"}),
    ],
)  # fmt: skip
def test_the_shipped_brain_model_chooses_among_real_series(test_data: Path, folder: str, chosen, said) -> None:
    card = read_card(ROOT / "models" / "brain-t1")
    found = _described(test_data / "dicom" / folder)
    choice = choose(found, card)
    names = {each.series_instance_uid: each.first.series_description for each in found}
    assert names.get(choice.chosen or "") == chosen
    for verdict in choice.verdicts:
        assert said[names[verdict.series_instance_uid]].lower() in verdict.reason.lower()
        assert verdict.suits == (names[verdict.series_instance_uid] == chosen)


def test_a_real_oblique_head_suits(test_data: Path) -> None:
    (found,) = _described(test_data / "dicom" / "studyforrest_T1w")
    assert choose([found], CARD).reason == "“anat-T1w”: Suits head: 384 slices, 0.67 mm apart"
