"""Orders are told from each other by their numbers; those of before have none, and keep what names them."""

from __future__ import annotations

import sqlite_utils

from node.store.migrations import MIGRATIONS


def test_orders_of_before_keep_their_ids_and_what_was_said_of_them() -> None:
    old = sqlite_utils.Database(memory=True)
    MIGRATIONS.apply(old, stop_before="order_numbers")
    said = {
        "id": 7, "issuer": "A", "patient_id": "P1", "accession_number": "A1", "study_instance_uid": "",
        "birth_date": "19700101", "sex": "F", "priority": "STAT", "priority_at": "2026", "priority_recorded_at": "2026",
        "cancelled": 0, "report_state": "final", "report_at": "2026", "told_by": "hl7 RIS", "recorded_at": "2026",
    }  # fmt: skip
    old.table("told_order").insert(said)
    MIGRATIONS.apply(old)
    [row] = old.table("told_order").rows
    assert row == said | {"placer_number": "", "filler_number": ""}
    assert "told_order_age" in {index.name for index in old.table("told_order").indexes}
    old.close()
