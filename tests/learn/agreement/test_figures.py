"""Two versions that say known things agree by known numbers."""

from __future__ import annotations

import numpy as np
import pytest

from node.learn.agreement.figures import Said, Study, compared


def decided(*counts: int) -> list[Study]:
    """So many studies that are positive for both, for the one in place, for the one beside, for neither."""
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    pairs = [pair for pair, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [
        Study(patient=str(number), said={"mass": (Said(present=one), Said(present=other))})
        for number, (one, other) in enumerate(pairs)
    ]


def measured(differences: list[float], patients: list[str] | None = None) -> list[Study]:
    names = patients or [str(number) for number in range(len(differences))]
    return [
        Study(patient=name, said={"organ": (Said(volume_ml=10.0), Said(volume_ml=10.0 + each))}, dice={"organ": 0.9})
        for name, each in zip(names, differences, strict=True)
    ]


def test_kappa_is_cohens() -> None:
    # Cohen's own kind of table: 20 both, 5 and 10 apart, 15 neither: agreed 0.7, by chance 0.5, kappa 0.4.
    (found,) = compared(decided(20, 5, 10, 15))
    assert found.decisions is not None
    told = found.decisions
    assert (told.both, told.only_in_place, told.only_beside, told.neither) == (20, 5, 10, 15)
    assert told.kappa.value == pytest.approx(0.4)
    assert told.kappa.low is not None
    assert told.kappa.high is not None
    # Its large-sample standard error is 0.128.
    assert told.kappa.low == pytest.approx(0.4 - 1.96 * 0.128, abs=0.06)
    assert told.kappa.high == pytest.approx(0.4 + 1.96 * 0.128, abs=0.06)
    assert (told.sensitivity.count, told.sensitivity.of) == (20, 25)
    assert (told.specificity.count, told.specificity.of) == (15, 25)


def test_where_one_never_changes_its_mind_there_is_no_kappa() -> None:
    (found,) = compared(decided(5, 0, 0, 0))
    assert found.decisions is not None
    assert found.decisions.kappa.value is None
    assert found.decisions.specificity.of == 0


def test_differences_are_those_of_bland_and_altman() -> None:
    differences = [0.5, -0.2, 0.1, 0.4, 0.0, -0.3, 0.2, 0.3]
    (found,) = compared(measured(differences))
    assert found.volumes is not None
    told, spread = found.volumes, float(np.std(differences, ddof=1))
    assert told.mean.value == pytest.approx(np.mean(differences))
    assert told.low.value == pytest.approx(np.mean(differences) - 1.96 * spread)
    assert told.high.value == pytest.approx(np.mean(differences) + 1.96 * spread)
    assert told.mean.low is not None
    assert told.mean.high is not None
    assert told.mean.low < np.mean(differences) < told.mean.high
    assert found.dice is not None
    assert found.dice.value == pytest.approx(0.9)


def test_studies_of_one_patient_are_drawn_together() -> None:
    differences = [0.0] * 10 + [1.0] * 10
    alone, _ = (compared(measured(differences))[0] for _ in range(2))
    together = compared(measured(differences, [str(number // 10) for number in range(20)]))[0]
    assert alone.volumes is not None
    assert together.volumes is not None
    assert (together.volumes.mean.low, together.volumes.mean.high) == (0.0, 1.0)
    assert alone.volumes.mean.low is not None
    assert alone.volumes.mean.low > 0.2


def test_readers_are_believed_over_both() -> None:
    def told(truth: bool, one: bool, other: bool) -> Study:
        said = {"mass": (Said(present=one), Said(present=other))}
        return Study(patient=f"{truth}{one}{other}", said=said, truth={"mass": truth})

    studies = [told(True, True, False), told(True, True, True), told(False, True, False), *decided(3, 0, 0, 0)]
    (found,) = compared(studies)
    assert found.readers is not None
    assert found.readers.studies == 3
    assert (found.readers.sensitivity_in_place.count, found.readers.sensitivity_in_place.of) == (2, 2)
    assert (found.readers.sensitivity_beside.count, found.readers.sensitivity_beside.of) == (1, 2)
    assert (found.readers.specificity_in_place.count, found.readers.specificity_beside.count) == (0, 1)


def test_what_nobody_can_say_is_not_said() -> None:
    (found,) = compared([Study(patient="1", said={"mass": (Said(number=0.1), Said(number=0.2))})])
    assert (found.decisions, found.numbers, found.volumes, found.dice, found.readers) == (None,) * 5
    assert compared([]) == ()
