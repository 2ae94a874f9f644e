"""`identity`: merges of identifiers, listed and taken back."""

from __future__ import annotations

from dataclasses import asdict

from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.patient import Patient
from node.domain.time import SystemClock
from node.store import identities
from node.workflow import merging
from node.workflow.policy import load_policy


def show(settings: Settings, *, as_json: bool) -> None:
    """Print every merge that stands."""
    with opened(settings) as db:
        moves = identities.moves(db)
    if as_json:
        print_json([asdict(each) for each in moves])
    elif not moves:
        say("no identifier was merged into another")
    else:
        table(
            ("issuer", "patient", "is now", "told by", "since"),
            [(each.issuer, each.patient_id, each.survivor_id, each.told_by, each.recorded_at[:19]) for each in moves],
        )


def separate(settings: Settings, patient_id: str, issuer: str) -> None:
    """Take a merge back, and rank the patient's studies anew.

    Raises:
        Failed: the ID was not merged into another.
    """
    policy, clock = load_policy(settings), SystemClock()
    patient, nobody = Patient(patient_id=patient_id, issuer=issuer), Patient(issuer=issuer)
    with opened(settings) as db, db.transaction():
        moved = merging.separate(db, clock.now(), policy, patient, nobody, told_by="a person")
    say(f"it is a patient of its own again; {len(moved)} studies ranked anew")
    say("Results that were held over the merge go on after `matins retry STUDY`")
