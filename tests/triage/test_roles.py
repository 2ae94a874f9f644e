"""Which series takes which role of a model that reads several, and what is said of the others."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from node.domain.model_card import Condition, ModelCard, Preference, Role
from node.domain.study import Series
from node.triage.roles import card_of, choose
from tests.triage.test_suitability import CARD, series


def named(name: str, *, without: str = "") -> Role:
    return Role(name=name, requires=(Condition(field="series_description", matches=rf"^{name}\b{without}"),))


TUMOUR: ModelCard = replace(
    CARD,
    requires=(Condition(field="modality", one_of=("MR",), because="{value} is not MR"),),
    prefers=(),
    roles=(named("T1c"), named("T2"), named("FLAIR")),
)


def of(uid: str, description: str, frame: str = "1.2.9", **changed: object) -> Series:
    return series(uid, series_description=description, frame_of_reference_uid=frame, **changed)


STUDY = [of("1.1", "T1c ax"), of("1.2", "T2 ax"), of("1.3", "FLAIR ax")]


def test_each_role_gets_the_series_that_suits_it_and_the_first_bears_the_result() -> None:
    choice = choose([*STUDY, of("1.4", "DWI")], TUMOUR)
    assert choice.roles == {"1.1": "T1c", "1.2": "T2", "1.3": "FLAIR"}
    assert choice.chosen == "1.1"
    assert len(choice.sop_instance_uids) == 3 * 24
    reasons = {each.series_instance_uid: (each.suits, each.reason) for each in choice.verdicts}
    assert reasons["1.2"] == (True, "Suits head: 24 slices, 5 mm apart, read as T2")
    assert not reasons["1.4"][0]
    assert reasons["1.4"][1] == "Series description “DWI” does not name what this model reads"


def test_without_one_of_them_nothing_is_read_and_it_is_named() -> None:
    choice = choose(STUDY[:2], TUMOUR)
    assert choice.chosen is None
    assert "No series suits head as FLAIR" in choice.reason
    assert not choice.sop_instance_uids


def test_series_of_another_frame_of_reference_are_not_laid_over_each_other() -> None:
    choice = choose([*STUDY[:2], of("1.3", "FLAIR ax", frame="1.2.8")], TUMOUR)
    assert choice.chosen is None
    assert "frame of reference" in choice.reason
    unsaid = [
        replace(each, instances=tuple(replace(i, frame_of_reference_uid="") for i in each.instances)) for each in STUDY
    ]
    assert choose(unsaid, TUMOUR).chosen is None


def test_a_whole_set_in_another_frame_of_reference_beats_a_better_single_series() -> None:
    preferring = replace(TUMOUR, prefers=(Preference(field="slice_count", at_least=30, points=5.0),))
    apart = [of("2.1", "T1c ax", frame="1.2.8", count=40)]
    assert choose([*STUDY, *apart], preferring).roles == {"1.1": "T1c", "1.2": "T2", "1.3": "FLAIR"}


def test_no_series_takes_two_roles() -> None:
    both = replace(TUMOUR, roles=(Role(name="a"), Role(name="b")))
    assert choose([of("1.1", "T1c")], both).chosen is None
    assert set(choose(STUDY[:2], both).roles) == {"1.1", "1.2"}


def test_of_two_that_suit_a_role_the_one_with_more_points_is_read_and_the_other_is_told_why() -> None:
    preferring = replace(TUMOUR, prefers=(Preference(field="mr_acquisition_type", one_of=("3D",), points=1.0),))
    choice = choose([*STUDY, of("1.0", "T2 thin", mr_acquisition_type="3D")], preferring)
    assert choice.roles["1.0"] == "T2"
    told = next(each for each in choice.verdicts if each.series_instance_uid == "1.2")
    assert told.suits
    assert "not read, because T2 is “T2 thin”" in told.reason


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_arrival_is_no_matter(seed: int) -> None:
    many = [*STUDY, of("1.0", "T2 again"), of("2.1", "T1c", frame="1.2.8")]
    shuffled = random.Random(seed).sample(many, len(many))
    assert choose(shuffled, TUMOUR) == choose(many, TUMOUR)


def test_a_card_without_roles_reads_one_series() -> None:
    assert choose([series()], CARD).roles == {}
    assert card_of(CARD, "") is CARD
    assert card_of(TUMOUR, "T2").requires[-1] == TUMOUR.roles[1].requires[0]
