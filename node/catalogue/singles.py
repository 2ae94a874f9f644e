"""A model that is one file: what has to be asked of its input, and the tables of the card that say it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from node.catalogue.bundle.metadata import Described
from node.catalogue.draft import Question
from node.domain.model_card import Task

#: The pipeline that runs single files.
PIPELINE = "network"
_PICKLED = frozenset({".pt", ".pth"})
_NUMBERS = re.compile(r"-?\d+(\.\d+)?(\s*,\s*-?\d+(\.\d+)?)*")
_VALUES = ("none", "window", "stretch", "zscore", "zscore-nonzero")
_ACTIVATIONS = ("softmax", "sigmoid", "none")


_OF_SEGMENTATION = (
    Question(
        key="patch",
        text="Voxels that it sees at once, three numbers (empty: the whole volume)",
        default="",
        check="patch: the whole volume is given to it in one piece",
    ),
)
_OF_CLASSIFIERS = (
    Question(
        key="size",
        text="Size that it is given: rows, columns of images, three numbers of volumes (empty: as they are)",
        default="",
        check="size: images are given to it as large as they are",
    ),
    Question(key="channels", text="Channels of images, 1 or 3", default="1", check="channels: 1"),
    Question(key="mean", text="What is taken off then, one number or one a channel (empty: nothing)", default=""),
    Question(key="deviation", text="What it is divided by, as many numbers", default=""),
)
#: What is asked first: the other questions follow from it.
TASK = Question(
    key="task",
    text="What it does (segmentation of volumes, or classification)",
    default=Task.SEGMENTATION.value,
    check="task: segmentation",
)


def told(answers: Mapping[str, str]) -> Described:
    """Return what the answer to `TASK` tells.

    Raises:
        ValueError: a single file does no such task.
    """
    task = answers.get(TASK.key, TASK.default)
    if task == Task.CLASSIFICATION:
        return Described(task=Task.CLASSIFICATION, flat=True, first_output=0)
    if task != Task.SEGMENTATION:
        raise ValueError(f"task: {task!r} is neither segmentation nor classification")
    return Described()


def questions_of_input(file: Path, task: Task = Task.SEGMENTATION) -> list[Question]:
    """Return what has to be asked of the network in `file`."""
    found = [
        Question(
            key="axes", text="Axes that it sees (RAS: towards right, anterior, superior)", default="RAS", check="axes"
        ),
        Question(
            key="spacing_mm",
            text="Spacing it was trained at, in mm, three numbers (empty: that of the series)",
            default="",
            check="spacing_mm: the spacing of the series is kept",
        ),
        Question(
            key="values",
            text=f"What is done to the values ({', '.join(_VALUES)})",
            default="none",
            check="values: nothing is done to the values of the images",
        ),
        Question(key="window", text="Lowest and highest value, where values is window", default="", check=""),
        *(_OF_CLASSIFIERS if task is Task.CLASSIFICATION else _OF_SEGMENTATION),
        Question(
            key="activation",
            text=f"What makes shares of its numbers ({', '.join(_ACTIVATIONS)})",
            default="softmax",
            check="activation: softmax" + (", channel 0 the background" if task is Task.SEGMENTATION else ""),
        ),
    ]
    if _is_weights_alone(file):
        found.append(Question(key="architecture", text="Network of MONAI that the weights are of, such as UNet"))
        found.append(Question(key="arguments", text="Its arguments, as JSON", default="{}", check="arguments: none"))
    return found


def tables(answers: Mapping[str, str]) -> str:
    """Return the `[preparation]`, and where weights stand alone the `[architecture]`, of the card.

    Raises:
        ValueError: an answer is not of its kind; says which.
    """
    lines = ["[preparation]", f"axes = {json.dumps(answers.get('axes', 'RAS'))}"]
    lines += _list(answers, "spacing_mm", whole=False)
    lines.append(f"values = {json.dumps(answers.get('values', 'none'))}")
    lines += _list(answers, "window", whole=False)
    lines += [line for key in ("mean", "deviation") for line in _list(answers, key, whole=False)]
    lines += [line for key in ("size", "patch") for line in _list(answers, key, whole=True)]
    if answers.get("channels", "1") != "1":
        lines.append(f"channels = {_number(answers, 'channels')}")
    lines.append(f"activation = {json.dumps(answers.get('activation', 'softmax'))}")
    if "architecture" in answers:
        lines += ["", "[architecture]", f"name = {json.dumps(answers['architecture'])}", *_arguments(answers)]
    return "\n".join(lines) + "\n"


def _is_weights_alone(file: Path) -> bool:
    """Whether the network has to be named: safetensors, or a file of torch.save, which has no constants of a script."""
    if file.suffix.lower() not in _PICKLED:
        return file.suffix.lower() == ".safetensors"
    if not zipfile.is_zipfile(file):
        return True
    with zipfile.ZipFile(file) as archive:
        return not any(name.endswith("/constants.pkl") for name in archive.namelist())


def _list(answers: Mapping[str, str], key: str, *, whole: bool) -> list[str]:
    given = answers.get(key, "").strip().strip("[]").strip()
    if not given:
        return []
    if not _NUMBERS.fullmatch(given):
        raise ValueError(f"{key}: {given!r} is no list of numbers, such as 1.5, 1.5, 2")
    numbers = [float(part) for part in given.split(",")]
    shown = [int(number) if whole and number.is_integer() else number for number in numbers]
    return [f"{key} = {shown}"]


def _number(answers: Mapping[str, str], key: str) -> int:
    if not answers[key].isdecimal():
        raise ValueError(f"{key}: {answers[key]!r} is no whole number")
    return int(answers[key])


def _arguments(answers: Mapping[str, str]) -> list[str]:
    try:
        given = json.loads(answers.get("arguments", "{}"))
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError("arguments: this is no JSON object, such as {\"spatial_dims\": 3}")  # fmt: skip
    return ["", "[architecture.arguments]", *(f"{json.dumps(key)} = {_toml(value)}" for key, value in given.items())]


def _toml(value: object) -> str:
    """A JSON value as TOML, which has no null."""
    if value is None:
        raise ValueError("arguments: null cannot stand in a card; leave the argument out")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
