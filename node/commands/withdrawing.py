"""`withdraw`: results are taken back, of one study or of one model version everywhere; what stays is listed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from node.commands.output import print_json, progress, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed
from node.store import outcomes, withdrawal_notes
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.withdrawal_notes import SentResult
from node.workflow import operations
from node.workflow.policy import load_policy
from node.workflow.story import find_study

#: Digits of a model's digest that tell its versions apart.
_LEAST_DIGITS = 6

_HEADINGS = ("destination", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "kind", "sent_at")
_WARNING = (
    "This cannot be undone: a destination that follows a rejection note takes what it names out of sight, and a model"
    " reads a study again only by `matins force`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a withdrawal is done."""

    #: Only say what would be.
    dry_run: bool
    #: Only list what is left at destinations.
    remaining: bool
    #: Do not ask.
    yes: bool
    as_json: bool


def withdraw(settings: Settings, study: str | None, model: str, because: str, terms: Terms) -> None:
    """Take results back, or say what would be.

    Raises:
        Failed: there is no such study or model version, nothing to take back, or nobody has confirmed it.
    """
    if terms.remaining:
        remaining(settings, study, as_json=terms.as_json)
        return
    if (study is None) == (not model):
        raise Failed("name a study, or a model version by --model NAME@DIGEST, or ask with --remaining what is left")
    chosen = _chosen(model)
    with opened(settings) as db:
        meant = [find_study(db, study)] if study is not None else outcomes.studies_of_model(db, model.partition("@")[0])
        found = {uid: [each for each in outcomes.of_study(db, uid) if chosen(each)] for uid in meant}
        found = {uid: each for uid, each in found.items() if any(map(_is_standing, each)) or _sent(db, each)}
        if model and not found:
            raise Failed(f"nothing of {model} stands anywhere; `matins models list` tells digests")
        sent = [each for outcome_list in found.values() for each in _sent(db, outcome_list)]
        if terms.dry_run:
            _tell_plan(settings, len(found), sent, as_json=terms.as_json)
            return
        if model and not terms.yes:
            _confirm(model, len(found), len(sent))
        done = _withdrawn(db, settings, list(found) or meant, because, chosen, quiet=terms.as_json or not model)
        left = [each for uid in done for each in withdrawal_notes.standing_elsewhere(db, uid)]
    if terms.as_json:
        studies = [{"study_instance_uid": uid, "done": lines} for uid, lines in done.items()]
        print_json({"dry_run": False, "studies": studies, "remaining": list(map(_told, left))})
        return
    for uid, lines in done.items():
        for line in lines:
            say(f"{uid}: {line}")
    _list_remaining(left)


def remaining(settings: Settings, study: str | None, *, as_json: bool) -> None:
    """List what destinations have of that which was withdrawn or superseded here, and no note takes back there.

    Raises:
        Failed: there is no such study.
    """
    with opened(settings) as db:
        left = withdrawal_notes.standing_elsewhere(db, find_study(db, study) if study else "")
    if as_json:
        print_json({"remaining": list(map(_told, left))})
    elif not left:
        say("nothing is left anywhere")
    else:
        _list_remaining(left)


def _chosen(model: str) -> Callable[[Outcome], bool]:
    if not model:
        return lambda _outcome: True
    name, _, digest = model.partition("@")
    digest = digest.removeprefix("sha256:").lower()
    if not name or len(digest) < _LEAST_DIGITS:
        raise Failed(f"--model takes NAME@DIGEST, with at least {_LEAST_DIGITS} digits of it (`matins models list`)")
    return lambda outcome: (
        outcome.model == name and outcome.model_digest.removeprefix("sha256:").lower().startswith(digest)
    )


def _is_standing(outcome: Outcome) -> bool:
    return outcome.state in ("pending", "running", "result")


def _sent(db: Database, found: Sequence[Outcome]) -> list[SentResult]:
    return withdrawal_notes.sent_of(db, [each.id for each in found]) if found else []


def _withdrawn(
    db: Database,
    settings: Settings,
    meant: Sequence[str],
    because: str,
    chosen: Callable[[Outcome], bool],
    *,
    quiet: bool,
) -> dict[str, list[str]]:
    """What was done, by study; each in a transaction of its own, so that a long run may be ended and begun again."""
    clock, policy = SystemClock(), load_policy(settings)
    if quiet:
        return {uid: operations.withdraw(db, clock.now(), policy, uid, because, chosen) for uid in meant}
    done = {}
    with progress("studies", lambda: len(meant)) as advance:
        for uid in meant:
            done[uid] = operations.withdraw(db, clock.now(), policy, uid, because, chosen)
            advance()
    return done


def _confirm(model: str, studies: int, sent: int) -> None:
    question = f"Withdraw all that {model} made: {studies} studies, {sent} objects at destinations. {_WARNING}"
    if not sys.stdin.isatty():
        raise Failed(f"{question} Look at it with --dry-run, then say --yes")
    if not typer.confirm(f"{question} Go on?"):
        raise Failed("nothing was withdrawn")


def _tell_plan(settings: Settings, studies: int, sent: Sequence[SentResult], *, as_json: bool) -> None:
    noted = {peer.name: peer.rejection for peer in settings.peers}
    if as_json:
        told = [{**_told(each), "rejection": noted.get(each.destination, "")} for each in sent]
        print_json({"dry_run": True, "studies": studies, "results": told})
        return
    say(f"{studies} studies, {len(sent)} objects at destinations would be withdrawn; nothing has been done")
    for name in dict.fromkeys(each.destination for each in sent):
        title = noted.get(name, "")
        how = f"by rejection notes ({title}, DCM)" if title else "by a person there: it takes no rejection notes"
        say(f"at {name}, {how}")
    if sent:
        table(_HEADINGS, [[_told(each)[heading] for heading in _HEADINGS] for each in sent])
    say(_WARNING)


def _list_remaining(left: Sequence[SentResult]) -> None:
    if left:
        say("still at destinations that take no rejection notes; have them deleted there:")
        table(_HEADINGS, [[_told(each)[heading] for heading in _HEADINGS] for each in left])


def _told(result: SentResult) -> dict[str, Any]:
    return {
        "destination": result.destination,
        "study_instance_uid": result.study_instance_uid,
        "series_instance_uid": result.series_instance_uid,
        "sop_class_uid": result.sop_class_uid,
        "sop_instance_uid": result.sop_instance_uid,
        "kind": result.kind,
        "model": result.model,
        "model_digest": result.model_digest,
        "sent_at": result.sent_at,
    }
