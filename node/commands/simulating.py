"""`simulate`: what triage would do to waiting times, as a table, as JSON, and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from node.catalogue.scenario_file import example, read_scenario, scenario_text
from node.commands.output import print_json, progress, say, table
from node.commands.site import opened, settings_from
from node.domain.scenario import OFF, Scenario
from node.domain.time import SystemClock
from node.errors import Misconfigured
from node.triage.simulate.comparison import Comparison, GroupFigures
from node.triage.simulate.comparison import simulate as run_simulation
from node.triage.simulate.figures import CURVE, DISEASED, EVERYBODY, FIGURES, OTHERS
from node.triage.simulate.student import Estimate

_EXAMPLE = "reading-room"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the scenario comes from: one of these, or none for the example."""

    file: Path | None = None
    example: str = ""
    #: Of the node's own past.
    days: int | None = None

    @property
    def named(self) -> list[str]:
        """The options that were given."""
        given = {"--file": self.file, "--example": self.example, "--from-node": self.days}
        return [option for option, value in given.items() if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for on the command line."""

    source: Source
    replications: int | None = None
    seed: int | None = None
    plot: Path | None = None
    dry_run: bool = False


def simulate(config: Path | None, data: Path | None, asked: Asked, *, as_json: bool) -> None:
    """Simulate a scenario with and without triage, and tell what changes for whom.

    Raises:
        Misconfigured: the scenario is wrong, or two are named.
        Failed: the node saw nothing, or the picture cannot be written.
    """
    scenario, notes = _scenario(config, data, asked)
    if asked.dry_run:
        notes = [*notes, f"traffic {scenario.traffic:.2f}"]
        if as_json:
            print_json({"scenario": asdict(scenario), "traffic": scenario.traffic, "notes": notes})
        else:
            say(scenario_text(scenario, notes).rstrip("\n"))
        return
    if asked.plot is not None:
        from node.commands.plotting import check_target

        check_target(asked.plot)
    shown = nullcontext(lambda: None) if as_json else progress("replications", lambda: scenario.run.replications)
    with shown as advance:
        comparison = run_simulation(scenario, advance)
    drawn: list[str] = []
    if asked.plot is not None:
        from node.commands.plotting import draw

        drawn = [str(path) for path in draw(comparison, asked.plot)]
    if as_json:
        print_json({**told(comparison), "notes": notes, "plots": drawn})
    else:
        _show(comparison, notes, drawn)


def told(comparison: Comparison) -> dict[str, Any]:
    """A comparison as the values of JSON."""
    scenario = comparison.scenario
    return {
        "title": scenario.title,
        "traffic": scenario.traffic,
        "studies": scenario.run.studies,
        "replications": scenario.run.replications,
        "seed": scenario.run.seed,
        "disciplines": [OFF.name, *(each.name for each in scenario.disciplines)],
        "curve_shares": list(CURVE),
        "figures": [asdict(each) for each in comparison.figures],
    }


def _scenario(config: Path | None, data: Path | None, asked: Asked) -> tuple[Scenario, list[str]]:
    """Return the scenario that is meant, and notes on what in it was taken for granted."""
    source = asked.source
    notes: list[str] = []
    if len(source.named) > 1:
        raise Misconfigured(source.named[0], "", f"stands beside {source.named[1]}", "Name one scenario")
    if source.file is not None:
        scenario = read_scenario(source.file)
    elif source.days is not None:
        from node.workflow.observed import observed_scenario
        from node.workflow.policy import load_policy

        settings = settings_from(config, data)
        with opened(settings) as db:
            scenario, notes = observed_scenario(db, SystemClock().now(), load_policy(settings), source.days)
    else:
        scenario = example(source.example or _EXAMPLE)
    run = scenario.run
    if asked.replications is not None:
        run = replace(run, replications=asked.replications)
    if asked.seed is not None:
        run = replace(run, seed=asked.seed)
    return replace(scenario, run=run), notes


def _show(comparison: Comparison, notes: list[str], drawn: list[str]) -> None:
    scenario = comparison.scenario
    run = scenario.run
    say(f"{scenario.title}: traffic {scenario.traffic:.2f}, {run.replications} times {run.studies} studies")
    for note in notes:
        say(f"taken for granted  {note}")
    say("minutes of waiting, each with its interval of 95 %; the last column against Matins off, on the same studies\n")
    rows = [
        [
            each.group,
            each.discipline,
            f"{each.studies:.0f}",
            *(_plus_minus(each.waits_min[figure]) for figure in FIGURES),
            "" if each.discipline == OFF.name else _against_off(each),
        ]
        for each in sorted(comparison.figures, key=lambda each: _order(comparison, each))
    ]
    table(("patients", "order", "studies", *FIGURES, "mean against off"), rows)
    say()
    for line in sentences(comparison):
        say(line)
    for path in drawn:
        say(f"drawn in {path}")


def sentences(comparison: Comparison) -> Iterator[str]:
    """What each discipline gains, and what is lost by it."""
    for discipline in comparison.scenario.disciplines:
        yield from _sentences(comparison, discipline.name)


def _sentences(comparison: Comparison, discipline: str) -> Iterator[str]:
    figures = {each.group: each for each in comparison.figures if each.discipline == discipline}
    off = {each.group: each for each in comparison.figures if each.discipline == OFF.name}

    def changed(group: str) -> str:
        before, after = off[group].waits_min["mean"].value, figures[group].waits_min["mean"].value
        return f"{before:.1f} → {after:.1f} min ({_plus_minus(figures[group].differences_min['mean'], sign=True)})"

    for group, each in figures.items():
        difference = each.differences_min["mean"]
        verdict = "lost" if difference.low > 0 else "gained" if difference.high < 0 else "no difference seen"
        if group.endswith(", missed"):
            of = figures.get(group.removesuffix(", missed"), figures.get(DISEASED, each))
            yield f"{discipline}: {verdict}: {group} ({each.studies / of.studies:.0%}), wait {changed(group)}"
        elif group in (DISEASED, OTHERS) or group.endswith(("not flagged", "(not targeted)", "ordered ROUTINE")):
            yield f"{discipline}: {verdict}: {group} wait {changed(group)}"
    ratios = figures[EVERYBODY].ratios
    tail = [f"{figure} × {_plus_minus(ratios[figure], 2)}" for figure in ("p99", "max") if figure in ratios]
    if tail:
        yield f"{discipline}: the tail, everybody against off: {', '.join(tail)}"


def _order(comparison: Comparison, each: GroupFigures) -> int:
    """Group by group, in the order in which the groups were first told."""
    groups = list(dict.fromkeys(figures.group for figures in comparison.figures))
    return groups.index(each.group)


def _plus_minus(each: Estimate, digits: int = 1, *, sign: bool = False) -> str:
    return f"{each.value:{'+' if sign else ''}.{digits}f} ±{each.high - each.value:.{digits}f}"


def _against_off(each: GroupFigures) -> str:
    ratio = each.ratios.get("mean")
    return _plus_minus(each.differences_min["mean"], sign=True) + (f" (× {ratio.value:.2f})" if ratio else "")
