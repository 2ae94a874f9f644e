"""The rules that this node ranks by, one file each."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from node.catalogue.toml_file import read_document, validate
from node.config.clauses import ClauseReader
from node.domain.pin import RESERVED
from node.domain.priority import Lane
from node.domain.rule import (
    FIELDS,
    MENTION,
    MENTION_OPERATORS,
    SENTENCE,
    Missing,
    Rule,
    comparisons,
    reads_findings,
)
from node.errors import Misconfigured

#: The most that one rule may add: rules stay comparable, and waiting overtakes them in foreseeable time.
MAXIMUM_POINTS = 100.0

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Then:
    __pydantic_config__ = _FORBID

    points: float = 0.0
    lane: Lane | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleFile:
    __pydantic_config__ = _FORBID

    title: str
    because: str
    source: str
    version: str
    when: dict[str, Any]
    then: _Then
    #: "skip", "flag", or { points = N }.
    when_missing: str | dict[str, float] = "skip"


_RULE: TypeAdapter[_RuleFile] = TypeAdapter(_RuleFile)


def load_rules(rules_folder: Path, known: Collection[tuple[str, str]]) -> tuple[Rule, ...]:
    """Read every rule in `rules_folder`, by name.

    `known`: what models of this node can find, from `finding_codes`.

    Raises:
        Misconfigured: the first rule that is wrong.
    """
    rules, problems = load_rules_leniently(rules_folder, known)
    if problems:
        raise problems[0]
    return rules


def load_rules_leniently(
    rules_folder: Path, known: Collection[tuple[str, str]]
) -> tuple[tuple[Rule, ...], tuple[Misconfigured, ...]]:
    """As `load_rules`, but return the rules that could be read and the problems of the others."""
    rules: list[Rule] = []
    problems: list[Misconfigured] = []
    for file in sorted(path for path in rules_folder.glob("*.toml") if path.name[0] not in "._"):
        try:
            rules.append(read_rule(file, known))
        except Misconfigured as problem:
            problems.append(problem)
    return tuple(rules), tuple(problems)


def read_rule(file: Path, known: Collection[tuple[str, str]]) -> Rule:
    """Read and check one rule.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    if not _ID.fullmatch(file.stem) or file.stem in RESERVED:
        raise Misconfigured(file, "", "is no name for a rule", "Use small letters, digits and dashes: what it notices")
    written = validate(_RULE, read_document(file), file)
    for key in ("title", "because", "source", "version"):
        if not getattr(written, key).strip():
            raise Misconfigured(file, key, "is empty", "Say it: the reader of the worklist relies on it")
    missing, points_when_missing = _when_missing(written.when_missing, file)
    rule = Rule(
        id=file.stem,
        title=written.title.strip(),
        because=" ".join(written.because.split()),
        when=ClauseReader(file, FIELDS, known).read(written.when),
        points=written.then.points,
        lane=written.then.lane,
        when_missing=missing,
        points_when_missing=points_when_missing,
        source=" ".join(written.source.split()),
        version=written.version,
    )
    _check_worth(rule, file)
    _check_findings(rule, file)
    _check_because(rule, file)
    return rule


def _when_missing(written: str | dict[str, float], file: Path) -> tuple[Missing, float]:
    if written in (Missing.SKIP, Missing.FLAG):
        return Missing(str(written)), 0.0
    if isinstance(written, dict) and written.keys() == {"points"}:
        return Missing.POINTS, written["points"]
    raise Misconfigured(file, "when_missing", f"{written!r} is unknown", 'Give "skip", "flag" or { points = 5 }')


def _check_worth(rule: Rule, file: Path) -> None:
    for key, points in (("then.points", rule.points), ("when_missing.points", rule.points_when_missing)):
        if not (isfinite(points) and 0 <= points <= MAXIMUM_POINTS):
            remedy = f"Give 0 to {MAXIMUM_POINTS:g}: a rule raises a study, or leaves it where it is"
            raise Misconfigured(file, key, f"{points} points", remedy)
    if rule.points == 0 and rule.lane in (None, Lane.ROUTINE):
        raise Misconfigured(file, "then", "changes nothing", "Give points, or a lane above ROUTINE, or both")


def _check_findings(rule: Rule, file: Path) -> None:
    """A model alone never lowers a study, nor lifts one among those a person called STAT."""
    if not reads_findings(rule):
        return
    if rule.lane is Lane.STAT:
        problem = "STAT, by a rule that asks a model"
        raise Misconfigured(file, "then.lane", problem, "Give URGENT and points: STAT is a person's word")
    if rule.when_missing is Missing.POINTS:
        problem = "points while a model's answer is missing would be lost when it comes"
        raise Misconfigured(file, "when_missing", problem, 'Give "skip" or "flag"')


def _check_because(rule: Rule, file: Path) -> None:
    compared = {comparison.field for comparison in comparisons(rule.when)}
    if any(comparison.operator in MENTION_OPERATORS for comparison in comparisons(rule.when)):
        compared.add(MENTION)
    if reads_findings(rule):
        compared.add(SENTENCE)
    for name in _PLACEHOLDER.findall(rule.because):
        if name not in compared:
            problem = f'"{{{name}}}" is not a field that this rule looks at'
            known = name in FIELDS
            remedy = (
                f"Look at {name} in `when`, or leave it out" if known else f"Choose from {', '.join(sorted(compared))}"
            )
            raise Misconfigured(file, "because", problem, remedy)
