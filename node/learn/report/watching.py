"""What Epic's seismometer 0.5 reads, of predictions: two tables as CSV, four files of settings, and what renders them.

A classifier's answers are rows of `predictions.csv`, what is true rows of `events.csv`, in long form. Nobody's name is
in them: patients and cases have names made of digests. No time is known of a data set: every prediction has the same,
and the truth came an hour later, since seismometer joins an event to predictions that were made before it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from node.errors import Failed
from node.learn.evaluate import calibration
from node.learn.evaluate.cohort import Cohort, cohorts, groups_of, logits_of, truth_of
from node.learn.evaluate.evaluation import ClassificationFigures, Evaluation
from node.learn.evaluate.metrics import shares
from node.learn.evaluate.subgroups import value_of
from node.learn.prediction import Prediction

PREDICTIONS, EVENTS = "predictions.csv", "events.csv"
CONFIG, USAGE, DICTIONARY, METADATA = "config.yml", "usage_config.yml", "dictionary.yml", "metadata.json"
#: Renders it all; needs nothing but seismometer.
SCRIPT = "render.py"
PATIENT, CASE, SCORE, TIME = "PatientKey", "CaseKey", "Score", "PredictTime"
VERSION = "ModelVersion"
#: Attribute of a case → its column.
COHORTS = {"age": "AgeBand", "sex": "Sex", "scanner": "Scanner", "site": "Site"}
_PREDICTED, _KNOWN = "2000-01-01 00:00:00", "2000-01-01 01:00:00"
_TYPE, _EVENT_TIME, _VALUE = "Type", "EventTime", "Value"
_LETTERS = 16
#: Cohorts of fewer are not shown; seismometer lets nobody ask for fewer.
_CENSORED = 10


def write_seismometer(evaluation: Evaluation, predictions: Iterable[Prediction], folder: Path) -> tuple[Path, ...]:
    """Write what seismometer reads into a folder, which is made: of the first seed, one class against the rest.

    It is the class whose sensitivity counts. The score is the probability that the node tells, calibrated where there
    is a calibration.

    Raises:
        Failed: it is no classifier, or the folder cannot be written.
    """
    found = evaluation.classification
    predictions = tuple(predictions)
    if found is None:
        raise Failed("seismometer reads the answers of a classifier, and this model is for " + evaluation.task.value)
    if not predictions:
        raise Failed("there are no predictions to hand to seismometer: name a data set")
    part = evaluation.part if any(each.part == evaluation.part for each in predictions) else "test"
    cohort = cohorts(predictions, part)[0]
    event = event_name(found.classes[found.positive].name)
    texts = {
        CONFIG: _yaml(_config()),
        USAGE: _yaml({"data_usage": _usage(event)}),
        DICTIONARY: _yaml(_dictionary(event, found.classes[found.positive].name)),
        METADATA: json.dumps(_metadata(evaluation, found), indent=1, ensure_ascii=False) + "\n",
        SCRIPT: Path(__file__).with_name("rendering.py").read_text(encoding="utf-8"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _table(folder / PREDICTIONS, _predicted(evaluation, found, cohort))
        _table(folder / EVENTS, _events(found, cohort, event))
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{folder} cannot be written: {error.strerror}") from error
    return tuple(folder / name for name in (PREDICTIONS, EVENTS, *texts))


def event_name(name: str) -> str:
    """A class's name as that of an event: columns are called after it."""
    return re.sub(r"\W+", "_", name).strip("_") or "Target"


def _predicted(
    evaluation: Evaluation, found: ClassificationFigures, cohort: Cohort
) -> list[Mapping[str, str | float | int]]:
    share = shares(logits_of(cohort.judged))[:, found.positive]
    fitted = found.classes[found.positive].calibration
    scaling = fitted.scalings[0] if fitted and fitted.scalings else None
    told = calibration.probability(share, scaling) if scaling else share
    patients, salt = groups_of(cohort.judged), _salt(cohort)
    return [
        {
            PATIENT: _hidden(patient, salt),
            CASE: _hidden(each.key, salt),
            TIME: _PREDICTED,
            SCORE: round(float(score), 6),
            **{column: value_of(each, attribute) for attribute, column in COHORTS.items()},
            VERSION: evaluation.model or "not named",
        }
        for each, patient, score in zip(cohort.judged, patients, told, strict=True)
    ]


def _events(found: ClassificationFigures, cohort: Cohort, event: str) -> list[Mapping[str, str | float | int]]:
    positive, salt = truth_of(cohort.judged) == found.positive, _salt(cohort)
    return [
        {
            PATIENT: _hidden(patient, salt),
            CASE: _hidden(each.key, salt),
            _TYPE: event,
            _EVENT_TIME: _KNOWN,
            _VALUE: int(is_positive),
        }
        for each, patient, is_positive in zip(cohort.judged, groups_of(cohort.judged), positive, strict=True)
    ]


def _config() -> dict[str, Any]:
    # Paths are those of the folder that seismometer is run in, which is this one.
    return {
        "other_info": {
            "info_dir": ".",
            "data_dir": ".",
            "usage_config": USAGE,
            "event_definition": DICTIONARY,
            "prediction_definition": DICTIONARY,
            "prediction_path": PREDICTIONS,
            "event_path": EVENTS,
            "metadata_path": METADATA,
        }
    }


def _usage(event: str) -> dict[str, Any]:
    return {
        "entity_id": PATIENT,
        "context_id": CASE,
        "primary_output": SCORE,
        "primary_target": event,
        "predict_time": TIME,
        "outputs": [SCORE],
        "features": [],
        "cohorts": [{"source": column, "display_name": column} for column in (*COHORTS.values(), VERSION)],
        "event_table": {"type": _TYPE, "time": _EVENT_TIME, "value": _VALUE},
        "events": [
            {
                "source": event,
                "display_name": event,
                "usage": "target",
                "aggregation_method": "max",
                "merge_strategy": "forward",
            }
        ],
        "censor_min_count": _CENSORED,
    }


def _dictionary(event: str, name: str) -> dict[str, Any]:
    columns = {
        PATIENT: ("object", "The patient, or what else must not be counted twice, under another name."),
        CASE: ("object", "The case, under another name."),
        TIME: ("datetime64[ns]", "The same for all: a data set does not say when."),
        SCORE: ("float64", f"The probability of {name} that the model tells."),
        **{column: ("object", f"What is known of the case: {attribute}.") for attribute, column in COHORTS.items()},
        VERSION: ("object", "The model."),
    }
    return {
        "predictions": [
            {"name": column, "dtype": kind, "definition": definition} for column, (kind, definition) in columns.items()
        ],
        "events": [{"name": event, "dtype": "float64", "definition": f"Whether the case is {name}."}],
    }


def _metadata(evaluation: Evaluation, found: ClassificationFigures) -> dict[str, Any]:
    at = found.operating.thresholds[0] if found.operating is not None else None
    return {"modelname": evaluation.model or "not named", "thresholds": [at if at is not None else 0.5]}


def _hidden(key: str, salt: str) -> str:
    """Another name, which nobody finds out who does not know all of the cases."""
    return "k" + sha256(f"{salt}\0{key}".encode()).hexdigest()[:_LETTERS]


def _salt(cohort: Cohort) -> str:
    return sha256("\0".join(each.key for each in cohort.judged).encode()).hexdigest()


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _table(file: Path, rows: Sequence[Mapping[str, str | float | int]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
