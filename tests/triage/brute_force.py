"""The worklist as plain Python makes it: no closures, no index, no code of `node.triage`.

It reads rule files with `tomllib` and facts as they are given or as the tables hold them, asks every rule of every
study in the most naive way, and sorts. Slow on purpose: it is what the product is compared with.

    ranked(studies_in(file), rules_in(folder), findable={("brain-t1", "SCT:12738006")})
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import tomllib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

LANES = ("STAT", "URGENT", "ROUTINE")
ORDERED = {"STAT": "STAT", "HIGH": "URGENT"}
#: What a source tells of may be more than it names.
LISTS = {"problem", "medication", "observation", "procedure", "report", "allergy", "medical_alert"}
DATA_SET = {
    "admitting_diagnosis", "additional_history", "medical_alert", "allergy", "pregnancy_status", "smoking_status",
    "reason_for_request",
}  # fmt: skip
#: finding.… → quantity, unit, derivation; and of whole segments (False) or lesions (True) alone.
SIZES: dict[str, tuple[str, str, str | None, bool | None]] = {
    "volume_ml": ("SCT:118565006", "UCUM:mL", None, False),
    "lesion_volume_ml": ("SCT:118565006", "UCUM:mL", None, True),
    "diameter_mm": ("SCT:81827009", "UCUM:mm", None, None),
    "mean_hu": ("DCM:112031", "UCUM:[hnsf'U]", "SCT:373098007", None),
}
QUANTITIES = {"": None, "volume": ("SCT:118565006", "mL"), "diameter": ("SCT:81827009", "mm")}
#: Units in which laboratory values may stand, as multiples of ng/mL; others cannot be compared with these.
NANOGRAM = {"ng/mL": Fraction(1), "ug/L": Fraction(1), "pg/mL": Fraction(1, 1000), "ug/mL": Fraction(1000)}
DENIALS = (
    ["no"], ["nil"], ["without"], ["denies"], ["denied"], ["denying"], ["negative", "for"], ["free", "of"],
    ["free", "from"], ["absence", "of"], ["never", "had"],
)  # fmt: skip
FILLERS = {
    *("any", "a", "an", "the", "of", "for", "or", "and", "known", "prior", "previous", "past", "personal", "family"),
    *("clinical", "new", "acute", "current", "active", "recent", "focal", "history", "hx", "evidence", "sign", "signs"),
    *("symptom", "symptoms", "suspicion", "suggestion", "indication"),
}


@dataclass
class Raw:
    """One study as it lies before anybody has thought about it."""

    uid: str
    arrived: datetime
    #: Seconds on the scale of waiting.
    queued_s: float
    priority: str = ""
    age: float | None = None
    sex: str = ""
    description: str = ""
    modalities: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    #: {code, value, unit, coded, standing, observed_at, ended_at}
    history: list[dict[str, Any]] = field(default_factory=list)
    #: {model, mode, findings: [{code, probability, present, lesion_number, measurements: [...]}]}
    results: list[dict[str, Any]] = field(default_factory=list)
    #: {model, code, quantity, unit, verdict, ratio, before, after, days, doubling_days}
    changes: list[dict[str, Any]] = field(default_factory=list)
    #: (lane or "", seconds)
    pin: tuple[str, float] | None = None
    prior: bool = False


@dataclass
class Placed:
    """Where it stands."""

    uid: str
    lane: str
    score: float
    #: Rule → points.
    reasons: dict[str, float]
    key: tuple[Any, ...]


def ranked(
    studies: Iterable[Raw],
    rules: dict[str, dict[str, Any]],
    *,
    findable: set[tuple[str, str]],
    points_per_minute: float = 0.1,
    findings_maximum: float = 100.0,
) -> list[Placed]:
    """The studies, the one to read first on top."""
    awake = {name: rule for name, rule in rules.items() if is_awake(rule, findable)}
    placed = [place(study, awake, points_per_minute, findings_maximum) for study in studies]
    return sorted(placed, key=lambda each: each.key)


def rules_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Every rule file of a folder, as it is written."""
    return {file.stem: tomllib.loads(file.read_text()) for file in sorted(folder.glob("*.toml"))}


# ------------------------------------------------------------------------------------------------------- one study


