"""Several volumes in one series: the one that suits is read, whole, and nothing is guessed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.domain.model_card import Condition, ModelCard, Preference
from node.domain.study import Frames, Instance, Pixels, Plane, Series, Stack
from node.errors import Unsuitable
from node.triage.suitability import choose, judge, slices_of
from tests.triage.test_suitability import CARD, instance

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
ANY = replace(CARD, requires=(), prefers=())


def wanting(*, field: str, **operator: object) -> ModelCard:
    return replace(ANY, requires=(Condition(field=field, **operator),))  # type: ignore[arg-type]


def slices(start: int, count: int = 10, **changed: object) -> list[Instance]:
    return [replace(instance(number), sop_instance_uid=f"1.1.{start + number}", **changed) for number in range(count)]


def series(*parts: Sequence[Instance]) -> Series:
    return Series(series_instance_uid="1.1", instances=tuple(each for part in parts for each in part))


def uids(found: Sequence[Instance]) -> set[str]:
    return {each.sop_instance_uid for each in found}


@pytest.mark.parametrize(
    ("second", "card"),
    [
        ({"echo_time_ms": 20.0}, wanting(field="echo_time_ms", at_most=10)),
        ({"temporal_position": 2}, wanting(field="temporal_position", at_most=1)),
        ({"diffusion_b_value": 1000.0}, wanting(field="diffusion_b_value", at_most=50)),
        ({"acquisition_number": 2}, wanting(field="acquisition_number", at_most=1)),
        ({"image_type": ("DERIVED", "PRIMARY")}, wanting(field="image_type", none_of=("DERIVED",))),
    ],
)
def test_of_two_volumes_at_one_place_the_one_that_suits_is_read(second: dict[str, object], card: ModelCard) -> None:
    first = slices(1, temporal_position=1, acquisition_number=1, diffusion_b_value=0.0)
    other = slices(101, **{"temporal_position": 1, "acquisition_number": 1, "diffusion_b_value": 0.0} | second)
    choice = choose([series(first, other)], card)
    assert choice.sop_instance_uids == uids(first)
    assert "of 2 volumes that with" in choice.reason
    assert choice.verdicts[0].slice_count == 10


def test_where_several_suit_nothing_is_guessed() -> None:
    verdict = judge(series(slices(1, temporal_position=1), slices(101, temporal_position=2)), ANY)
    assert not verdict.suits
    assert verdict.reason == (
        "2 volumes in one series suit, and nothing says which to read (temporal position 1; temporal position 2)"
    )


def test_what_a_card_prefers_decides_between_them() -> None:
    card = replace(ANY, prefers=(Preference(field="echo_time_ms", at_least=10),))
    late = slices(101, echo_time_ms=20.0)
    assert uids(judge(series(slices(1), late), card).slices) == uids(late)


def test_a_piece_of_a_volume_is_not_read_for_the_whole() -> None:
    """The upper slices have another echo time: what is left would look like a whole, smaller volume."""
    all_of_them = slices(1, 20)
    pieces = series(all_of_them[:12], [replace(each, echo_time_ms=5.0) for each in all_of_them[12:]])
    verdict = judge(pieces, wanting(field="echo_time_ms", at_most=4))
    assert not verdict.suits
    assert verdict.reason.endswith("images differ in echo time")


def test_a_localizer_beside_the_slices_is_left_out() -> None:
    across = [
        replace(each, plane=Plane(position=(0.0, 9.0 * n, 0.0), orientation=CORONAL, spacing=(1.0, 1.0)))
        for n, each in enumerate(slices(101, 3))
    ]
    axial = slices(1, 24)
    assert uids(judge(series(axial, across), CARD).slices) == uids(axial)


def test_another_patient_in_the_series_is_never_only_left_out() -> None:
    stranger = [replace(each, patient=replace(each.patient, patient_id="P2")) for each in slices(101, echo_time_ms=90)]
    verdict = judge(series(slices(1, 24), stranger), CARD)
    assert not verdict.suits
    assert "different patients" in verdict.reason


@pytest.mark.parametrize("sop_class", ["1.3.46.670589.2.5.1.1", "1.2.840.10008.5.1.4.1.1.6"])
def test_objects_that_nothing_can_refer_to_are_not_read(sop_class: str) -> None:
    assert "vendor's own or a retired kind" in judge(series(slices(1, sop_class_uid=sop_class)), ANY).reason


def multi_frame(*stacks: Stack, uid: str = "1.1.500") -> Instance:
    frames = sum(len(stack.numbers) for stack in stacks)
    pixels = Pixels(rows=256, columns=192, number_of_frames=frames)
    return replace(instance(0), sop_instance_uid=uid, plane=None, pixels=pixels, frames=Frames(stacks=stacks))


def stack(first: int, count: int = 24, **said: object) -> Stack:
    return Stack(
        numbers=tuple(range(first, first + count)),
        positions=tuple((0.0, 0.0, 5.0 * number) for number in range(count)),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        spacing=(1.0, 1.0),
        echo_time_ms=3.0,
        **said,  # type: ignore[arg-type]
    )


def numbers(found: Sequence[Instance]) -> list[int]:
    return [each.frame.number for each in found if each.frame]


def test_frames_are_judged_as_slices() -> None:
    verdict = judge(series([multi_frame(stack(1))]), CARD)
    assert verdict.reason == "Suits head: 24 slices, 5 mm apart"
    assert numbers(verdict.slices) == list(range(1, 25))


def test_of_several_stacks_in_one_object_the_one_that_suits_is_read() -> None:
    found = multi_frame(stack(1, diffusion_b_value=800.0), stack(25, diffusion_b_value=0.0))
    card = wanting(field="diffusion_b_value", at_most=50)
    assert numbers(slices_of([found], card)) == list(range(25, 49))
    with pytest.raises(Unsuitable, match="nothing says which to read"):
        slices_of([found], ANY)


def test_of_several_objects_none_is_guessed_and_the_order_is_no_matter() -> None:
    objects = [multi_frame(stack(1), uid=f"1.1.{n}") for n in (7, 5, 6)]
    verdict = judge(series(objects), ANY)
    assert "3 volumes in one series suit" in verdict.reason
    random.Random(1).shuffle(objects)
    assert judge(series(objects), ANY) == verdict


def test_single_images_are_given_as_they_are() -> None:
    found = slices(1)
    assert slices_of(found, CARD) == tuple(found)


def test_images_for_a_model_of_single_images_may_differ_in_size_and_type() -> None:
    card = replace(ANY, needs_volume=False)
    one = replace(instance(1), plane=None, image_type=("ORIGINAL",))
    other = replace(instance(2), plane=None, pixels=Pixels(rows=64, columns=64, number_of_frames=30))
    assert judge(series([one, other]), card).suits
