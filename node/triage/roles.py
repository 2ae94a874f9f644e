"""Several series that a model reads together: which series takes which role, and why no other does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from node.domain.model_card import ModelCard, Role
from node.domain.study import Series
from node.triage import suitability
from node.triage.series_values import capitalised
from node.triage.suitability import Choice, Verdict, judge, name_of

#: The best candidates of a role that are looked at together with those of the others.
_CANDIDATES = 6


def choose(series: Sequence[Series], card: ModelCard) -> Choice:
    """Choose what the model reads: one series, or one for each of its roles.

    Each series takes one role at most, and all share one frame of reference, so that their voxels can be laid over
    each other. Of the ways to do that the one with the most points is taken, then the one with the most slices.
    """
    if not card.roles:
        return suitability.choose(series, card)
    ordered = sorted(series, key=lambda each: each.series_instance_uid)
    judged = {
        role.name: {each.series_instance_uid: judge(each, card_of(card, role.name)) for each in ordered}
        for role in card.roles
    }
    frames = {each.series_instance_uid: _frame_of_reference(each) for each in ordered}
    best = max(_castings(card.roles, judged, frames), key=lambda casting: casting.worth, default=None)
    names = {each.series_instance_uid: name_of(each) for each in ordered}
    if best is None:
        reason = _why_none(card, judged, names)
        return Choice(chosen=None, reason=reason, verdicts=tuple(_unread(uid, judged) for uid in names))
    taken = {uid: role for role, uid in best.cast.items()}
    first = best.cast[card.roles[0].name]
    parts = ", ".join(f"{role}: {names[uid]}" for role, uid in best.cast.items())
    return Choice(
        chosen=first,
        reason=f"Suits {card.name}: {parts}",
        verdicts=tuple(_verdict(uid, taken, judged, names) for uid in names),
        sop_instance_uids=frozenset(
            each.sop_instance_uid for role, uid in best.cast.items() for each in judged[role][uid].slices
        ),
        roles=taken,
    )


def card_of(card: ModelCard, role: str) -> ModelCard:
    """Return the card as it holds for the series of one role; as it is for the role "".

    Raises:
        KeyError: it has no such role.
    """
    if not role:
        return card
    found = {each.name: each for each in card.roles}[role]
    return replace(card, roles=(), requires=(*card.requires, *found.requires), prefers=(*card.prefers, *found.prefers))


@dataclass(frozen=True, slots=True)
class _Casting:
    """Role → Series Instance UID, complete, and what it is worth."""

    cast: dict[str, str]
    worth: tuple[float, int]


def _castings(
    roles: Sequence[Role], judged: Mapping[str, Mapping[str, Verdict]], frames: Mapping[str, str]
) -> Iterator[_Casting]:
    """Every way to fill all roles, in a fixed order, so that of equal ones the same is found every time."""
    candidates = {role.name: _candidates(judged[role.name]) for role in roles}

    def fill(cast: dict[str, str], left: Sequence[Role]) -> Iterator[_Casting]:
        if not left:
            verdicts = [judged[role][uid] for role, uid in cast.items()]
            worth = sum(each.points for each in verdicts), sum(each.slice_count for each in verdicts)
            yield _Casting(dict(cast), worth)
            return
        role = left[0].name
        for uid in candidates[role]:
            alike = all(frames[uid] == frames[other] for other in cast.values())
            if uid not in cast.values() and alike and (frames[uid] or len(roles) == 1):
                yield from fill({**cast, role: uid}, left[1:])

    return fill({}, roles)


def _candidates(verdicts: Mapping[str, Verdict]) -> list[str]:
    suitable = [verdict for verdict in verdicts.values() if verdict.suits]
    ordered = sorted(suitable, key=lambda each: (-each.points, -each.slice_count, each.series_instance_uid))
    return [each.series_instance_uid for each in ordered[:_CANDIDATES]]


def _frame_of_reference(series: Series) -> str:
    """The one frame of reference of a series; empty where it says none, or several."""
    found = {each.frame_of_reference_uid for each in series.instances}
    return found.pop() if len(found) == 1 else ""


def _why_none(card: ModelCard, judged: Mapping[str, Mapping[str, Verdict]], names: Mapping[str, str]) -> str:
    if not names:
        return "The study holds no described series"
    unfilled = [role.name for role in card.roles if not _candidates(judged[role.name])]
    if not unfilled:
        wanted = ", ".join(role.name for role in card.roles)
        return f"No {len(card.roles)} series in one frame of reference suit {card.name} as {wanted}"
    because = "; ".join(
        f"{names[uid]}: {verdict.reason}" for uid, verdict in judged[unfilled[0]].items() if not verdict.suits
    )
    return f"No series suits {card.name} as {', '.join(unfilled)}. {because}"


def _unread(uid: str, judged: Mapping[str, Mapping[str, Verdict]]) -> Verdict:
    """The verdict on a series that no role takes: what each role has against it, said once where it is the same."""
    verdicts = {role: of_role[uid] for role, of_role in judged.items()}
    first = next(iter(verdicts.values()))
    if all(verdict.reason == first.reason and not verdict.suits for verdict in verdicts.values()):
        return first
    against = "; ".join(f"{role}: {'suits' if verdict.suits else verdict.reason}" for role, verdict in verdicts.items())
    return replace(first, suits=any(verdict.suits for verdict in verdicts.values()), reason=capitalised(against))


def _verdict(
    uid: str, taken: Mapping[str, str], judged: Mapping[str, Mapping[str, Verdict]], names: Mapping[str, str]
) -> Verdict:
    if uid in taken:
        verdict = judged[taken[uid]][uid]
        return replace(verdict, reason=f"{verdict.reason}, read as {taken[uid]}")
    verdict = _unread(uid, judged)
    if not verdict.suits:
        return verdict
    others = ", ".join(f"{role} is {names[other]}" for other, role in taken.items() if judged[role][uid].suits)
    return replace(verdict, reason=f"{verdict.reason}; not read, because {others}" if others else verdict.reason)
