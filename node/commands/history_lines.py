"""History for people: a line a fact, a line a doubt, a line a question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DAY = 10


def fact_line(fact: dict[str, Any]) -> str:
    """One fact: its topic, what it says, by which code, since and until when, and who says so."""
    said = " ".join(part for part in (fact["value"], fact["unit"]) if part)
    parts = [f"{fact['code'].replace('_', ' ')}: {'NOT ' if fact['standing'] == 'no' else ''}{said}".rstrip()]
    if fact["coded"]:
        parts.append(fact["coded"])
    if fact["observed_at"] or fact["ended_at"]:
        until = f" until {fact['ended_at'][:_DAY]}" if fact["ended_at"] else ""
        parts.append(f"{fact['observed_at'][:_DAY]}{until}".strip())
    return f"{', '.join(parts)}  [{fact['source']}]"


def asked_line(question: dict[str, Any]) -> str:
    """One question: who was asked for what, when, and what came of it."""
    whom = f"{question['server']} {question['resource']}".rstrip()
    reason = f": {question['reason']}" if question["reason"] else ""
    at = f" at {question['asked_at'][:16].replace('T', ' ')} UTC" if question["asked_at"] else ""
    if question["state"] == "answered":
        many = f"{question['facts']} fact(s)" if question["facts"] else "nothing known"
        return f"{whom} asked{at}, {many}{reason}"
    if question["state"] in ("not asked", "waiting"):
        return f"{whom} {question['state']}{reason}"
    return f"{whom} asked{at}, {question['state']}{reason}"


def lines(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(heading, line) for everything that is told of a history."""
    for fact in told["history"]:
        yield "history", fact_line(fact)
    for fact in told["history_candidates"]:
        yield "unconfirmed", f"{fact_line(fact)} not used: {fact['doubt']}"
    for question in told["history_asked"]:
        yield "asked", asked_line(question)
