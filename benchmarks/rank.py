"""What ranking costs: many waiting studies against many rules, in memory and from the store, and one new fact.

    .venv/bin/python benchmarks/rank.py [--studies 10000] [--rules 200] [--rounds 3] [--write]

Rules are such as the shipped ones (an examination, and a word, a code, a number, a finding or a change), studies such
as a night's: a request, a few told facts, two models. One process, one thread; CPU seconds, so that whatever else the
machine does counts for nothing. A rule's cost is that of `rank` over studies and rules, reading of the facts included.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from node.catalogue.rules import rule_of  # noqa: E402
from node.config import Settings  # noqa: E402
from node.domain.finding import MILLILITRE, VOLUME, Code, Finding, Measurement  # noqa: E402
from node.domain.history import Fact  # noqa: E402
from node.domain.model_card import Mode  # noqa: E402
from node.domain.patient import Patient  # noqa: E402
from node.domain.study import Order  # noqa: E402
from node.domain.time import Instant  # noqa: E402
from node.store import findings, history, reading_list, studies  # noqa: E402
from node.store.database import Database, open_database  # noqa: E402
from node.triage.facts import RankFacts  # noqa: E402
from node.triage.rank import rank  # noqa: E402
from node.triage.rules import CompiledRule, compile_rules  # noqa: E402
from node.workflow import ranking  # noqa: E402
from node.workflow.policy import Policy  # noqa: E402
from node.workflow.rank_facts import facts_of  # noqa: E402

_RESULT = ROOT / "benchmarks" / "results" / "rank.md"
#: CPU seconds for all studies in memory, for their rows, and for one new fact; µs a rule.
_MOST_S, _MOST_WRITE_S, _MOST_ONE_S, _MOST_RULE_US = 3.0, 1.0, 0.010, 1.0
_EVENING = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
_MODELS = ("bleed", "chest")
_CODES = tuple(f"SCT:{number}" for number in (50960005, 302047008, 12738006, 233604007, 36118008, 274100004))
_WORDS = ("headache", "cancer", "trauma", "dyspnea", "sepsis", "stroke", "fever", "syncope", "fracture", "melena")
_PARTS = ("HEAD", "CHEST", "ABDOMEN", "PELVIS", "KNEE", "SPINE")


def made_rules(count: int) -> tuple[CompiledRule, ...]:
    """Rules as people write them, each about one kind of examination."""
    found = {(model, code) for model in _MODELS for code in _CODES}
    made = []
    for number in range(count):
        word, part, code = (kinds[number % len(kinds)] for kinds in (_WORDS, _PARTS, _CODES))
        about = [
            {"field": "modality", "op": "one_of", "value": [("CT", "MR", "DX")[number % 3]]},
            {"field": "body_part", "op": "one_of", "value": [part]},
        ]
        asked = (
            {"field": "history.any", "op": "has_any", "value": [word, f"{word} {number}", f"severe {word}*"]},
            {"field": "finding.probability", "op": ">=", "value": 0.5 + number / 1000, "code": code},
            {"field": "history.problem", "op": "coded", "value": [f"I10:C{number % 97}*"], "within_years": 5},
            {"field": "finding.volume_ml", "op": ">", "value": float(number), "code": code, "model": "bleed"},
            {"field": "history.observation", "op": ">", "value": 500, "code": "LN:48065-7", "unit": "ng/mL"},
            {"field": "patient_age_years", "op": ">=", "value": 50 + number % 40},
        )[number % 6]
        document = {
            "title": "T", "because": "B", "source": "S", "version": "1", "when": {"all": [*about, asked]},
            "then": {"points": 1 + number % 30},
        }  # fmt: skip
        made.append(rule_of(Path(f"rule-{number:03}.toml"), document, found))
    return compile_rules(made)


def fill(db: Database, count: int) -> None:
    """Put studies into the store as a night leaves them: closed, read by two models, with history."""
    chance = random.Random(1)
    codes = {code: Code(code.partition(":")[2], "SCT", code) for code in _CODES}
    with db.transaction():
        for number in range(count):
            _fill_one(db, chance, codes, number)


def _fill_one(db: Database, chance: random.Random, codes: dict[str, Code], number: int) -> None:
    uid, patient = f"1.2.{number}", Patient(patient_id=f"P{number}", issuer="A", birth_date="19500101", sex="F")
    now = Instant(_EVENING + timedelta(seconds=4 * number), 1000.0 + 4 * number, "boot")
    order = Order(study_description="Examination", patient_age_years=float(chance.randrange(100)),
                  requested_priority=chance.choice(["", "", "", "HIGH"]))  # fmt: skip
    modality, part = chance.choice(["CT", "MR", "DX"]), chance.choice(_PARTS)
    studies.touch(db, now, uid, reopen=False)
    studies.record_identity(db, uid, patient, order, modality)
    studies.record_closing(db, now, uid, "closed", revision=1)
    for image in range(3):
        db.execute(
            "INSERT INTO instance (study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,"
            " transfer_syntax_uid, digest, size, path, source, received_at, image, modality, description)"
            " VALUES (?, ?, ?, '', '', ?, 1, ?, '', '', 1, ?, ?)",
            (uid, f"{uid}.1", f"{uid}.1.{image}", f"{uid}{image}", f"{uid}.{image}", modality,
             json.dumps({"body_part_examined": part})),
        )  # fmt: skip
    told = [
        Fact(code="reason_for_request", value=f"Acute {chance.choice(_WORDS)}, no fever", source="dataset"),
        Fact(code="problem", value="a problem", coded=f"I10:C{chance.randrange(97)}.1", source="fhir"),
        Fact(code="problem", value="another", coded="I10:I10", source="fhir", observed_at="2024-05-01"),
        Fact(code="observation", value="300", unit="ng/mL", coded="LN:48065-7", source="fhir"),
    ]
    history.record(db, now, patient, told, study=uid)
    for model in _MODELS:
        seen = [
            Finding(
                code=codes[code],
                probability=chance.random(),
                measurements=(Measurement(quantity=VOLUME, value=100.0 * chance.random(), unit=MILLILITRE),),
            )
            for code in chance.sample(_CODES, 2)
        ]
        made = db.execute(
            "INSERT INTO outcome (study_instance_uid, revision, model, mode, model_digest, card_digest, state,"
            " created_at) VALUES (?, 1, ?, ?, '', '', 'result', '')",
            (uid, model, Mode.LIVE),
        )
        assert made.lastrowid is not None
        findings.record(db, made.lastrowid, seen)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def in_memory(facts: Sequence[RankFacts], rules: Sequence[CompiledRule]) -> None:
    """Rank every study by every rule."""
    for each in facts:
        rank(each, rules, points_per_minute=0.1)


def one_fact(db: Database, now: Instant, policy: Policy, number: int) -> None:
    """A source tells something new of one patient, and the study moves."""
    fact = Fact(code="medication", value=f"drug {time.process_time_ns()}", source="fhir")
    with db.transaction():
        history.replace_told(db, now, Patient(patient_id=f"P{number}", issuer="A"), [fact], origin="fhir A Medication")
        ranking.rerank(db, now, policy, f"1.2.{number}")


def measured(count: int, rule_count: int, rounds: int, folder: Path) -> dict[str, float]:
    """CPU seconds of every part, the median of the rounds."""
    rules = made_rules(rule_count)
    db = open_database(folder, "benchmark")
    fill(db, count)
    now = Instant(_EVENING + timedelta(hours=12), 1000.0 + 43_200, "boot")
    empty = Policy(Settings(), (), ())
    policy = replace(empty, rules=rules)
    uids = reading_list.unread(db)
    loaded: list[RankFacts] = []
    took: dict[str, list[float]] = {}

    def note(what: str, work: Callable[[], object], calls: int = 1) -> None:
        took.setdefault(what, []).append(cpu_s(work) / calls)

    for _ in range(rounds):
        loaded.clear()
        note("load", lambda: loaded.extend(facts_of(db, studies.some(db, uids)).values()))
        note("rank", lambda: in_memory(loaded, rules))
        ranking.rerank_all(db, now, empty)
        note("all anew", lambda: ranking.rerank_all(db, now, policy))
        note("all anew, nothing changed", lambda: ranking.rerank_all(db, now, policy))
        note("write", partial(_write, db, list(reading_list.places(db, uids).values())))
        note("one fact", lambda: [one_fact(db, now, policy, number) for number in range(0, count, count // 50)], 50)
    db.close()
    return {what: statistics.median(seconds) for what, seconds in took.items()}


def _write(db: Database, places: list[reading_list.Place]) -> None:
    with db.transaction():
        reading_list.record_ranks(db, places)


def main() -> int:
    """Measure, print, and with --write keep the table; 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="Keep the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matins-rank-") as folder:
        found = measured(given.studies, given.rules, given.rounds, Path(folder) / "var")
    share = given.studies / 10_000 * given.rules / 200
    rule_us = found["rank"] / given.studies / given.rules * 1e6
    rows = [
        ("rank, facts in memory, s", found["rank"], _MOST_S * share),
        ("a rule, µs", rule_us, _MOST_RULE_US),
        ("write every place, s", found["write"], _MOST_WRITE_S * share),
        ("one new fact, stored and its study ranked anew, ms", 1e3 * found["one fact"], 1e3 * _MOST_ONE_S),
        ("read the facts of all, s", found["load"], None),
        ("the whole list anew after new rules, from the store, s", found["all anew"], None),
        ("the same where nothing changes, s", found["all anew, nothing changed"], None),
    ]
    of = (
        f"{given.studies} waiting studies, {given.rules} rules, two models and four facts each;"
        f" median of {given.rounds} rounds; CPU time of one thread."
    )
    lines = [
        "# Ranking",
        "",
        of,
        "",
        "| what | CPU | bound |",
        "|---|--:|--:|",
        *(f"| {what} | {value:.3g} | {f'{bound:g}' if bound is not None else '–'} |" for what, value, bound in rows),
        "",
    ]
    print("\n".join(lines))
    if given.write:
        _RESULT.write_text("\n".join(lines))
    return int(any(bound is not None and value > bound for _, value, bound in rows))


if __name__ == "__main__":
    sys.exit(main())
