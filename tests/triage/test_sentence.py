from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.finding import (
    LEFT,
    MILLILITRE,
    MILLIMETRE,
    RIGHT,
    RIGHT_AND_LEFT,
    VOLUME,
    Code,
    Finding,
    Measurement,
    Segment,
)
from node.domain.gate import Uncertainty
from node.domain.measures import TERMS, Lesions, Quantity
from node.domain.model_card import ModelCard, Task
from node.domain.study import Instance, Plane
from node.domain.target import Calibration, Target
from node.triage.numbers import rounded
from node.triage.sentence import Prior, sentence
from tests.fakes import card, slice_of

LIVER = Code("10200004", "SCT", "Liver")
LESION = Code("52988006", "SCT", "Lesion")
HAEMORRHAGE = Code("50960005", "SCT", "Hemorrhage")
BRAIN = Code("12738006", "SCT", "Brain")


def images(count: int = 4, **changes: object) -> list[Instance]:
    return [slice_of(number, **{"series_number": 4, **changes}) for number in range(1, count + 1)]


def number(quantity: Quantity, value: float, repeats_within: float | None = None, toward: Code | None = None):
    term = TERMS[quantity]
    return Measurement(
        quantity=term.code,
        unit=term.unit,
        derivation=term.derivation,
        method=term.method,
        value=value,
        repeats_within=repeats_within,
        toward=toward,
    )


def segmenting() -> ModelCard:
    made = card()
    lesion = Segment(number=2, label="Liver lesion", category=LIVER, type=LESION, site=LIVER)
    return replace(made, segments=(*made.segments, lesion), lesions=(Lesions(segment_number=2, least_ml=0.1),))


def classifying(calibrated: bool = True, **changes: object) -> ModelCard:
    fit = Calibration(temperature=1.5, cases=600, fitted_on="2026-01-01", fitted_at="here") if calibrated else None
    target = Target(index=0, label="Haemorrhage", code=HAEMORRHAGE, site=BRAIN, operating_point=0.5, calibration=fit)
    return replace(card(), task=Task.CLASSIFICATION, segments=(), volumes=(), targets=(target,), **changes)


BRAIN_FOUND = Finding(
    code=BRAIN,
    segment_number=1,
    measurements=(number(Quantity.VOLUME, 1237.4, 25.0),),
    key_images=("1.2.3.1.1.3",),
)
BLEEDS = Finding(code=HAEMORRHAGE, present=True, probability=0.874, operating_point=0.5)

