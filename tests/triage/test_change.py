from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.alignment import Alignment, Conditions, Correspondence, Knot, Pair, Sampling, Way
from node.domain.change import Change, Verdict
from node.domain.finding import LEFT, MILLILITRE, MILLIMETRE, RIGHT, VOLUME, Code, Finding, Measurement
from node.domain.measures import DIAMETER
from node.triage.change import changes
from node.triage.change_said import foremost, said, with_changes
from node.triage.change_sizes import Read

NODULE = Code("27925004", "SCT", "Nodule")
STILL = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
ALIGNED = Correspondence(alignment=Alignment(motion=STILL, similarity=0.95, overlap=1.0, rotation_deg=0, shift_mm=0))
PAIRED = replace(ALIGNED, pairs=(Pair(now=0, before=0, way=Way.OVERLAP),))


def sized(ml: float, percent: float | None = 20.0, quantity: Code = VOLUME, unit: Code = MILLILITRE) -> Measurement:
    within = None if percent is None else ml * percent / 100
    return Measurement(quantity=quantity, value=ml, unit=unit, repeats_within=within)


def lesion(*sizes: Measurement, number: int = 1, **more: object) -> Finding:
    made = Finding(code=NODULE, segment_number=1, lesion_number=number, measurements=sizes, present=True, sentence="A.")
    return replace(made, **more)  # type: ignore[arg-type]


def read(*findings: Finding, day: str = "20260101", **more: object) -> Read:
    made = Read(
        study_instance_uid=f"1.2.{day}",
        study_date=day,
        model="lung",
        model_digest="m",
        card_digest="c",
        findings=findings,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def one(now: Read, before: Read, found: Correspondence = PAIRED) -> Change:
    (change,) = changes(now, before, found)
    return change


def before(*findings: Finding, **more: object) -> Read:
    return read(*findings, day="20251002", **more)


def test_growth_beyond_the_error_is_told_with_interval_and_doubling_time() -> None:
    change = one(read(lesion(sized(2.0))), before(lesion(sized(1.0))))
    assert (change.verdict, change.before, change.after, change.days) == (Verdict.GROWN, 1.0, 2.0, 91)
    assert change.ratio == pytest.approx(2.0)
    assert (change.ratio_low, change.ratio_high) == pytest.approx((2 * exp(-0.2), 2 * exp(0.2)))
    assert change.doubling_days == pytest.approx(91)
    assert said(change) == (
        "grown since 2025-10-02: volume 1 mL → 2 mL (+100%, 95% interval +64% to +144%), volume doubles in 91 days"
    )


def test_the_volume_doubles_in_a_third_of_the_time_of_a_diameter() -> None:
    sizes = [lesion(sized(value, 10, DIAMETER, MILLIMETRE)) for value in (10.0, 20.0)]
    assert one(read(sizes[1]), before(sizes[0])).doubling_days == pytest.approx(91 / 3)
    halved = one(read(sizes[0]), before(sizes[1]))
    assert (halved.verdict, halved.doubling_days) == (Verdict.SHRUNK, pytest.approx(-91 / 3))


@pytest.mark.parametrize("percent", [5.0, 20.0, 60.0])
def test_the_verdict_turns_exactly_where_the_interval_leaves_one(percent: float) -> None:
    edge = exp(percent / 100)
    for ratio, verdict in (
        (edge * 1.001, Verdict.GROWN),
        (edge * 0.999, Verdict.STABLE),
        (1 / edge * 1.001, Verdict.STABLE),
        (1 / edge * 0.999, Verdict.SHRUNK),
    ):
        change = one(read(lesion(sized(ratio, percent))), before(lesion(sized(1.0, percent))))
        assert change.verdict is verdict
        assert (change.doubling_days is None) is (verdict is Verdict.STABLE)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0.1, 300.0))
def test_the_ratio_lies_in_its_interval_and_swapping_the_studies_swaps_the_verdict(
    a: float, b: float, p: float
) -> None:
    there, back = (one(read(lesion(sized(x, p))), before(lesion(sized(y, p)))) for x, y in ((a, b), (b, a)))
    assert (there.ratio_low or 0) <= (there.ratio or 0) <= (there.ratio_high or 0)
    swapped = {Verdict.GROWN: Verdict.SHRUNK, Verdict.SHRUNK: Verdict.GROWN, Verdict.STABLE: Verdict.STABLE}
    assert back.verdict is swapped[there.verdict]


def test_without_figures_of_the_card_nothing_is_told_as_grown_new_or_gone_but_the_sizes_are_shown() -> None:
    grown = one(read(lesion(sized(9.0, None))), before(lesion(sized(1.0, None))))
    assert (grown.verdict, grown.before, grown.after, grown.ratio_low) == (Verdict.NOT_COMPARABLE, 1.0, 9.0, None)
    assert "repeatability was not measured" in grown.reason
    new = one(read(lesion(sized(9.0, None))), before(), ALIGNED)
    gone = one(read(), before(lesion(sized(9.0, None))), ALIGNED)
    assert {new.verdict, gone.verdict} == {Verdict.NOT_COMPARABLE}


