"""`rules check`: every rule, what it reads, what can answer it, and whether it keeps to its own examples."""

from __future__ import annotations

from typing import Any

from node.catalogue import finding_codes, load_rules_leniently
from node.commands.output import print_json, say, table
from node.config import Settings
from node.domain.model_card import Mode
from node.domain.rule import Rule
from node.errors import Failed
from node.triage.examples import wrong_examples
from node.triage.rules import compile_rules, digest_of
from node.triage.scrutiny import fields_of, highest_points, notes_on
from node.workflow.policy import models_of


def check_rules(settings: Settings, *, as_json: bool) -> None:
    """Read every rule, try its examples, and print it.

    Raises:
        Failed: a rule is wrong, with the file, the key and the remedy; or it says otherwise than its examples.
    """
    models, _ = models_of(settings)
    folder = settings.catalogue.rules_folder
    rules, problems = load_rules_leniently(folder, finding_codes(models))
    live = finding_codes(model for model in models if model.mode is Mode.LIVE)
    told_by = sources_of_history(settings)
    wrong = {rule.id: wrong_examples(rule) for rule in rules}
    rows = [_row(rule, notes_on(rule, live, told_by), wrong[rule.id]) for rule in rules]
    digest = digest_of(compile_rules(rules))
    highest = highest_points(rules)
    if as_json:
        print_json(
            {
                "rules": rows,
                "highest_score": highest,
                "digest": digest,
                "problems": [str(problem) for problem in problems],
            }
        )
    else:
        shown = ("rule", "state", "points", "lane", "title")
        table(shown, [[row[key] if row[key] is not None else "" for key in shown] for row in rows])
        for row in rows:
            for note in row["notes"]:
                say(f"note  {row['rule']}: {note}")
        awake = sum(row["state"] == "in force" for row in rows)
        say(f"{awake} in force, {highest:g} points at most; {digest[:12]}")
    failed = [str(problem) for problem in problems]
    failed += [
        f"{folder / rule}.toml: examples: {each}. Mend the rule, or the example"
        for rule in wrong
        for each in wrong[rule]
    ]
    if failed:
        raise Failed("; ".join(failed))


def sources_of_history(settings: Settings) -> tuple[str, ...]:
    """The names of the sections by which this node is told of patients."""
    configured = {
        "fhir": bool(settings.fhir),
        "receive.hl7": settings.receive.hl7.enabled,
    }
    return tuple(name for name, is_on in configured.items() if is_on)


def _row(rule: Rule, notes: tuple[str, ...], wrong: list[str]) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "state": "dormant" if rule.dormant else "in force",
        "version": rule.version,
        "title": rule.title,
        "because": rule.because,
        "points": rule.points,
        "highest_points": rule.highest_points,
        "lane": rule.lane.value if rule.lane else None,
        "veto": rule.veto,
        "cap": {"group": rule.cap.group, "points": rule.cap.points} if rule.cap else None,
        "when_missing": rule.when_missing.value,
        "fields": list(fields_of(rule)),
        "notes": list(notes),
        "examples": len(rule.examples),
        "examples_wrong": wrong,
        "source": rule.source,
    }
