"""Whether the list of the morning is what an independent scorer makes of what was sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from node.domain.pin import FINDINGS_MAXIMUM, PIN
from node.domain.rule import ORDER
from tests.journeys.night.hospital import POINTS_PER_MINUTE, Hospital
from tests.journeys.night.plan import FINDABLE
from tests.triage.brute_force import Placed, Raw, ranked, rules_in

_OWN = {ORDER, PIN, FINDINGS_MAXIMUM}
#: Seconds by which two clocks of one machine may be read apart.
_APART_S = 0.05

Row = dict[str, Any]


def differences(hospital: Hospital, rows: list[Row]) -> list[str]:
    """What is wrong with the list, a sentence each; empty where it is as it has to be."""
    expected = expected_list(hospital, rows)
    told = _arrivals(hospital, rows)
    ours, theirs = [row["study_instance_uid"] for row in rows], [each.uid for each in expected]
    if sorted(ours) != sorted(theirs):
        told.append(f"only on the list: {set(ours) - set(theirs)}; missing: {set(theirs) - set(ours)}")
        return told
    by_uid = {each.uid: (place, each) for place, each in enumerate(expected, 1)}
    for row in rows:
        place, each = by_uid[row["study_instance_uid"]]
        told += [f"{_named(hospital, row)}: {what}" for what in _compared(row, place, each)]
    return told


def told_wrongly(hospital: Hospital, rows: list[Row]) -> list[str]:
    """Studies of which the RIS was told another lane last than the one in which they stand."""
    told = {row["study_instance_uid"]: hospital.ris.lane_of(row["accession_number"]) for row in rows}
    return [
        f"{_named(hospital, row)}: the RIS has it in {lane}, and it stands in {row['lane']}"
        for row in rows
        if (lane := told[row["study_instance_uid"]]) and not row["prior"] and lane != row["lane"]
    ]


def expected_list(hospital: Hospital, rows: list[Row]) -> list[Placed]:
    """The list as the scorer ranks it, by the node's clock of arrival, which `differences` holds against ours."""
    arrived = {row["study_instance_uid"]: datetime.fromisoformat(row["received_at"]) for row in rows}
    pinned = {row["study_instance_uid"]: row["pinned"] for row in rows if row["pinned"]}
    night, raws = hospital.night, []
    for study in night.studies:
        if study.reported or study.uid not in arrived:
            continue
        at = pinned.get(study.uid)
        raws.append(night.raw(study, arrived[study.uid], datetime.fromisoformat(at["at"]).timestamp() if at else 0.0))
    for prior in {each.prior for each in night.studies} - {""}:
        if prior in arrived:
            made = arrived[prior]
            raws.append(Raw(uid=prior, arrived=made, queued_s=made.timestamp(), prior=True))
    rules = rules_in(hospital.site.rules)
    return ranked(raws, rules, findable=FINDABLE, points_per_minute=POINTS_PER_MINUTE)


def _arrivals(hospital: Hospital, rows: list[Row]) -> list[str]:
    """Studies of which the node says another time of arrival than ours; and those that are not there at all."""
    told = []
    for row in rows:
        uid = row["study_instance_uid"]
        if uid not in hospital.began:
            continue
        at = datetime.fromisoformat(row["received_at"]).timestamp()
        if not hospital.began[uid] - _APART_S <= at <= hospital.ended[uid] + _APART_S:
            told.append(f"{_named(hospital, row)}: arrived {at - hospital.began[uid]:.2f} s after it was sent")
    wanted = {each.uid for each in hospital.night.studies if not each.reported}
    wanted |= {each.prior for each in hospital.night.studies} - {""}
    missing = wanted - {row["study_instance_uid"] for row in rows}
    return told + [f"{each}: not on the list" for each in sorted(missing)]


def _compared(row: Row, place: int, each: Placed) -> list[str]:
    reasons = {said["rule"]: said["points"] for said in row["reasons"] if said["rule"] not in _OWN}
    told = []
    if row["place"] != place:
        told.append(f"stands at {row['place']}, and not at {place}")
    if (row["lane"], round(row["score"], 6)) != (each.lane, round(each.score, 6)):
        told.append(f"{row['lane']} {row['score']:g}, and not {each.lane} {each.score:g}")
    if reasons != each.reasons:
        told.append(f"because of {reasons}, and not of {each.reasons}")
    if round(sum(said["points"] for said in row["reasons"]), 6) != round(row["score"], 6):
        told.append("the reasons do not add up to the score")
    if not all(said["because"].strip() for said in row["reasons"]) or (row["lane"] != "ROUTINE" and not row["reasons"]):
        told.append("stands where it stands without a reason")
    return told


def _named(hospital: Hospital, row: Row) -> str:
    study = hospital.night.of(row["study_instance_uid"])
    return f"study {study.number} ({study.kind})" if study else f"prior {row['study_instance_uid']}"