def test_new_and_resolved_only_where_the_other_images_show_the_place() -> None:
    assert one(read(lesion(sized(1.0))), before(), ALIGNED).verdict is Verdict.NEW
    unseen = one(read(lesion(sized(1.0))), before(), replace(ALIGNED, unseen_now=(0,)))
    assert (unseen.verdict, unseen.reason) == (Verdict.NOT_COMPARABLE, "the prior does not show the place")
    gone = one(read(), before(lesion(sized(1.0), key_images=("1.2.9",))), ALIGNED)
    assert (gone.verdict, gone.lesion_number, gone.prior_lesion_number, gone.prior_image) == (
        *(Verdict.RESOLVED, 0, 1, "1.2.9"),
    )
    hidden = one(read(), before(lesion(sized(1.0))), replace(ALIGNED, unseen_before=(0,)))
    assert hidden.verdict is Verdict.NOT_COMPARABLE


def test_what_was_too_small_to_be_counted_is_not_new_but_has_grown_or_not() -> None:
    grown = one(read(lesion(sized(1.0))), before(), replace(ALIGNED, faint_before={0: 0.1}))
    assert (grown.verdict, grown.before) == (Verdict.GROWN, 0.1)
    same = one(read(lesion(sized(1.0))), before(), replace(ALIGNED, faint_before={0: 0.98}))
    assert same.verdict is Verdict.STABLE
    left = one(read(), before(lesion(sized(1.0))), replace(ALIGNED, faint_now={0: 0.1}))
    assert (left.verdict, left.after) == (Verdict.SHRUNK, 0.1)


