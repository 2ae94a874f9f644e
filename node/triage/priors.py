"""Which of the studies that archives tell of are fetched as priors of a study, by which selector, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from node.config.priors import PriorSelector
from node.domain.retrieval import EVERYTHING, Wanted
from node.triage.clauses import Lookups, answer_of, keys_of

#: Of candidates whose body part has to be asked for, the newest are.
MOST_LOOKED_INTO = 20


class Standing(StrEnum):
    """What becomes of a candidate."""

    #: It is fetched.
    TAKEN = "taken"
    #: It would be, but is here.
    HERE = "here"
    NOT_TAKEN = "not taken"
    #: It may be another person's, and nothing of it is used.
    UNCONFIRMED = "candidate, unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The study that has come."""

    study_instance_uid: str
    #: YYYYMMDD and HHMMSS, as far as it tells them.
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    study_description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A study that an archive tells of."""

    study_instance_uid: str
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    #: Empty where the archive does not tell them, or was not asked.
    body_parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one candidate, and why."""

    study_instance_uid: str
    standing: Standing
    reason: str
    #: Name of the selector that takes it; empty where none does.
    selector: str = ""
    #: How much of it.
    wanted: Wanted = EVERYTHING


def applying(current: Current, selectors: Sequence[PriorSelector]) -> list[PriorSelector]:
    """The selectors that are meant for this study."""
    values = {
        "modality": current.modalities,
        "body_part": current.body_parts,
        "study_description": (current.study_description,) if current.study_description.strip() else (),
    }

    def is_met(selector: PriorSelector) -> bool:
        if selector.when is None:
            return True
        reading = Lookups({key: values[key[0]] for key in keys_of(selector.when)})
        return answer_of(selector.when)(reading) is True

    return [each for each in selectors if is_met(each)]


def first_day(study_date: str, selectors: Sequence[PriorSelector]) -> str:
    """The earliest date of a prior of a study of this date, YYYYMMDD; empty where that is none."""
    made = _day(study_date)
    if made is None or not selectors:
        return ""
    days = min(max(each.within_days for each in selectors), (made - date.min).days)
    return (made - timedelta(days=days)).strftime("%Y%m%d")


def to_look_into(current: Current, offered: Sequence[Offered], selectors: Sequence[PriorSelector]) -> list[str]:
    """UIDs of the candidates whose body part has to be known, the newest first."""
    picky = [each for each in selectors if each.body_part != "any"]
    wanted = [each for each in newest_first(offered) if any(not _why_not(current, each, one) for one in picky)]
    return [each.study_instance_uid for each in wanted[:MOST_LOOKED_INTO]]


def newest_first(offered: Sequence[Offered]) -> list[Offered]:
    """Candidates in the order in which they are looked at."""
    return sorted(offered, key=lambda each: (each.study_date, each.study_time), reverse=True)


def verdicts(
    current: Current,
    offered: Sequence[Offered],
    selectors: Sequence[PriorSelector],
    *,
    doubts: Mapping[str, str],
    here: frozenset[str],
) -> list[Verdict]:
    """What becomes of every candidate, the newest first: each selector takes its own, up to its count.

    `doubts`: why a candidate may be another person's, by UID; it takes nobody's place. One that is `here` counts, and
    is not fetched again. One that two selectors want is fetched for the first, with all that any of them wants of it.
    """
    found: dict[str, Verdict] = {}
    in_order = newest_first(offered)
    for each in in_order:
        uid = each.study_instance_uid
        reason = _never(current, each)
        if reason:
            found[uid] = Verdict(study_instance_uid=uid, standing=Standing.NOT_TAKEN, reason=reason)
        elif uid in doubts:
            found[uid] = Verdict(study_instance_uid=uid, standing=Standing.UNCONFIRMED, reason=doubts[uid])
    possible = [each for each in in_order if each.study_instance_uid not in found]
    against: dict[str, list[str]] = {}
    for selector in selectors:
        fitting = []
        for each in possible:
            reason = _why_not(current, each, selector) or _other_body_part(current, each, selector)
            if reason:
                against.setdefault(each.study_instance_uid, []).append(f"{selector.name}: {reason}")
            else:
                fitting.append(each)
        fitting.sort(key=lambda each: not each.body_parts and selector.body_part != "any")
        for place, each in enumerate(fitting):
            if place >= selector.count:
                reason = f"{selector.name}: {selector.count} others come first"
                against.setdefault(each.study_instance_uid, []).append(reason)
                continue
            _take(found, each, selector, is_here=each.study_instance_uid in here)
    for each in possible:
        uid = each.study_instance_uid
        reason = "; ".join(against.get(uid, [])) or "no selector is meant for this study"
        found.setdefault(uid, Verdict(study_instance_uid=uid, standing=Standing.NOT_TAKEN, reason=reason))
    return [found[each.study_instance_uid] for each in in_order]


def _take(found: dict[str, Verdict], each: Offered, selector: PriorSelector, *, is_here: bool) -> None:
    uid, wanted = each.study_instance_uid, wanted_of(selector)
    before = found.get(uid)
    if before is not None:
        found[uid] = replace(before, wanted=before.wanted.and_also(wanted))
        return
    reason = f"{selector.name}" + ("; it is here already" if is_here else "")
    if selector.body_part != "any" and not each.body_parts:
        reason += "; the archive tells no body part"
    standing = Standing.HERE if is_here else Standing.TAKEN
    found[uid] = Verdict(
        study_instance_uid=uid, standing=standing, reason=reason, selector=selector.name, wanted=wanted
    )


def wanted_of(selector: PriorSelector) -> Wanted:
    """How much of a study a selector wants."""
    modalities = None if isinstance(selector.series_modalities, str) else selector.series_modalities
    return Wanted(modalities=modalities, results=selector.include_results)


def _never(current: Current, each: Offered) -> str:
    """Say why it is nobody's prior; empty if it may be."""
    if each.study_instance_uid == current.study_instance_uid:
        return "the study itself"
    if not each.study_date:
        return "its date is not told"
    moment = (current.study_date, current.study_time[:6])
    return "not earlier" if (each.study_date, each.study_time[:6]) >= moment else ""


def _why_not(current: Current, each: Offered, selector: PriorSelector) -> str:
    """Say why a selector does not want it, its body part apart."""
    if each.study_date < first_day(current.study_date, [selector]):
        return "too long ago"
    if selector.modalities == "any":
        return ""
    wanted = current.modalities if selector.modalities == "same" else selector.modalities
    return "" if set(wanted) & set(each.modalities) else "of another modality, or none told"


def _other_body_part(current: Current, each: Offered, selector: PriorSelector) -> str:
    if selector.body_part == "any" or not each.body_parts:
        return ""
    wanted = current.body_parts if selector.body_part == "same" else selector.body_part
    if not wanted:
        return ""
    return "" if {*map(_plain, wanted)} & {*map(_plain, each.body_parts)} else "of another body part"


def _plain(body_part: str) -> str:
    return "".join(mark for mark in body_part.upper() if mark.isalnum())


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a calendar day, of no time zone
    except ValueError:
        return None
