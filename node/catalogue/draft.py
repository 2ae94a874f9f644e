"""The first card of a model that somebody brings: what is known, what has to be asked, and the text of `model.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from node.catalogue import codes
from node.catalogue.bundle.metadata import Described
from node.domain.finding import Code
from node.domain.model_card import Task

#: Modality → what the report says was done (PS3.16 CID 100).
_PROCEDURES = {
    "CT": ("25045-6", "LN", "CT unspecified body region"),
    "MR": ("25056-3", "LN", "MRI unspecified body region"),
    "PT": ("44136-0", "LN", "PET unspecified body region"),
    "NM": ("49118-3", "LN", "NM unspecified body region"),
    "CR": ("43468-8", "LN", "XR unspecified body region"),
    "DX": ("43468-8", "LN", "XR unspecified body region"),
}
_ANY_PROCEDURE = ("363679005", "SCT", "Imaging procedure")
#: Modalities whose slices form volumes.
VOLUMES = frozenset({"CT", "MR", "PT"})
#: What a channel is called → what the name of its series says.
_ROLES = {
    "t1c": r"t1.*(\+ ?c|gd|gad|post|km|ce)|(\+ ?c|gd|gad|post|km|ce).*t1",
    "t1": r"t1",
    "t2": r"t2(?!.*flair)",
    "flair": r"flair",
    "adc": r"adc",
    "dwi": r"dwi|diff|trace",
}
_CODE = re.compile(r"\s*(?:(?P<scheme>[A-Za-z0-9]+):)?(?P<value>[A-Za-z0-9.\-]+)\s+(?P<meaning>\S.*)")
_COLOURS = ((220, 60, 60), (60, 140, 220), (70, 180, 90), (230, 160, 60), (160, 90, 200), (90, 190, 190))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that a bundle does not tell."""

    key: str
    text: str
    #: What is taken without an answer; `None`: there is no sensible one.
    default: str | None = None
    #: What somebody should check where the default was taken; empty: nothing.
    check: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the card says of where the model's files are."""

    name: str
    pipeline: str
    #: Path of the weights beside the card.
    weights: str
    #: Further tables in TOML: how a single file's input is prepared.
    more: str = ""


def questions(told: Described, name: str) -> list[Question]:
    """Return what has to be asked before a card can be written."""
    found = []
    if not told.modality:
        found.append(Question(key="modality", text="Modality of the series it reads (CT, MR, MG, …)"))
    for key, text, default in (
        ("title", "What it is called", told.title or name),
        ("version", "Its version", told.version or "0"),
        ("licence", "Its licence", told.licence or None),
        ("manufacturer", "Who made it", told.authors or None),
        ("citation", "What to cite", told.citation or told.title or name),
    ):
        if not getattr(told, "authors" if key == "manufacturer" else key):
            found.append(Question(key=key, text=text, default=default, check=f"{key}: nobody has said it"))
    use = told.intended_use or "Research. Nobody has said yet for which patients and images."
    found.append(Question(key="intended_use", text="What it may be used for", default=use, check="intended_use"))
    if not told.outputs:
        text = "What its outputs show, in order, background left out (for example: liver, spleen)"
        found.append(Question(key="outputs", text=text))
    return found


def questions_of_outputs(told: Described, outputs: tuple[str, ...]) -> list[Question]:
    """Return what has to be asked of each output: its code, and for classes from which number on it counts."""
    found = []
    for label in outputs:
        guessed = codes.guess(label)
        default = guessed[1] if guessed else codes.ANATOMY if told.task is Task.SEGMENTATION else codes.FINDING
        text = f"SNOMED CT code and meaning of {label!r}"
        check = "" if guessed else f"code.{label}: no code was found for it, {default.meaning} was taken"
        found.append(
            Question(key=f"code.{label}", text=text, default=f"{default.value} {default.meaning}", check=check)
        )
        if told.task is not Task.SEGMENTATION:
            text = f"Number, 0 to 1, from which {label!r} counts as seen (empty: the model does not decide)"
            check = f"threshold.{label}: without it the model gives numbers and decides nothing"
            found.append(Question(key=f"threshold.{label}", text=text, default="", check=check))
    return found


