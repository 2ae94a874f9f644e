"""Nights made up from a seed: rule files of every kind, and studies that the rules speak about."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from node.domain.change import Change, Verdict
from node.domain.finding import Code, Finding, Measurement
from node.domain.history import Fact, Standing
from node.domain.model_card import Mode
from node.domain.pin import Pin
from node.domain.priority import Lane
from node.triage.facts import ModelResult, RankFacts
from tests.triage.brute_force import Raw

EVENING = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
MODELS = ("brain", "chest", "bleed")
CODES = ("SCT:12738006", "SCT:50960005", "SCT:302047008")
FINDABLE = {(model, code) for model in MODELS for code in CODES}
WORDS = ("cancer", "no cancer", "no known cancer or metastases", "sudden headache", "fell.", "denies any headache",
         "metastases", "without evidence of stroke", "Stroke 2019", "warfarin", "", "no, cancer")  # fmt: skip
ICD = ("I10:I26.9", "I10C:I269", "I10:C34.1", "SCT:254637007", "ATC:B01AA03", "")
QUANTITIES = {
    "volume": ({"value": "118565006", "scheme": "SCT", "meaning": "Volume"}, "mL"),
    "diameter": ({"value": "81827009", "scheme": "SCT", "meaning": "Diameter"}, "mm"),
    "mean": ({"value": "112031", "scheme": "DCM", "meaning": "Attenuation Coefficient"}, "[hnsf'U]"),
}
MEAN = {"value": "373098007", "scheme": "SCT", "meaning": "Mean"}


class Night:
    """One night: `rules` by name as they would be written, `studies` as they came."""

    def __init__(self, seed: int, studies: int, rules: int = 40) -> None:
        self.random = random.Random(seed)
        self.rules = {f"rule-{number:02}": self._rule() for number in range(rules)}
        self.studies = [self._study(number) for number in range(studies)]

    def write_rules(self, folder: Path) -> Path:
        """Write the rules as files."""
        for name, document in self.rules.items():
            lines = [f"{key} = {toml(value)}" for key, value in document.items()]
            (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")
        return folder

    # --------------------------------------------------------------------------------------------------- rules

    def _rule(self) -> dict[str, Any]:
        pick = self.random
        clause = self._clause(depth=0)
        then: dict[str, Any] = {"points": float(pick.choice([0, 5, 10, 20, 40, 12.5]))}
        is_of_models = "finding." in json.dumps(clause) or "change." in json.dumps(clause)
        if pick.random() < 0.3:
            then["points_per_probability"] = {"points": 30.0, "code": pick.choice(CODES)}
            is_of_models = True
        if pick.random() < 0.25:
            then["cap"] = {"group": "one", "points": 35.0}
        if pick.random() < 0.3:
            then["lane"] = pick.choice(["URGENT", "ROUTINE"] if is_of_models else ["STAT", "URGENT", "URGENT"])
        missing: Any = pick.choice(["skip", "skip", "flag"])
        if not is_of_models and pick.random() < 0.2:
            missing = {"points": 3.0}
        if not is_of_models and pick.random() < 0.1:
            then = {"veto": True}
        return {"title": "T", "because": "B", "source": "S", "version": "1", "when_missing": missing, "when": clause,
                "then": then}  # fmt: skip

    def _clause(self, depth: int) -> dict[str, Any]:
        kind = self.random.random()
        if depth < 2 and kind < 0.45:
            word = "all" if kind < 0.25 else "any"
            return {word: [self._clause(depth + 1) for _ in range(self.random.choice([1, 2, 2, 3]))]}
        if depth < 2 and kind < 0.52:
            return {"not": self._comparison()}
        return self._comparison()

    def _comparison(self) -> dict[str, Any]:
        made: list[Callable[[], dict[str, Any]]] = [self._of_study, self._of_text, self._of_history, self._of_history,
                                                    self._of_observation, self._of_finding, self._of_finding,
                                                    self._of_change]  # fmt: skip
        return self.random.choice(made)()

    def _of_study(self) -> dict[str, Any]:
        pick = self.random
        return pick.choice(
            [
                {"field": "patient_age_years", "op": pick.choice(["<", "<=", ">", ">="]), "value": 60.0},
                {"field": "patient_age_years", "op": "known", "value": pick.choice([True, False])},
                {"field": "patient_sex", "op": "is", "value": pick.choice(["F", "m"])},
                {"field": "modality", "op": "one_of", "value": pick.choice([["CT"], ["CT", "MR"]])},
                {"field": "body_part", "op": "is", "value": "head"},
                {"field": "hour_of_day", "op": ">=", "value": 22.0},
                {"field": "day_of_week", "op": "one_of", "value": ["FRIDAY", "SUNDAY"]},
                {"field": "requested_priority", "op": "is", "value": "HIGH"},
            ]
        )

    def _of_text(self) -> dict[str, Any]:
        pick = self.random
        return pick.choice(
            [
                {"field": "study_description", "op": "has", "value": "head"},
                {"field": "study_description", "op": "matches", "value": "^ct|chest$"},
                {"field": "patient_location", "op": "has_any", "value": ["ICU", "emergency"]},
                {"field": "patient_location", "op": "known", "value": True},
            ]
        )

    def _of_history(self) -> dict[str, Any]:
        pick = self.random
        asked: dict[str, Any] = {"field": f"history.{pick.choice(['problem', 'medication', 'any', 'allergy'])}"}
        asked |= pick.choice(
            [
                {"op": "has", "value": pick.choice(["cancer", "headache", "metasta*", "warfarin"])},
                {"op": "has_any", "value": ["cancer", "stroke"]},
                {"op": "is", "value": "stroke 2019"},
                {"op": "coded", "value": pick.choice([["I10:I26*"], ["SCT:254637007", "I10:C34*"], ["ATC:B01AA03"]])},
                {"op": "known", "value": pick.choice([True, False])},
            ]
        )
        if asked["op"] != "known":
            if pick.random() < 0.4:
                asked["within_years"] = pick.choice([1.0, 5.0, 0.5])
            elif pick.random() < 0.2:
                asked["older_than_years"] = 2.0
            if pick.random() < 0.2:
                asked["including_ended"] = True
        return asked

    def _of_observation(self) -> dict[str, Any]:
        pick = self.random
        op, value = pick.choice(["<", "<=", ">", ">="]), pick.choice([0.5, 500.0, 3.0])
        return {"field": "history.observation", "op": op, "value": value, "code": "LN:48065-7", "unit": "ng/mL"}

    def _of_finding(self) -> dict[str, Any]:
        pick = self.random
        about = {"code": pick.choice(CODES)} | ({"model": pick.choice(MODELS)} if pick.random() < 0.5 else {})
        return about | pick.choice(
            [
                {"field": "finding.present", "op": "is", "value": True},
                {"field": "finding.probability", "op": ">=", "value": pick.choice([0.2, 0.5, 0.9])},
                {"field": "finding.volume_ml", "op": pick.choice([">", "<"]), "value": 20.0},
                {"field": "finding.lesion_volume_ml", "op": ">", "value": 10.0},
                {"field": "finding.diameter_mm", "op": ">=", "value": 8.0},
                {"field": "finding.mean_hu", "op": ">", "value": 50.0},
            ]
        )

    def _of_change(self) -> dict[str, Any]:
        pick = self.random
        about = {"code": pick.choice(CODES)}
        return about | pick.choice(
            [
                {"field": "change.verdict", "op": "one_of", "value": ["GROWN", "NEW"]},
                {"field": "change.ratio", "op": ">", "value": 1.25, "quantity": "volume"},
                {"field": "change.doubling_days", "op": "<", "value": 400.0},
                {"field": "change.after", "op": ">=", "value": 10.0, "quantity": pick.choice(["volume", "diameter"])},
                {"field": "change.days", "op": "<", "value": 365.0},
            ]
        )

    # ------------------------------------------------------------------------------------------------- studies

    def _study(self, number: int) -> Raw:
        pick = self.random
        arrived = EVENING + timedelta(minutes=pick.randrange(720), seconds=pick.choice([0, 0, 7]))
        made = Raw(
            uid=f"1.2.{number}",
            arrived=arrived,
            queued_s=arrived.timestamp() + pick.choice([0.0, 0.0, 86_400.0]),
            priority=pick.choices(["", "STAT", "HIGH", "ROUTINE", "LOW", "ASAP", " high "], [60, 4, 10, 10, 4, 3, 3])[
                0
            ],
            age=pick.choice([None, 4.0, 59.9, 60.0, 81.0]),
            sex=pick.choice(["", "M", "F", "O"]),
            description=pick.choice(["", "CT head", "MR Brain", "No head injury", "X-ray chest"]),
            modalities=set(pick.sample(["CT", "MR", "DX"], pick.choice([1, 1, 2]))),
            parts=set(pick.sample(["HEAD", "CHEST"], pick.choice([0, 1, 1]))),
            history=[self._fact() for _ in range(pick.randrange(5))],
            results=[self._result(model) for model in MODELS if pick.random() < 0.6],
            changes=[self._change() for _ in range(pick.choice([0, 0, 1, 2]))],
            prior=pick.random() < 0.03,
        )
        if pick.random() < 0.04:
            made.pin = (pick.choice(["", "STAT", "URGENT", "ROUTINE"]), arrived.timestamp() + pick.randrange(3600))
        return made

    def _fact(self) -> dict[str, Any]:
        pick = self.random
        code = pick.choice(
            ["problem", "medication", "allergy", "reason_for_request", "patient_location", "observation"]
        )
        value, unit, coded = pick.choice(WORDS), "", pick.choice(ICD)
        if code == "observation":
            value, unit = pick.choice(
                [("0.9", "ug/L"), ("700", "pg/mL"), ("3.0", "ng/mL"), ("high", ""), ("2", "IU/L")]
            )
            coded = pick.choice(["LN:48065-7", "LN:48065-7", "LN:2160-0"])
        elif code == "patient_location":
            value, coded = pick.choice(["ICU 3", "Ward 7", "Emergency"]), ""
        return {
            "code": code,
            "value": value,
            "unit": unit,
            "coded": coded,
            "standing": pick.choices(["yes", "no"], [5, 1])[0],
            "observed_at": pick.choice(["", "2026", "2026-11-20", "2026-05-21", "2024-02-29", "2019-03", "2021-11-20"]),
            "ended_at": pick.choices(["", "2020-01-01", "2026", "2027-01-01"], [7, 1, 1, 1])[0],
        }

    def _result(self, model: str) -> dict[str, Any]:
        pick = self.random
        mode = pick.choices(["live", "shadow"], [5, 1])[0]
        return {"model": model, "mode": mode, "findings": [self._finding() for _ in range(pick.randrange(4))]}

    def _finding(self) -> dict[str, Any]:
        pick = self.random
        measured = []
        for name in pick.sample(sorted(QUANTITIES), pick.randrange(3)):
            quantity, unit = QUANTITIES[name]
            measured.append(
                {
                    "quantity": quantity,
                    "value": pick.choice([3.0, 8.0, 20.0, 20.5, 51.0, 900.0]),
                    "unit": {"value": unit, "scheme": "UCUM", "meaning": unit},
                    "derivation": MEAN if name == "mean" else None,
                }
            )
        return {
            "code": code_of(pick.choice(CODES)),
            "probability": pick.choice([None, 0.0, 0.2, 0.5, 0.87, 1.0]),
            "present": pick.choice([None, True, False]),
            "lesion_number": pick.choice([0, 0, 1]),
            "measurements": measured,
        }

    def _change(self) -> dict[str, Any]:
        pick = self.random
        quantity, unit = QUANTITIES[pick.choice(["volume", "diameter"])]
        verdict = pick.choice([each.value for each in Verdict])
        ratio = pick.choice([None, 0.6, 1.0, 1.3])
        return {
            "model": pick.choice(MODELS),
            "code": code_of(pick.choice(CODES)),
            "quantity": quantity,
            "unit": {"value": unit, "scheme": "UCUM", "meaning": unit},
            "before": 10.0,
            "after": None if ratio is None else 10.0 * ratio,
            "ratio": ratio,
            "doubling_days": pick.choice([None, 100.0, -200.0]),
            "days": pick.choice([None, 90, 800]),
            "verdict": verdict,
        }


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def code_of(text: str) -> dict[str, str]:
    scheme, _, value = text.partition(":")
    return {"value": value, "scheme": scheme, "meaning": text}


def facts_of(raw: Raw) -> RankFacts:
    """The same study as the product holds it."""
    local = raw.arrived.astimezone()
    return RankFacts(
        study_instance_uid=raw.uid,
        arrived_at=raw.arrived,
        hour_of_day=local.hour,
        day_of_week=local.strftime("%A").upper(),
        modalities=tuple(sorted(raw.modalities)),
        body_parts=tuple(sorted(raw.parts)),
        study_description=raw.description,
        patient_age_years=raw.age,
        patient_sex=raw.sex,
        requested_priority="" if raw.prior else raw.priority,
        history=tuple(Fact(**{**each, "standing": Standing(each["standing"])}, source="S") for each in raw.history),
        results=tuple(result_of(each) for each in raw.results),
        changes=tuple(change_of(each) for each in raw.changes),
    )


def result_of(raw: dict[str, Any]) -> ModelResult:
    return ModelResult(model=raw["model"], mode=Mode(raw["mode"]), findings=tuple(map(finding_of, raw["findings"])))


def finding_of(raw: dict[str, Any]) -> Finding:
    measured = (
        Measurement(
            quantity=Code(**each["quantity"]),
            value=each["value"],
            unit=Code(**each["unit"]),
            derivation=Code(**each["derivation"]) if each["derivation"] else None,
        )
        for each in raw["measurements"]
    )
    return Finding(
        code=Code(**raw["code"]),
        probability=raw["probability"],
        present=raw["present"],
        lesion_number=raw["lesion_number"],
        measurements=tuple(measured),
    )


def change_of(raw: dict[str, Any]) -> Change:
    return Change(
        model=raw["model"],
        code=Code(**raw["code"]),
        quantity=Code(**raw["quantity"]),
        unit=Code(**raw["unit"]),
        before=raw["before"],
        after=raw["after"],
        ratio=raw["ratio"],
        doubling_days=raw["doubling_days"],
        days=raw["days"],
        prior_study_instance_uid="9.9",
        verdict=Verdict(raw["verdict"]),
    )


def pin_of(raw: Raw) -> Pin | None:
    if raw.pin is None:
        return None
    lane = Lane(raw.pin[0]) if raw.pin[0] else None
    return Pin(lane=lane, by="ada", at=datetime.fromtimestamp(raw.pin[1], UTC), at_s=raw.pin[1], why="asked")