def place(study: Raw, rules: dict[str, dict[str, Any]], points_per_minute: float, findings_maximum: float) -> Placed:
    """Ask every rule of one study."""
    said, vetoed, by_people, by_models = {}, False, ["ROUTINE"], ["ROUTINE"]
    if not study.prior:
        for name, rule in rules.items():
            truth = holds(rule["when"], study)
            points = worth(rule, truth, study)
            if points is None:
                continue
            said[name] = points
            lane = rule["then"].get("lane", "ROUTINE") if truth else "ROUTINE"
            (by_models if asks_models(rule) else by_people).append(lane)
            vetoed = vetoed or bool(truth and rule["then"].get("veto"))
        apply_caps(said, rules)
    human = "ROUTINE" if study.prior else ORDERED.get(study.priority.strip().upper(), "ROUTINE")
    if study.pin is not None and study.pin[0]:
        human = study.pin[0]
    first = study.pin is not None and not study.pin[0]
    lane = min([human, *by_people], key=LANES.index)
    if lane == "ROUTINE" and min(by_models, key=LANES.index) != "ROUTINE":
        lane = "URGENT"
    last = vetoed and human != "STAT" and study.pin is None
    lane = human if study.pin is not None and study.pin[0] else "ROUTINE" if last else lane
    models = sum((Fraction(points) for name, points in said.items() if asks_models(rules[name])), Fraction(0))
    others = sum((Fraction(points) for name, points in said.items() if not asks_models(rules[name])), Fraction(0))
    ceiling = 0.0 if lane == "STAT" and human != "STAT" else findings_maximum
    by_findings = min(float(models), ceiling)
    score = float(others + Fraction(by_findings) + (Fraction(findings_maximum) if human != "ROUTINE" else 0))
    if first:
        assert study.pin is not None
        order: tuple[Any, ...] = (0, study.pin[1] / 60.0)
    else:
        order = (4 if last else 1 + LANES.index(lane), -(score - points_per_minute * (study.queued_s / 60.0)))
    return Placed(study.uid, lane, score, said, (*order, study.queued_s, study.uid))


def worth(rule: dict[str, Any], truth: bool | None, study: Raw) -> float | None:
    """Points of a rule that speaks; `None` of one that says nothing."""
    then = rule["then"]
    if truth:
        points = float(then.get("points", 0.0))
        weight = then.get("points_per_probability")
        if weight:
            seen = probabilities(weight.get("model", ""), weight["code"], study)
            points = round(points + weight["points"] * max(seen, default=0.0), 2)
        return points
    missing = rule.get("when_missing", "skip")
    if truth is None and missing != "skip":
        return float(missing["points"]) if isinstance(missing, dict) else 0.0
    return None


def apply_caps(said: dict[str, float], rules: dict[str, dict[str, Any]]) -> None:
    """Members of a group add no more than its cap; of models first something is taken."""
    groups: dict[str, float] = {}
    for rule in rules.values():
        written = rule["then"].get("cap")
        if written:
            groups[written["group"]] = max(groups.get(written["group"], 0.0), float(written["points"]))
    for group, cap in groups.items():
        left = cap
        members = [name for name in said if (rules[name]["then"].get("cap") or {}).get("group") == group]
        members.sort(key=lambda name: (asks_models(rules[name]), -said[name], name))
        for name in members:
            said[name] = min(said[name], left)
            left = max(0.0, float(Fraction(left) - Fraction(said[name])))


def is_awake(rule: dict[str, Any], findable: set[tuple[str, str]]) -> bool:
    """Whether some model finds all that it asks for."""
    known = findable | {("", code) for _, code in findable}
    asked = [(each.get("model", ""), each["code"]) for each in compared(rule["when"]) if is_finding(each["field"])]
    weight = rule["then"].get("points_per_probability")
    asked += [(weight.get("model", ""), weight["code"])] if weight else []
    return all(each in known for each in asked) and all(("", code) in known for code in rule.get("requires", []))


def asks_models(rule: dict[str, Any]) -> bool:
    """Whether a finding, or its change, has a say in it."""
    weighted = "points_per_probability" in rule["then"]
    return weighted or any(is_finding(each["field"]) for each in compared(rule["when"]))


def is_finding(name: str) -> bool:
    return name.startswith(("finding.", "change."))


def compared(clause: dict[str, Any]) -> list[dict[str, Any]]:
    """Every comparison of a clause."""
    if "field" in clause:
        return [clause]
    if "not" in clause:
        return compared(clause["not"])
    return [each for inner in clause.get("all", clause.get("any", [])) for each in compared(inner)]


# ------------------------------------------------------------------------------------------------------ what holds