def outputs_of(told: Described, answers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the outputs, as told or as answered."""
    answered = tuple(part.strip() for part in answers.get("outputs", "").split(",") if part.strip())
    return answered or told.outputs


def card_text(told: Described, source: Source, answers: Mapping[str, str]) -> str:
    """Write the card.

    Raises:
        ValueError: an answer is no code or no number; says which.
    """
    modality = answers.get("modality", told.modality).upper()
    outputs = outputs_of(told, answers)
    flat = told.flat and modality not in VOLUMES
    purpose = told.description or f"Reads {modality} series and outlines {', '.join(outputs[:5])}."
    head = [
        "# Written by `matins models add`; the card is yours to change. What it says is sent with every result.",
        "",
        *(f"{key} = {_quoted(value)}" for key, value in _head(told, source, answers, purpose)),
        f"task = {_quoted(told.task.value)}",
        f"needs_volume = {'false' if flat else 'true'}",
        f"procedure = {_code(Code(*_PROCEDURES.get(modality, _ANY_PROCEDURE)))}",
        "",
        "[[weights]]",
        'role = "network"',
        f"source = {_quoted(f'file:{source.weights}')}",
    ]
    parts = [head, _requirements(modality, flat=flat, colour=told.colour), *_roles(told.inputs)]
    if told.task is Task.SEGMENTATION:
        parts += [_segment(number, label, answers) for number, label in enumerate(outputs, 1)]
        parts += [["[[volumes]]", f"segment_number = {number}"] for number in range(1, len(outputs) + 1) if not flat]
    else:
        parts += [_target(told.first_output + place, label, answers) for place, label in enumerate(outputs)]
    text = "\n\n".join("\n".join(part) for part in parts) + "\n"
    return f"{text}\n{source.more}" if source.more else text


def _head(told: Described, source: Source, answers: Mapping[str, str], purpose: str) -> list[tuple[str, str]]:
    return [
        ("name", source.name),
        ("version", answers.get("version", told.version)),
        ("title", answers.get("title", told.title)),
        ("purpose", purpose),
        ("intended_use", answers.get("intended_use", told.intended_use)),
        ("content_qualification", "RESEARCH"),
        ("licence", answers.get("licence", told.licence)),
        ("citation", answers.get("citation", told.citation)),
        ("manufacturer", answers.get("manufacturer", told.authors)),
        ("pipeline", source.pipeline),
    ]


def _requirements(modality: str, *, flat: bool, colour: bool) -> list[str]:
    lines = [
        "[[requires]]",
        'field = "modality"',
        f"one_of = [{_quoted(modality)}]",
        f'because = "the modality is {{value}}: the model reads {modality}"',
        'when_missing = "refuse"',
    ]
    if not colour:
        lines += [
            "",
            "[[requires]]",
            'field = "pixels.photometric_interpretation"',
            'one_of = ["MONOCHROME1", "MONOCHROME2"]',
            'because = "the images are {value}, not greyscale"',
        ]
    if not flat:
        lines += [
            "",
            "[[requires]]",
            'field = "image_type"',
            'none_of = ["LOCALIZER", "SCOUT", "PROJECTION IMAGE", "MIP", "MAX_IP", "MIN_IP"]',
            'because = "a localizer or projection ({value}), not an acquired volume"',
        ]
    return lines


def _roles(inputs: tuple[str, ...]) -> list[list[str]]:
    rows = []
    for name in inputs:
        row = ["[[roles]]", f"name = {_quoted(name)}"]
        pattern = _ROLES.get(name.lower())
        if pattern:
            row += ["", "[[roles.requires]]", 'field = "series_description"', f"matches = {_quoted(pattern)}"]
            row += [f'because = "nothing in its name ({{value}}) says that it is {name}"', 'when_missing = "refuse"']
        rows.append(row)
    return rows


def _segment(number: int, label: str, answers: Mapping[str, str]) -> list[str]:
    guessed = codes.guess(label)
    type_ = _answered(label, answers)
    category = guessed[0] if guessed else codes.ANATOMY
    return [
        "[[segments]]",
        f"number = {number}",
        f"label = {_quoted(label)}",
        f"category = {_code(category)}",
        f"type = {_code(type_)}",
        f"colour = {list(_COLOURS[(number - 1) % len(_COLOURS)])}",
    ]


def _target(index: int, label: str, answers: Mapping[str, str]) -> list[str]:
    lines = [
        "[[targets]]",
        f"index = {index}",
        f"label = {_quoted(label)}",
        f"code = {_code(_answered(label, answers))}",
    ]
    threshold = answers.get(f"threshold.{label}", "").strip()
    if threshold:
        try:
            lines.append(f"operating_point = {float(threshold)}")
        except ValueError:
            raise ValueError(f"threshold.{label}: {threshold!r} is no number") from None
    return lines


def _answered(label: str, answers: Mapping[str, str]) -> Code:
    given = answers.get(f"code.{label}", "")
    found = _CODE.fullmatch(given)
    if found is None:
        raise ValueError(f'code.{label}: {given!r} is no code with its meaning, such as "78961009 Spleen"')
    return Code(found["value"], found["scheme"] or codes.SCHEME, found["meaning"].strip())


def _code(code: Code) -> str:
    value, scheme, meaning = (_quoted(part) for part in (code.value, code.scheme, code.meaning))
    return f"{{ value = {value}, scheme = {scheme}, meaning = {meaning} }}"


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for the one control that JSON leaves as it is.
    return json.dumps(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", " ", text), ensure_ascii=False)