@pytest.mark.parametrize(
    ("found", "more", "reason"),
    [
        (PAIRED, {"model_digest": "other"}, "another version of the model"),
        (PAIRED, {"card_digest": "other"}, "another card"),
        (replace(PAIRED, alignment=replace(PAIRED.alignment, refused="could not be aligned: so")), {}, "be aligned"),
        (replace(PAIRED, now=Conditions(slice_spacing_mm=1.0), before=Conditions(slice_spacing_mm=1.6)), {}, "slices"),
        (replace(PAIRED, now=Conditions(slice_thickness_mm=5), before=Conditions(slice_thickness_mm=2)), {}, "slices"),
        (replace(PAIRED, now=Conditions(in_plane_spacing_mm=1), before=Conditions(in_plane_spacing_mm=0.6)), {}, "pix"),
        (replace(PAIRED, now=Conditions(kernel="B30f"), before=Conditions(kernel="B70f")), {}, "kernel"),
        (replace(PAIRED, now=Conditions(contrast_agent="Ultravist"), before=Conditions()), {}, "contrast"),
        (replace(PAIRED, knots=(Knot(now=(0, 1), before=(0,)),)), {}, "one lesion of the prior is 2 now"),
        (replace(PAIRED, cut_before=(0,)), {}, "edge of the images"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_says_why(found: Correspondence, more: dict[str, object], reason: str) -> None:
    change = one(read(lesion(sized(5.0))), before(lesion(sized(1.0)), **more), found)
    assert change.verdict is Verdict.NOT_COMPARABLE
    assert reason in change.reason
    assert change.after == 5.0


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (Conditions(slice_spacing_mm=1.5), Conditions(slice_spacing_mm=1.0)),
        (Conditions(kernel="B30f "), Conditions(kernel="b30F")),
        (Conditions(kernel="B30f"), Conditions()),
        (Conditions(slice_thickness_mm=1.0), Conditions()),
    ],
)
def test_what_is_alike_enough_or_not_said_is_compared(now: Conditions, then: Conditions) -> None:
    found = replace(PAIRED, now=now, before=then)
    assert one(read(lesion(sized(5.0))), before(lesion(sized(1.0))), found).verdict is Verdict.GROWN


def whole(ml: float, **more: object) -> Finding:
    return replace(lesion(sized(ml), number=0), present=None, **more)  # type: ignore[arg-type]


def test_a_segment_is_compared_with_itself_on_its_own_side_without_an_alignment_too() -> None:
    found = Correspondence(not_aligned="the prior's images are not here any more")
    now = read(whole(2.0, laterality=LEFT), whole(1.0, laterality=RIGHT))
    then = before(whole(1.0, laterality=RIGHT), whole(1.0, laterality=LEFT))
    assert [each.verdict for each in changes(now, then, found)] == [Verdict.GROWN, Verdict.STABLE]


def test_lesions_that_share_a_tracking_identifier_are_one_whatever_the_images_say() -> None:
    now = read(lesion(sized(2.0), tracking_uid="2.25.7"))
    then = before(lesion(sized(1.0), number=2), lesion(sized(1.0), tracking_uid="2.25.7"))
    found = replace(ALIGNED, pairs=(Pair(now=0, before=0, way=Way.DISTANCE),), unseen_before=(0,))
    change = changes(now, then, found)[0]
    assert (change.tracking_uid, change.verdict) == ("2.25.7", Verdict.GROWN)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_sizes_without_a_ratio_have_none(value: float) -> None:
    change = one(read(lesion(sized(1.0))), before(lesion(sized(value))))
    assert (change.verdict, change.ratio) == (Verdict.NOT_COMPARABLE, None)


def test_an_error_far_above_the_size_tells_nothing_and_overflows_nowhere() -> None:
    tiny = Measurement(quantity=VOLUME, value=1e-9, unit=MILLILITRE, repeats_within=1.0)
    change = one(read(lesion(sized(1.0))), before(lesion(tiny)))
    assert change.verdict is Verdict.STABLE
    assert change.ratio_high == pytest.approx(exp(20.0))
    assert log(change.ratio_low or 1) >= -20.0


def test_the_sentence_of_a_finding_tells_what_stands_for_it_and_what_is_gone() -> None:
    segment, first = whole(3.0), lesion(sized(2.0), sized(15.0, 10, DIAMETER, MILLIMETRE))
    then = before(whole(3.0), lesion(sized(1.0), sized(12.0, 10, DIAMETER, MILLIMETRE)), lesion(sized(1.0), number=2))
    found = replace(ALIGNED, pairs=(Pair(now=1, before=1, way=Way.OVERLAP),))
    made = changes(read(segment, first), then, found)
    told = [each.sentence for each in with_changes((segment, first), made)]
    assert told[0].startswith("A; stable since 2025-10-02: volume 3 mL → 3 mL")
    assert "lesion 2 of the prior of 1 mL (volume) has resolved since 2025-10-02" in told[0]
    assert told[1].startswith("A; grown since 2025-10-02: volume 1 mL → 2 mL")
    assert with_changes((segment, first), ()) == [segment, first]
    best = foremost([each for each in made if each.lesion_number == 1])
    assert best is not None
    assert best.quantity == VOLUME


def shown(*spanned: int, surface_mm2: float = 100.0) -> Sampling:
    return Sampling(spacing_mm=(1.6, 1.6, 1.6), spanned=spanned, surface_mm2=surface_mm2)  # type: ignore[arg-type]


def test_a_small_lesion_has_not_changed_where_voxels_alone_may_say_so() -> None:
    now, then = read(lesion(sized(0.08, 15))), before(lesion(sized(0.06, 15)))
    assert one(now, then).verdict is Verdict.GROWN
    found = replace(PAIRED, sampled_now={0: shown(4, 4, 4)}, sampled_before={0: shown(4, 3, 3)})
    stable = one(now, then, found)
    assert (stable.verdict, stable.doubling_days) == (Verdict.STABLE, None)
    assert "the model repeats within 0.012 mL, and voxels of this size within" in stable.reason
    assert one(read(lesion(sized(0.2, 15))), then, found).verdict is Verdict.GROWN


@pytest.mark.parametrize("few", [shown(2, 9, 9), shown(3, 3, 3, surface_mm2=900.0)], ids=["two slices", "mere surface"])
def test_too_few_voxels_say_nothing_and_the_sizes_are_shown(few: Sampling) -> None:
    change = one(read(lesion(sized(0.2))), before(lesion(sized(0.02))), replace(PAIRED, sampled_before={0: few}))
    assert (change.verdict, change.before, change.after) == (Verdict.NOT_COMPARABLE, 0.02, 0.2)
    assert change.reason == "matched by overlap; too few voxels show it"


def test_what_may_lie_between_the_voxels_of_the_other_study_is_neither_new_nor_gone() -> None:
    made = Conditions(slice_spacing_mm=1.6, in_plane_spacing_mm=1.6)
    found = replace(ALIGNED, now=made, before=made)
    small, enough = {0: shown(1, 2, 2)}, {0: shown(2, 2, 2)}
    now, then = (read(lesion(sized(0.1))), before()), (read(), before(lesion(sized(0.1))))
    assert one(*now, replace(found, sampled_now=enough)).verdict is Verdict.NEW
    assert one(*then, replace(found, sampled_before=enough)).verdict is Verdict.RESOLVED
    for pair, missed in ((now, replace(found, sampled_now=small)), (then, replace(found, sampled_before=small))):
        change = one(*pair, missed)
        assert change.verdict is Verdict.NOT_COMPARABLE
        assert "may lie between voxels" in change.reason