def holds(clause: dict[str, Any], study: Raw) -> bool | None:
    """True, false, or `None` where it is not known."""
    if "not" in clause:
        inner = holds(clause["not"], study)
        return None if inner is None else not inner
    if "all" in clause:
        parts = [holds(each, study) for each in clause["all"]]
        return False if False in parts else None if None in parts else True
    if "any" in clause:
        parts = [holds(each, study) for each in clause["any"]]
        return True if True in parts else None if None in parts else False
    name = clause["field"]
    if name.startswith("history."):
        return told(clause, study)
    if name.startswith("change."):
        return has_changed(clause, study)
    found = values(clause, study)
    if clause["op"] == "known":
        return bool(found) == clause["value"]
    return None if not found else any(test(clause, value) for value in found)


def values(clause: dict[str, Any], study: Raw) -> list[Any]:
    """What a study holds of a plain field or a finding."""
    name = clause["field"]
    local = study.arrived.astimezone()
    plain: dict[str, list[Any]] = {
        "modality": list(study.modalities),
        "body_part": list(study.parts),
        "study_description": [study.description] if study.description.strip() else [],
        "patient_sex": [study.sex] if study.sex else [],
        "patient_age_years": [] if study.age is None else [study.age],
        "requested_priority": [study.priority] if study.priority.strip() else [],
        "hour_of_day": [local.hour],
        "day_of_week": [local.strftime("%A").upper()],
    }
    if name in plain:
        return plain[name]
    if name == "patient_location":
        facts = [each for each in study.history if each["code"] == "patient_location" and each["standing"] == "yes"]
        return [each["value"] for each in facts if each["value"].strip() and ended(each, study) is not True]
    model, code = clause.get("model", ""), clause["code"]
    if name == "finding.present":
        if not found(model, code, study) and not (model and any(answered(each, model) for each in study.results)):
            return []
        return [any(each.get("present") is not False for each in found(model, code, study))]
    if name == "finding.probability":
        return probabilities(model, code, study)
    quantity, unit, derivation, of_lesions = SIZES[name.removeprefix("finding.")]
    return [
        one["value"]
        for each in found(model, code, study)
        for one in each.get("measurements") or []
        if coded(one["quantity"]) == quantity
        and coded(one["unit"]) == unit
        and (coded(one["derivation"]) if one.get("derivation") else None) == derivation
        and (of_lesions is None or bool(each.get("lesion_number", 0)) is of_lesions)
        and math.isfinite(one["value"])
    ]


def answered(result: dict[str, Any], model: str) -> bool:
    return result["mode"] == "live" and model in ("", result["model"])


def found(model: str, code: str, study: Raw) -> list[dict[str, Any]]:
    live = [each for each in study.results if answered(each, model)]
    return [each for result in live for each in result["findings"] if coded(each["code"]) == code]


def probabilities(model: str, code: str, study: Raw) -> list[float]:
    seen = [each.get("probability") for each in found(model, code, study)]
    return [each for each in seen if each is not None and math.isfinite(each)]


def coded(code: dict[str, Any]) -> str:
    return f"{code['scheme']}:{code['value']}"


