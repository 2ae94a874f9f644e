"""Whether a change is worth telling a reading list that has been told something before."""

from __future__ import annotations

from collections.abc import Collection

from node.domain.notice import Flag
from node.domain.priority import Lane

#: What a route may be told of; the keys of `when`.
RANK, URGENT, FAILED, WITHDRAWN = "rank", "urgent", "failed", "withdrawn"


def why_tell(
    before: Flag | None, after: Flag, *, when: Collection[str], lanes: Collection[Lane], score_step: float
) -> str:
    """Return why a route is told `after`, a sentence; empty where it is not.

    `before` is what it was told last, `None` if nothing: then it knows what the order says. `lanes`: studies that stand
    in none of them, and did not when they were told of, are not its concern, but for what has to be taken back.
    """
    known = before or Flag(
        study_instance_uid=after.study_instance_uid,
        patient=after.patient,
        accession_number=after.accession_number,
        ordered_lane=after.ordered_lane,
        lane=after.ordered_lane,
        score=after.ordered_score,
    )
    owed = _identity(before, after) or (_withdrawn(known, after) if WITHDRAWN in when else "")
    if owed or not {known.lane, after.lane} & set(lanes):
        return owed
    return (
        (_lane(known, after) if {RANK, URGENT} & set(when) else "")
        or (_found(known, after, when))
        or (_score(known, after, score_step) if RANK in when else "")
        or (_failed(known, after) if FAILED in when else "")
    )


def _identity(before: Flag | None, after: Flag) -> str:
    if before is None:
        return ""
    if before.patient != after.patient:
        return "the patient's identity was corrected"
    return "the accession number has changed" if before.accession_number != after.accession_number else ""


def _withdrawn(known: Flag, after: Flag) -> str:
    return "a finding that was told stands no longer" if known.present - after.present else ""


def _lane(known: Flag, after: Flag) -> str:
    return f"lane {known.lane} → {after.lane}" if known.lane is not after.lane else ""


def _found(known: Flag, after: Flag, when: Collection[str]) -> str:
    """New findings: of any study by rank, of studies above routine where only what is urgent is told."""
    heard = RANK in when or (URGENT in when and after.lane is not Lane.ROUTINE)
    return "something new was found" if heard and after.present - known.present else ""


def _score(known: Flag, after: Flag, score_step: float) -> str:
    moved = abs(known.score - after.score)
    return f"score {known.score:g} → {after.score:g}" if moved and moved >= score_step else ""


def _failed(known: Flag, after: Flag) -> str:
    before, now = ({model for model, _ in flag.failures} for flag in (known, after))
    if now - before:
        return "a model did not read the study"
    return "a model that had not read the study has read it" if before - now else ""
