"""`feedback`: what a reader says of a result by name."""

from __future__ import annotations

from node.commands.output import print_json, say, table
from node.commands.pinning import login
from node.commands.site import opened
from node.config import Settings
from node.domain.feedback import Verdict
from node.domain.time import SystemClock
from node.errors import Failed
from node.workflow import accounts
from node.workflow import feedback as workflow
from node.workflow.policy import load_policy
from node.workflow.story import find_study


def give(settings: Settings, study: str, *, model: str, verdict: Verdict, label: str, because: str, by: str) -> None:
    """Keep what a reader says.

    Raises:
        Failed: no such study, result or class, a verdict that nobody says, or nobody of that name reads here.
    """
    if verdict is Verdict.CORRECTED:
        raise Failed("a correction comes as a Segmentation on the same images: send it to this node")
    with opened(settings) as db:
        who = accounts.named(db, by or login(), given="--as")
        uid = find_study(db, study)
        workflow.give(
            db,
            SystemClock().now(),
            lambda: load_policy(settings),
            uid,
            model=model,
            verdict=verdict,
            by=who,
            label=label,
            because=because,
        )
    say(f"{uid}: {model} {verdict.value}{f', it is {label}' if label else ''}, told by {who}")


def show(settings: Settings, study: str, *, as_json: bool) -> None:
    """Print what was said of the results of a study."""
    with opened(settings) as db:
        uid = find_study(db, study)
        told = workflow.feedback_told(db, uid)
    if as_json:
        print_json({"study_instance_uid": uid, "feedback": told})
    elif not told:
        say("nobody has said anything of its results")
    else:
        table(
            ("when", "by", "model", "verdict", "class", "because"),
            [
                (
                    *(each["given_at"][:16], each["given_by"], each["model"]),
                    each["verdict"] + ("" if each["stands"] else " (believed no more)"),
                    *(each["label"], each["because"] or each["sop_instance_uid"]),
                )
                for each in told
            ],
        )
