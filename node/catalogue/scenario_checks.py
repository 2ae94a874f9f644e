"""What a scenario's types alone cannot see: shares that are shares, names that exist, a queue that has an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from node.catalogue.toml_file import Complaint
from node.domain.priority import Lane
from node.domain.scenario import HOURS, OFF, Duration, Scenario, SimulatedModel, Spread

#: Minutes: whatever is longer is a typing error, and infinity is.
_LONGEST_MIN = 100_000.0
_MOST_STUDIES, _FEWEST_STUDIES, _MOST_REPLICATIONS, _FEWEST_REPLICATIONS = 1_000_000, 100, 1000, 2
_MOST_RADIOLOGISTS = 1000
_MOST_PER_HOUR = 1e6
_MOST_POINTS = 1e6


def check_scenario(scenario: Scenario, complaint: Complaint) -> None:
    """Complain of the first mistake.

    Raises:
        Misconfigured: with the key and the remedy.
    """
    if not scenario.title.strip():
        raise complaint("title", "is empty", "Say which reading room this is")
    _check_room(scenario, complaint)
    _check_names(scenario, complaint)
    for key, value, low, high in _shares(scenario):
        if not low <= value <= high:
            raise complaint(key, f"is {value:g}", f"Give a number from {low:g} to {high:g}")
    for key, duration, least in _durations(scenario):
        _check_duration(key, duration, least, complaint)
    for index, kind in enumerate(scenario.kinds):
        if kind.stat + kind.urgent > 1:
            raise complaint(f"kinds[{index}].urgent", "is with stat more than 1", "Give shares of all studies of it")
    for index, model in enumerate(scenario.models):
        _check_model(f"models[{index}]", model, complaint)
    if scenario.traffic >= 1:
        problem = f"traffic is {scenario.traffic:.2f}: more comes than can be read, and the queue grows without end"
        raise complaint("room.radiologists", problem, "Let more read, fewer studies come, or reading take less time")


def _check_room(scenario: Scenario, complaint: Complaint) -> None:
    given = scenario.room.radiologists
    if not isinstance(given, int) and len(given) != HOURS:
        raise complaint(
            "room.radiologists", f"has {len(given)} numbers", "Give one number, or one for each of 24 hours"
        )
    if not all(0 <= each <= _MOST_RADIOLOGISTS for each in scenario.room.by_hour) or not any(scenario.room.by_hour):
        raise complaint("room.radiologists", "nobody reads, or too many", f"Give 1 to {_MOST_RADIOLOGISTS}")
    hours = scenario.arrivals.by_hour
    if hours and (len(hours) != HOURS or not all(0 <= each < _MOST_PER_HOUR for each in hours) or not any(hours)):
        raise complaint("arrivals.by_hour", "is no profile of a day", "Give 24 numbers from 0, or leave it out")
    if not 0 < scenario.arrivals.per_hour <= _MOST_PER_HOUR:
        raise complaint("arrivals.per_hour", "is no rate", "Give the studies that come in an hour, on average")


def _check_names(scenario: Scenario, complaint: Complaint) -> None:
    if not scenario.kinds:
        raise complaint("kinds", "is empty", "Add at least one [[kinds]]: what is read")
    kinds, diseases = ([each.name for each in them] for them in (scenario.kinds, scenario.diseases))
    models, disciplines = ([each.name for each in them] for them in (scenario.models, scenario.disciplines))
    for key, names in (("kinds", kinds), ("diseases", diseases), ("models", models), ("disciplines", disciplines)):
        for index, name in enumerate(names):
            if not name.strip() or name in names[:index] or (key == "disciplines" and name == OFF.name):
                raise complaint(f"{key}[{index}].name", f"“{name}” is empty or taken", "Give each a name of its own")
    for index, disease in enumerate(scenario.diseases):
        unknown = sorted(set(disease.kinds) - set(kinds))
        if unknown:
            raise complaint(f"diseases[{index}].kinds", f"“{unknown[0]}” is no kind", f"Name {', '.join(kinds)}")
    for index, discipline in enumerate(scenario.disciplines):
        unknown = sorted(set(discipline.models) - set(models))
        if unknown:
            raise complaint(f"disciplines[{index}].models", f"“{unknown[0]}” is no model", "Name models of [[models]]")
    for index, model in enumerate(scenario.models):
        if model.disease not in diseases:
            remedy = f"Name one of {', '.join(diseases)}" if diseases else "Add it as [[diseases]]"
            raise complaint(f"models[{index}].disease", f"“{model.disease}” is no disease", remedy)


def _check_duration(key: str, duration: Duration, least: float, complaint: Complaint) -> None:
    if not least <= duration.mean_min <= _LONGEST_MIN:
        raise complaint(f"{key}.mean_min", f"is {duration.mean_min:g}", f"Give minutes, at least {least:g}")
    if duration.spread is Spread.LOGNORMAL:
        if not 0 < duration.deviation_min <= _LONGEST_MIN or not duration.mean_min:
            raise complaint(f"{key}.deviation_min", "is not given", "Give the standard deviation, minutes")
    elif duration.deviation_min:
        problem = f"means nothing where the spread is {duration.spread}"
        raise complaint(f"{key}.deviation_min", problem, 'Remove it, or write spread = "lognormal"')


def _check_model(key: str, model: SimulatedModel, complaint: Complaint) -> None:
    if (model.sensitivity is None) == (model.auc is None):
        remedy = "Give sensitivity for a model that says yes or no, auc for one with a ROC"
        raise complaint(f"{key}.sensitivity", "stands beside auc, or neither is given", remedy)
    if model.lane is Lane.STAT:
        raise complaint(
            f"{key}.lane", "is STAT", "A model never lifts a study among those a person called STAT: URGENT"
        )
    if model.lane in (None, Lane.ROUTINE) and not (model.points or model.points_if_flagged):
        raise complaint(f"{key}.points", "changes nothing", 'Give points, or lane = "URGENT", or both')


def _shares(scenario: Scenario) -> Iterator[tuple[str, float, float, float]]:
    """Numbers with the least and the greatest that each may be."""
    tiny = 1e-9
    yield "run.studies", scenario.run.studies, _FEWEST_STUDIES, _MOST_STUDIES
    yield "run.replications", scenario.run.replications, _FEWEST_REPLICATIONS, _MOST_REPLICATIONS
    yield "run.seed", scenario.run.seed, 0, 2**63
    yield "run.warm_up", scenario.run.warm_up, 0, 0.8
    yield from _each("kinds", scenario.kinds, {"share": (tiny, 1e9), "stat": (0, 1), "urgent": (0, 1)})
    yield from _each("diseases", scenario.diseases, {"prevalence": (tiny, 1 - tiny), "urgent": (0, 1)})
    bounds = {
        "specificity": (0.0, 1.0), "sensitivity": (0.0, 1.0), "auc": (0.5, 1 - tiny), "deviation_ratio": (0.01, 100.0),
        "failure_rate": (0.0, 1.0), "points": (0.0, _MOST_POINTS), "points_if_flagged": (0.0, _MOST_POINTS),
    }  # fmt: skip
    yield from _each("models", scenario.models, bounds)
    points = (0.0, _MOST_POINTS)
    yield from _each("disciplines", scenario.disciplines, {"points_per_minute": points, "findings_maximum": points})


def _each(
    table: str, values: Sequence[object], bounds: dict[str, tuple[float, float]]
) -> Iterator[tuple[str, float, float, float]]:
    for index, value in enumerate(values):
        for key, (low, high) in bounds.items():
            given = getattr(value, key)
            if given is not None:
                yield f"{table}[{index}].{key}", given, low, high


def _durations(scenario: Scenario) -> Iterator[tuple[str, Duration, float]]:
    """Durations with the least mean that each may have, minutes."""
    least = 1e-6
    for index, kind in enumerate(scenario.kinds):
        yield f"kinds[{index}].reading", kind.reading, least
    for index, disease in enumerate(scenario.diseases):
        if disease.reading is not None:
            yield f"diseases[{index}].reading", disease.reading, least
    for index, model in enumerate(scenario.models):
        yield f"models[{index}].time", model.time, 0.0
