"""`explain`: why a model found what it found, with the cost said first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.commands.output import print_json, progress, say
from node.commands.site import opened
from node.config import Settings
from node.domain.explanation import Explanation
from node.domain.time import SystemClock
from node.domain.work import OutcomeState
from node.errors import Failed, MatinsError
from node.store import outcomes
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow.explained import sentence
from node.workflow.policy import load_policy
from node.workflow.story import find_study

if TYPE_CHECKING:
    from node.imaging.explain.plan import Plan
    from node.infer.on_request import Explained

#: Where neither the card nor the caller names one.
_METHODS = ("grad-cam",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for on the command line."""

    #: Empty: every model with a result.
    model: str = ""
    #: Empty: those of the card.
    methods: Sequence[str] = ()
    #: `None`: that of the card.
    budget_s: float | None = None
    #: Where the maps go as files, too.
    to: Path | None = None
    dry_run: bool = False


def explain(settings: Settings, study: str, asked: Asked, *, as_json: bool) -> None:
    """Explain the results on a study, print cost, faithfulness and files.

    Raises:
        Failed: there is no such study or result, or nothing of it can be explained.
    """
    with opened(settings) as db:
        uid = find_study(db, study)
        chosen = [each for each in outcomes.current(db, uid) if each.state is OutcomeState.RESULT]
        chosen = [each for each in chosen if asked.model in ("", each.model)]
        if not chosen:
            of = f" of {asked.model}" if asked.model else ""
            raise Failed(f"there is no result{of} on {uid} to explain; `matins show` says what became of it")
        told, problems = [], []
        for outcome in chosen:
            try:
                told.append(_one(db, settings, outcome, asked, quiet=as_json))
            except MatinsError as problem:
                problems.append(f"{outcome.model}: {problem}")
    if as_json:
        print_json({"study_instance_uid": uid, "explained": told, "problems": problems})
    if problems:
        raise Failed("; ".join(problems))


def _one(db: Database, settings: Settings, outcome: Outcome, asked: Asked, *, quiet: bool) -> dict[str, Any]:
    # Only here is torch loaded.
    from node.infer.on_request import explain_outcome

    model = load_policy(settings).model(outcome.model)
    if model is None:
        raise Failed("the model is not there any more; `matins check` says why")
    own = model.card.explanation
    explanation = replace(
        own,
        methods=tuple(asked.methods) or own.methods or _METHODS,
        budget_s=own.budget_s if asked.budget_s is None else asked.budget_s,
    )
    with ExitStack() as shown:
        bar = _Bar(outcome.model, asked.dry_run, quiet, shown)
        found = explain_outcome(db, settings.infer, model, outcome, explanation, bar.told, bar, SystemClock())
    told = _told(db, outcome, found, asked.to, explanation)
    told["cost"] = bar.cost
    if not quiet:
        for each in told["maps"]:
            say(f"{each['sentence']}")
            say(f"    {each['path']}" + (f" and {each['file']}" if each["file"] else ""))
        for note in told["notes"]:
            say(f"note  {note}")
    if not told["maps"] and not asked.dry_run:
        raise Failed("nothing was explained" + (f": {'; '.join(told['notes'])}" if told["notes"] else ""))
    return told


@dataclass(slots=True)
class _Bar:
    """Says the cost, then shows how far it is; itself the pulse of what is explained."""

    model: str
    dry_run: bool
    quiet: bool
    shown: ExitStack
    cost: dict[str, Any] = field(default_factory=dict)
    _advance: Callable[[], None] | None = None
    _done: int = 0

    def told(self, plan: Plan, words: str) -> bool:
        """The cost is known."""
        self.cost = {
            "forwards": plan.forwards,
            "seconds": plan.seconds,
            "measured_forwards": plan.measured_forwards,
            "measured_seconds": plan.measured_s,
            "steps": [f"{step.method} of {step.target}: {step.samples} samples" for step in plan.steps],
            "sentence": words,
        }
        if not self.quiet:
            say(f"{self.model}  {words}")
            for step in self.cost["steps"]:
                say(f"    {step}")
        if self.dry_run:
            return False
        if not self.quiet:
            total = round(plan.forwards + plan.measured_forwards)
            self._advance = self.shown.enter_context(progress("forwards", lambda: total))
        return True

    def beat(self, done: int, total: int) -> None:  # noqa: ARG002 - the bar knows how many
        """So many forwards are done."""
        while self._advance is not None and self._done < done:
            self._done += 1
            self._advance()


def _told(
    db: Database, outcome: Outcome, found: Explained, to: Path | None, explanation: Explanation
) -> dict[str, Any]:
    maps = []
    for path, each in zip(found.paths, found.made.maps, strict=True):
        assert each.account is not None
        account: dict[str, Any] = json.loads(each.account.text)
        file = _written(found, each, to, f"{outcome.model}-{each.account.profile}") if to else ""
        maps.append({**account, "path": str(db.folder / path), "file": file, "sentence": sentence(account)})
    return {
        "model": outcome.model,
        "budget_s": explanation.budget_s,
        "maps": maps,
        "notes": list(found.made.notes),
    }


def _written(found: Explained, saliency: Any, to: Path, name: str) -> str:
    """Write a map as a file that other programs read: NIfTI in space, else a picture of the image."""
    from node.imaging.explain.picture import write_overlay
    from node.imaging.nifti import export_saliency

    stem = re.sub(r"[^\w.-]+", "-", name)
    try:
        to.mkdir(parents=True, exist_ok=True)
        if saliency.grid is not None:
            target = to / f"{stem}.nii.gz"
            export_saliency(saliency, target)
        else:
            target = to / f"{stem}.png"
            (uid,), frames = saliency.sop_instance_uids, saliency.frame_numbers or (0,)
            images = (
                each for each in found.given.images if (each.sop_instance_uid, each.frame_number) == (uid, *frames)
            )
            write_overlay(next(images).array, saliency.weights[0], target)
    except OSError as error:
        raise Failed(f"cannot write {error.filename or to}: {error.strerror}") from error
    return str(target)