GOLDEN = {
    "a volume that repeats": (
        BRAIN_FOUND,
        segmenting(),
        images(),
        "Brain: volume 1240 mL (repeats within 25 mL); largest on image 3 (S 6 mm); read in series 4 (MR, 4 images).",
    ),
    "a lesion on one side": (
        Finding(
            code=LESION,
            segment_number=2,
            lesion_number=2,
            present=True,
            laterality=LEFT,
            measurements=(
                number(Quantity.LONG_AXIS, 23.71, 1.5),
                number(Quantity.SHORT_AXIS, 11.64, 1.5),
                number(Quantity.MEAN, 45.21),
                number(Quantity.STANDARD_DEVIATION, 12.6),
                number(Quantity.DISTANCE, 7.38, 0.4, LIVER),
            ),
        ),
        segmenting(),
        images(slice_thickness_mm=5.0, modality="CT"),
        (
            "Liver lesion, lesion 2 on the left: 24 × 12 mm in plane (repeats within 1.5 mm); mean 45.2 HU (standard"
            " deviation 12.6); distance to liver (surfaces) 7.4 mm (repeats within 0.4 mm); read in series 4 (CT,"
            " 4 images); thick slices (5 mm)."
        ),
    ),
    "a count": (
        Finding(
            code=LESION,
            segment_number=2,
            present=True,
            laterality=RIGHT_AND_LEFT,
            measurements=(number(Quantity.LESION_COUNT, 3.0), number(Quantity.DIAMETER, 8.27)),
        ),
        segmenting(),
        images(lossy_image_compression="01"),
        (
            "Liver lesion on both sides: 3 lesions; diameter 8.27 mm; read in series 4 (MR, 4 images);"
            " images compressed with loss."
        ),
    ),
    "a calibrated probability": (
        BLEEDS,
        classifying(),
        images(),
        "Haemorrhage (brain): probability 0.87 (counts as present from 0.5); read in series 4 (MR, 4 images).",
    ),
    "a number that nobody calibrated": (
        BLEEDS,
        classifying(calibrated=False),
        images(),
        "Haemorrhage (brain): score 0.87 (counts as present from 0.5); read in series 4 (MR, 4 images).",
    ),
    "a score": (
        replace(BLEEDS, probability=None, score=0.999, laterality=RIGHT),
        classifying(),
        images(),
        (
            "Haemorrhage (brain) on the right: score above 0.99 (counts as present from 0.5);"
            " read in series 4 (MR, 4 images)."
        ),
    ),
    "a doubtful one": (
        replace(BLEEDS, uncertainty=0.21),
        classifying(uncertainty=Uncertainty(doubtful_from=0.2)),
        images(),
        (
            "Haemorrhage (brain): probability 0.87 (counts as present from 0.5); doubtful: the model's own answers"
            " differ by 0.21; read in series 4 (MR, 4 images)."
        ),
    ),
    "a negative": (
        replace(BLEEDS, present=False, probability=0.004),
        classifying(),
        images(slice_thickness_mm=6.0),
        (
            "No haemorrhage (brain): looked for in series 4 (MR, 4 images); probability below 0.01, below the operating"
            " point 0.5; thick slices (6 mm)."
        ),
    ),
    "no lesion": (
        Finding(code=LESION, present=False, measurements=(number(Quantity.LESION_COUNT, 0.0),)),
        segmenting(),
        images(1, series_number=None, modality="CT", transfer_syntax_uid="1.2.840.10008.1.2.4.50"),
        "No liver lesion of 0.1 mL or more: looked for in the series (CT, 1 image); images compressed with loss.",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_finding_is_said_in_one_sentence(name: str) -> None:
    finding, of, given, expected = GOLDEN[name]
    said = sentence(finding, of, given)
    assert said == expected
    assert said.count(". ") == 0


PRIOR = Prior(study_date="2026-01-01", measurements=(number(Quantity.VOLUME, 1180.0, 20.0),))


@pytest.mark.parametrize(
    ("now_ml", "repeats_ml", "expected"),
    [
        (1237.4, 25.0, "volume +60 mL (+5%) against 1180 mL on 2026-01-01, more than the model's own error"),
        (1195.0, 25.0, "volume +20 mL (+1%) against 1180 mL on 2026-01-01, within the model's own error"),
        (1100.0, 25.0, "volume -80 mL (-7%) against 1180 mL on 2026-01-01, more than the model's own error"),
    ],
)
def test_a_prior_is_named_and_the_change_weighed_against_the_models_own_error(
    now_ml: float, repeats_ml: float, expected: str
) -> None:
    now = replace(BRAIN_FOUND, measurements=(number(Quantity.VOLUME, now_ml, repeats_ml),))
    said = sentence(now, segmenting(), images(), PRIOR)
    assert expected in said


def test_without_a_known_error_no_change_is_called_one() -> None:
    bare = Measurement(quantity=VOLUME, value=12.0, unit=MILLILITRE)
    now = Finding(code=BRAIN, segment_number=1, measurements=(bare,))
    said = sentence(
        now, segmenting(), images(), Prior(study_date="2026-01-01", measurements=(replace(bare, value=8.0),))
    )
    assert "volume +4.0 mL (+50%) against 8.00 mL on 2026-01-01, how well the model repeats is not known" in said


def test_what_was_not_measured_before_is_not_compared() -> None:
    other = Prior(study_date="2026-01-01", measurements=(Measurement(quantity=VOLUME, value=8.0, unit=MILLIMETRE),))
    assert "2026" not in sentence(BRAIN_FOUND, segmenting(), images(), other)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (1237.4, 25.0, "1240"),
        (1237.4, 99.0, "1240"),
        (1237.4, 100.0, "1200"),
        (1237.4, 3.0, "1237"),
        (1237.4, 0.3, "1237.4"),
        (0.01234, 0.002, "0.012"),
        (0.4, 25.0, "0"),
        (-0.4, 25.0, "0"),
        (1237.4, None, "1240"),
        (12.34, None, "12.3"),
        (0.01234, None, "0.0123"),
        (0.0, None, "0"),
        (12.0, 0.0, "12.0"),
        (float("nan"), None, "not a number"),
    ],
)
def test_digits_below_the_models_own_error_are_not_shown(value: float, error: float | None, expected: str) -> None:
    assert rounded(value, error) == expected