def test(clause: dict[str, Any], value: Any) -> bool:
    """One value against what the comparison wants."""
    wanted, op = clause["value"], clause["op"]
    if op in ("<", "<=", ">", ">="):
        return {"<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted}[op]
    if op == "has":
        return mentions(value, wanted)
    if op == "has_any":
        return any(mentions(value, each) for each in wanted)
    if op == "matches":
        return re.search(wanted, value, re.IGNORECASE) is not None
    if op == "one_of":
        return value.strip().lower() in [each.strip().lower() for each in wanted]
    if isinstance(wanted, str):
        return bool(value.strip().lower() == wanted.strip().lower())
    return bool(value == wanted)


def mentions(text: str, phrase: str) -> bool:
    """Word for word, but not where nothing but fillers stands between it and a denial."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    wanted = phrase.lower().split()

    def fits(word: str, want: str) -> bool:
        return word.startswith(want[:-1]) if want.endswith("*") else word == want

    for start in range(len(words) - len(wanted) + 1):
        if all(fits(words[start + step], want) for step, want in enumerate(wanted)):
            before = words[:start]
            while True:
                if any(before[-len(denial) :] == denial for denial in DENIALS):
                    break
                if not before or before[-1] not in FILLERS:
                    return True
                before = before[:-1]
    return False


# --------------------------------------------------------------------------------------------------------- history


def told(clause: dict[str, Any], study: Raw) -> bool | None:
    """What is told of a topic, as the study found it on arrival."""
    topic = clause["field"].removeprefix("history.")
    facts = [each for each in study.history if each["code"] == topic or (topic == "any" and each["code"] in DATA_SET)]
    facts = [each for each in facts if each["value"].strip() or each["coded"]]
    if clause["op"] == "known":
        return bool(facts) == clause["value"]
    codes = clause.get("code") or []
    codes = [codes] if isinstance(codes, str) else codes
    if codes:
        facts = [each for each in facts if bears(each["coded"], codes)]
    is_number = clause["op"] in ("<", "<=", ">", ">=") or (
        clause["op"] == "is" and isinstance(clause["value"], int | float) and not isinstance(clause["value"], bool)
    )
    if is_number:
        # A month or year stands for its last day.
        dated = sorted((days[::-1], each["observed_at"]) for each in facts if (days := span(each["observed_at"])))
        facts = [each for each in facts if not span(each["observed_at"]) or each["observed_at"] == dated[-1][1]]
    said: bool | None = None
    doubtful = False
    for fact in facts:
        met = meets(clause, fact, is_number)
        if fact["standing"] == "no":
            if met or re.match(r"(no|none|nil)\b", fact["value"].strip(), re.IGNORECASE):
                said = False
            continue
        if met is False and not is_number and fact["code"] in LISTS:
            continue
        said = False
        counts = None if met is False else counted(clause, fact, study)
        if met and counts:
            return True
        doubtful = doubtful or (met is not False and counts is not False)
    return None if doubtful else said


def meets(clause: dict[str, Any], fact: dict[str, Any], is_number: bool) -> bool | None:
    if is_number:
        try:
            number = Fraction(fact["value"].strip())
        except ValueError:
            return None
        unit, wanted = fact["unit"], clause["unit"]
        if unit != wanted:
            if unit not in NANOGRAM or wanted not in NANOGRAM:
                return None
            number = number * NANOGRAM[unit] / NANOGRAM[wanted]
        return test(clause, float(number))
    if clause["op"] == "coded":
        return bool(fact["coded"]) and bears(fact["coded"], clause["value"])
    return bool(fact["value"].strip()) and test(clause, fact["value"])


def bears(code: str, patterns: list[str]) -> bool:
    def plain(text: str) -> str:
        scheme, _, value = text.strip().upper().partition(":")
        scheme = "I10" if scheme in ("I10C", "ICD10", "ICD-10") else scheme
        return f"{scheme}:{value.replace('.', '') if scheme == 'I10' else value}"

    for pattern in patterns:
        wanted = plain(pattern.rstrip("*"))
        if plain(code) == wanted or (pattern.endswith("*") and plain(code).startswith(wanted)):
            return True
    return False


def counted(clause: dict[str, Any], fact: dict[str, Any], study: Raw) -> bool | None:
    """Whether it is of the age asked for, and lasts."""
    truths: list[bool | None] = []
    if not clause.get("including_ended", False):
        over = ended(fact, study)
        truths.append(None if over is None else not over)
    days = span(fact["observed_at"])
    for key in ("within_years", "older_than_years"):
        if key not in clause:
            continue
        if days is None:
            truths.append(None)
            continue
        inside = [years(day, study.arrived.date()) <= clause[key] for day in days]
        truth = inside[0] if inside[0] == inside[1] else None
        truths.append(truth if truth is None or key == "within_years" else not truth)
    return False if False in truths else None if None in truths else True


def ended(fact: dict[str, Any], study: Raw) -> bool | None:
    if not fact["ended_at"]:
        return False
    days = span(fact["ended_at"])
    if days is None:
        return None
    before = [day < study.arrived.date() for day in days]
    return before[0] if before[0] == before[1] else None


def span(said: str) -> tuple[date, date] | None:
    """First and last day that a date means."""
    if not said:
        return None
    if re.fullmatch(r"\d{4}", said):
        return date(int(said), 1, 1), date(int(said), 12, 31)
    if re.fullmatch(r"\d{4}-\d{2}", said):
        year, month = int(said[:4]), int(said[5:])
        return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return (date.fromisoformat(said[:10]),) * 2


def years(day: date, today: date) -> float:
    """Whole years on birthdays, and the days since the last as parts of 366."""
    if day > today:
        return -years(today, day)
    full = 0
    while birthday(day, full + 1) <= today:
        full += 1
    return full + (today - birthday(day, full)).days / 366


def birthday(day: date, after: int) -> date:
    try:
        return day.replace(year=day.year + after)
    except ValueError:
        return date(day.year + after, 3, 1)


# --------------------------------------------------------------------------------------------------------- change


def has_changed(clause: dict[str, Any], study: Raw) -> bool | None:
    """Whether a finding has changed since a prior; what cannot be compared leaves it open."""
    shadows = {each["model"] for each in study.results if each["mode"] != "live"}
    asked = QUANTITIES[clause.get("quantity", "")]
    said: bool | None = None
    doubtful = False
    for each in study.changes:
        if each["model"] in shadows or clause.get("model", "") not in ("", each["model"]):
            continue
        if coded(each["code"]) != clause["code"]:
            continue
        if asked is not None and (coded(each["quantity"]), each["unit"]["value"]) != asked:
            continue
        value = change_of(clause["field"].removeprefix("change."), each)
        if each["verdict"] == "not comparable":
            doubtful = True
        elif value is not None:
            if test(clause, value):
                return True
            said = False
    return None if doubtful else said


def change_of(name: str, change: dict[str, Any]) -> Any:
    if name == "verdict":
        return change["verdict"].upper()
    doubles = change.get("doubling_days")
    if name == "doubling_days" and (change["verdict"] in ("stable", "shrunk", "resolved") or (doubles or 0) < 0):
        return math.inf
    return change.get(name)


# ------------------------------------------------------------------------------------------------------ the tables


def studies_in(file: Path) -> list[Raw]:
    """Every study of a database that nobody has reported, as its tables hold it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM study WHERE report_state != 'final' AND revision > 0").fetchall()
        return [_raw(connection, row) for row in rows]


def _raw(connection: sqlite3.Connection, row: sqlite3.Row) -> Raw:
    uid, patient, order = row["study_instance_uid"], json.loads(row["patient"]), json.loads(row["order"])
    images = connection.execute(
        "SELECT modality, description FROM instance WHERE study_instance_uid = ? AND current = 1 AND image = 1"
        " AND ours = 0 AND rejected = ''",
        (uid,),
    ).fetchall()
    facts = connection.execute(
        "SELECT * FROM history WHERE superseded_by IS NULL AND ((patient_id = ? AND issuer = ? AND patient_id != '')"
        " OR (study_instance_uid = ? AND origin = ''))",
        (patient.get("patient_id", ""), patient.get("issuer", ""), uid),
    ).fetchall()
    pin = connection.execute("SELECT lane, pinned_s FROM pin WHERE study_instance_uid = ?", (uid,)).fetchone()
    outcomes = connection.execute(
        "SELECT id, model, mode FROM outcome WHERE study_instance_uid = ? AND state = 'result'", (uid,)
    ).fetchall()
    return Raw(
        uid=uid,
        arrived=datetime.fromisoformat(row["first_wall"]),
        queued_s=row["queued_s"],
        priority=order.get("requested_priority", ""),
        age=order.get("patient_age_years"),
        sex=patient.get("sex", ""),
        description=order.get("study_description", ""),
        modalities={each["modality"] for each in images} - {""},
        parts={json.loads(each["description"] or "{}").get("body_part_examined", "") for each in images} - {""},
        history=[dict(each) for each in facts if not _of_another(dict(each), patient, uid)],
        results=[
            {
                "model": each["model"],
                "mode": each["mode"],
                "findings": [
                    json.loads(found["body"])
                    for found in connection.execute("SELECT body FROM finding WHERE outcome_id = ?", (each["id"],))
                ],
            }
            for each in outcomes
        ],
        changes=[
            change
            for each in connection.execute(
                "SELECT c.changes FROM comparison c JOIN outcome o ON o.id = c.outcome_id JOIN outcome p ON"
                " p.id = c.prior_outcome_id WHERE o.study_instance_uid = ? AND o.state = 'result'"
                " AND p.state = 'result' AND o.mode = 'live'",
                (uid,),
            )
            for change in json.loads(each["changes"])
        ],
        pin=None if pin is None else (pin["lane"], pin["pinned_s"]),
        prior=bool(row["prior"]),
    )


def _of_another(fact: dict[str, Any], patient: dict[str, Any], uid: str) -> bool:
    """Whether a fact was told of somebody of another birth date or sex."""
    if fact["study_instance_uid"] == uid and not fact["origin"]:
        return False
    return any(fact[key] and patient.get(key) and fact[key] != patient[key] for key in ("birth_date", "sex"))
