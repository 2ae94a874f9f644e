"""Model cards: read from `model.toml`, and checked for what types alone cannot see."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path

from pydantic import TypeAdapter

from node.catalogue.gates import check_gates
from node.catalogue.measures import check_measures
from node.catalogue.preparations import check_preparation
from node.catalogue.targets import check_targets
from node.catalogue.toml_file import Complaint, read_document, validate
from node.domain.model_card import NUMBER_FIELDS, TEXT_FIELDS, Condition, ModelCard, Preference
from node.errors import Misconfigured

#: Name of the card in a model's folder.
CARD = "model.toml"
_CARD: TypeAdapter[ModelCard] = TypeAdapter(ModelCard)

#: A model's name is a folder, a key of `config.toml` and part of what is shown.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: Content Qualification (0018,9004), PS3.3 §C.8.13.2.1.1.
_QUALIFICATIONS = ("RESEARCH", "PRODUCT", "SERVICE")
#: Values of a byte, without the background.
_MOST_SEGMENTS = 255
_TEXT_OPERATORS = ("one_of", "none_of", "matches", "matches_not")
_NUMBER_OPERATORS = ("at_least", "at_most")


def read_card(folder: Path) -> ModelCard:
    """Read and check the card in `folder`, which bears the model's name.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    file = folder / CARD
    if not file.is_file():
        raise Misconfigured(file, "", "no such file", f"A model is a folder with a {CARD}: add it, or remove {folder}")
    card = validate(_CARD, read_document(file), file)

    def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
        return Misconfigured(file, key, problem, remedy)

    _check_head(card, folder.name, complaint)
    _check_outputs(card, complaint)
    check_preparation(card, complaint)
    for index, condition in enumerate(card.requires):
        _check_condition(condition, f"requires[{index}]", complaint)
    for index, preference in enumerate(card.prefers):
        _check_condition(preference, f"prefers[{index}]", complaint)
    _check_roles(card, complaint)
    check_gates(card, complaint)
    return card


def _check_head(card: ModelCard, folder: str, complaint: Complaint) -> None:
    if card.name != folder:
        raise complaint("name", f'the card says "{card.name}" but its folder is "{folder}"', "Make the two the same")
    if not NAME.fullmatch(card.name):
        raise complaint("name", "a model's name is small letters, digits and single dashes", "Rename the folder too")
    if card.shadow_of and (not NAME.fullmatch(card.shadow_of) or card.shadow_of == card.name):
        raise complaint("shadow_of", f'"{card.shadow_of}" is no other model', "Name the one whose place it is to take")
    for key in ("version", "title", "purpose", "intended_use", "licence", "citation", "manufacturer", "pipeline"):
        if not getattr(card, key).strip():
            raise complaint(key, "is empty", "Say it: it goes into the results")
    if card.content_qualification not in _QUALIFICATIONS:
        problem = f'"{card.content_qualification}" is no Content Qualification'
        raise complaint("content_qualification", problem, f"Choose one of {', '.join(_QUALIFICATIONS)}")
    if not (isfinite(card.time_limit_s) and card.time_limit_s > 0):
        raise complaint("time_limit_s", "is not a positive number of seconds", "Give the seconds one study may take")
    roles = [weights.role for weights in card.weights]
    if not roles or len(set(roles)) < len(roles) or not all(role.strip() for role in roles):
        raise complaint("weights", "roles are missing, empty or given twice", "Name each weights file by its own role")


def _check_outputs(card: ModelCard, complaint: Complaint) -> None:
    numbers = [segment.number for segment in card.segments]
    if numbers != list(range(1, len(numbers) + 1)):
        problem = f"segment numbers are {numbers}"
        raise complaint("segments", problem, "Number them 1, 2, … in order (PS3.3 §C.8.20.2: Segment Number)")
    if len(numbers) > _MOST_SEGMENTS:
        problem = f"are {len(numbers)}, but a mask holds one byte a voxel"
        raise complaint("segments", problem, f"Declare at most {_MOST_SEGMENTS}; make two models of what is more")
    for index, segment in enumerate(card.segments):
        if not all(0 <= part <= 255 for part in segment.colour):
            raise complaint(f"segments[{index}].colour", "is not three numbers from 0 to 255", "Give red, green, blue")
    for index, volume in enumerate(card.volumes):
        key = f"volumes[{index}]"
        if volume.segment_number not in numbers:
            raise complaint(f"{key}.segment_number", f"there is no segment {volume.segment_number}", "Name one above")
        if volume.plausible_ml and not 0 <= volume.plausible_ml[0] < volume.plausible_ml[1]:
            raise complaint(f"{key}.plausible_ml", "is not a range", "Give the least and the most, in mL")
    check_targets(card, complaint)
    check_measures(card, complaint)


def _check_roles(card: ModelCard, complaint: Complaint) -> None:
    names = [role.name for role in card.roles]
    if "" in names or len(set(names)) < len(names):
        raise complaint("roles", "two roles have one name, or one has none", "Give each role a name of its own")
    if card.roles and not card.needs_volume:
        raise complaint(
            "roles", "several series are read as volumes alone", "Set needs_volume = true, or drop the roles"
        )
    for index, role in enumerate(card.roles):
        for number, condition in enumerate(role.requires):
            _check_condition(condition, f"roles[{index}].requires[{number}]", complaint)
        for number, preference in enumerate(role.prefers):
            _check_condition(preference, f"roles[{index}].prefers[{number}]", complaint)


def _check_condition(row: Condition | Preference, key: str, complaint: Complaint) -> None:
    number = row.field in NUMBER_FIELDS
    if not number and row.field not in TEXT_FIELDS:
        remedy = "Name an attribute of domain.study.Instance, pixels.…, order.… or one of the geometry"
        raise complaint(f"{key}.field", f'there is no field "{row.field}"', remedy)
    given = [name for name in (*_TEXT_OPERATORS, *_NUMBER_OPERATORS) if getattr(row, name, None) is not None]
    if len(given) != 1:
        problem = f"{len(given)} operators ({', '.join(given) or 'none'})"
        raise complaint(key, problem, "Give exactly one; write a second condition for a second")
    fitting = _NUMBER_OPERATORS if number else _TEXT_OPERATORS
    if given[0] not in fitting:
        kind = "a number" if number else "text"
        raise complaint(f"{key}.{given[0]}", f"{row.field} is {kind}", f"Use one of {', '.join(fitting)}")
    value = getattr(row, given[0])
    if given[0].startswith("matches"):
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise complaint(f"{key}.{given[0]}", f"not a regular expression: {error}", "Mend it") from None
    elif value == ():
        raise complaint(f"{key}.{given[0]}", "an empty list", "Give at least one value")
    if isinstance(row, Condition) and row.when_missing not in {"pass", "refuse"}:
        raise complaint(f"{key}.when_missing", f'is "{row.when_missing}"', 'Give "pass" or "refuse"')