@pytest.mark.parametrize(
    ("orientation", "position", "expected"),
    [
        ((1, 0, 0, 0, 1, 0), (0.0, 0.0, -31.2), "(I 31 mm)"),
        ((0, 1, 0, 0, 0, -1), (12.0, 0.0, 0.0), "(L 12 mm)"),
        ((0, 1, 0, 0, 0, -1), (-12.0, 0.0, 0.0), "(R 12 mm)"),
        ((1, 0, 0, 0, 0, -1), (0.0, -40.0, 0.0), "(A 40 mm)"),
    ],
)
def test_the_place_of_the_key_image_is_given_as_viewers_give_it(
    orientation: tuple[float, ...], position: tuple[float, float, float], expected: str
) -> None:
    plane = Plane(position=position, orientation=orientation, spacing=(1.0, 1.0))  # type: ignore[arg-type]
    assert expected in sentence(BRAIN_FOUND, segmenting(), images(plane=plane))


def test_of_frames_that_share_one_image_none_is_named() -> None:
    frames = [replace(each, sop_instance_uid="1.2.3.1.1.3") for each in images()]
    assert "largest" not in sentence(BRAIN_FOUND, segmenting(), frames)


def test_an_image_on_which_nothing_was_outlined_shows_the_highest_number() -> None:
    found = replace(BLEEDS, key_images=("1.2.3.1.1.3",))
    assert "; highest on image 3 (S 6 mm);" in sentence(found, classifying(), images())


@pytest.mark.parametrize(("number", "said"), [(0.4991, "0.499"), (0.50001, "0.50 "), (0.499996, "0.499996")])
def test_a_number_is_never_rounded_over_its_operating_point(number: float, said: str) -> None:
    found = replace(BLEEDS, present=number >= 0.5, probability=number)
    assert f"probability {said}" in sentence(found, classifying(), images()).replace(",", " ")


def test_a_change_of_hounsfield_units_has_no_share() -> None:
    prior = Prior(study_date="2026-01-01", measurements=(number(Quantity.MEAN, -50.0, 4.0),))
    found = replace(BRAIN_FOUND, measurements=(number(Quantity.MEAN, -40.0, 4.0),))
    said = sentence(found, segmenting(), images(), prior)
    assert "+10 HU against -50 HU" in said


def test_the_place_of_an_oblique_slice_is_that_of_its_middle() -> None:
    plane = Plane(position=(0.0, 0.0, 0.0), orientation=(1, 0, 0, 0, 0.8, 0.6), spacing=(10.0, 1.0))
    assert "(S 45 mm)" in sentence(BRAIN_FOUND, segmenting(), images(plane=plane))


def test_nothing_of_the_patient_or_of_the_series_own_text_is_said() -> None:
    said = sentence(BRAIN_FOUND, segmenting(), images(series_description="Doe Jane head", protocol_name="Doe"))
    assert "Doe" not in said
