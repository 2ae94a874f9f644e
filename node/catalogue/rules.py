"""The rules that this node ranks by, one file each."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from node.catalogue.examples import read_example
from node.catalogue.toml_file import read_document, validate
from node.catalogue.worth import check_worth
from node.config.clauses import ClauseReader
from node.config.subjects import is_code
from node.domain.pin import RESERVED
from node.domain.priority import Lane
from node.domain.rule import (
    FIELDS,
    MENTION,
    MENTION_OPERATORS,
    SENTENCE,
    Cap,
    Missing,
    Rule,
    Weight,
    comparisons,
    reads_findings,
)
from node.errors import Misconfigured

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Then:
    __pydantic_config__ = _FORBID

    points: float = 0.0
    points_per_probability: Weight | None = None
    cap: Cap | None = None
    lane: Lane | None = None
    veto: bool = False


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
    #: Codes that it needs a model for; while none of this node finds them, it is dormant.
    requires: tuple[str, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()


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
    for file in rule_files(rules_folder):
        try:
            rules.append(read_rule(file, known))
        except Misconfigured as problem:
            problems.append(problem)
    return tuple(rules), (*problems, *disagreements(rules_folder, rules))


def rule_files(rules_folder: Path) -> list[Path]:
    """Every file that is a rule, by name.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in rules_folder.glob("*.toml") if path.name[0] not in "._")


def disagreements(rules_folder: Path, rules: Sequence[Rule]) -> tuple[Misconfigured, ...]:
    """What is wrong between rules that are right by themselves: two caps of one group, of which the greater holds."""
    caps: dict[str, tuple[str, float]] = {}
    problems = []
    for rule in sorted(rules, key=lambda rule: rule.id):
        if rule.cap is not None:
            first, points = caps.setdefault(rule.cap.group, (rule.id, rule.cap.points))
            if points != rule.cap.points:
                problem = f"{rule.cap.points:g} points for “{rule.cap.group}”, and {points:g} in {first}.toml"
                file = rules_folder / f"{rule.id}.toml"
                problems.append(Misconfigured(file, "then.cap.points", problem, "Give a group the same cap everywhere"))
    return tuple(problems)


def read_rule(file: Path, known: Collection[tuple[str, str]]) -> Rule:
    """Read and check one rule.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    if not _ID.fullmatch(file.stem) or file.stem in RESERVED:
        raise Misconfigured(file, "", "is no name for a rule", "Use small letters, digits and dashes: what it notices")
    return rule_of(file, read_document(file), known)


def rule_of(file: Path, document: dict[str, Any], known: Collection[tuple[str, str]]) -> Rule:
    """As `read_rule`, of what has been read from `file`.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    written = validate(_RULE, document, file)
    for key in ("title", "because", "source", "version"):
        if not getattr(written, key).strip():
            raise Misconfigured(file, key, "is empty", "Say it: the reader of the worklist relies on it")
    for index, code in enumerate(written.requires):
        if not is_code(code) or code.endswith("*"):
            raise Misconfigured(file, f"requires[{index}]", f'"{code}" is no code', 'Write it as "SCT:50960005"')
    missing, points_when_missing = _when_missing(written.when_missing, file)
    rule = Rule(
        id=file.stem,
        title=written.title.strip(),
        because=" ".join(written.because.split()),
        when=ClauseReader(file, FIELDS, known, written.requires).read(written.when),
        points=written.then.points,
        weight=written.then.points_per_probability,
        cap=written.then.cap,
        lane=written.then.lane,
        veto=written.then.veto,
        when_missing=missing,
        points_when_missing=points_when_missing,
        source=" ".join(written.source.split()),
        version=written.version,
        examples=tuple(read_example(each, f"examples[{i}]", file) for i, each in enumerate(written.examples)),
    )
    check_worth(rule, file, known, written.requires)
    _check_because(rule, file)
    return replace(rule, dormant=_dormant(rule, known, written.requires))


def _dormant(rule: Rule, known: Collection[tuple[str, str]], requires: Sequence[str]) -> tuple[str, ...]:
    """What it needs a model for, and this node has none."""
    asked = [(each.model, each.code) for each in comparisons(rule.when) if FIELDS[each.field].is_finding]
    if rule.weight is not None:
        asked.append((rule.weight.model, rule.weight.code))
    found = {*known, *(("", code) for _, code in known)}
    missing = {code for model, code in asked if (model, code) not in found}
    return tuple(sorted(missing | {code for code in requires if ("", code) not in found}))


def _when_missing(written: str | dict[str, float], file: Path) -> tuple[Missing, float]:
    if written in (Missing.SKIP, Missing.FLAG):
        return Missing(str(written)), 0.0
    if isinstance(written, dict) and written.keys() == {"points"}:
        return Missing.POINTS, written["points"]
    raise Misconfigured(file, "when_missing", f"{written!r} is unknown", 'Give "skip", "flag" or { points = 5 }')


def _check_because(rule: Rule, file: Path) -> None:
    compared = {comparison.field for comparison in comparisons(rule.when)}
    if rule.weight is not None:
        compared.add("finding.probability")
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
