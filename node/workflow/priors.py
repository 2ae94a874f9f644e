"""Studies that are not read unless somebody asks: those of old, and those that we retrieved ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from node.domain.time import Instant
from node.store import retrievals
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.studies import StudyRow
from node.workflow.content import order_of
from node.workflow.policy import Policy

#: No digital image is older than the first CT of a patient; earlier dates stand for "not known" (19000101, 19700101).
_FIRST_YEAR = 1971


def why_prior(db: Database, now: Instant, policy: Policy, study: StudyRow, held: Sequence[HeldInstance]) -> str:
    """Say why a study raises nothing and sends nothing by itself, or nothing where it is read like any other.

    One that was read like any other when it came stays so, however late more of it comes.
    """
    uid = study.study_instance_uid
    if study.revision > 0 and not study.prior:
        return ""
    if study.asked or retrievals.asked(db, uid):
        return ""
    remedy = f"`matins force {uid}` reads it"
    images = [each for each in held if each.readable]
    if images and all(each.retrieved for each in images):
        return f"a prior: retrieved by this node; {remedy}"
    described = [each.instance for each in images if each.instance is not None]
    ages = [policy.settings.completeness_of(instance.modality).max_age_days for instance in described]
    limit_days = 0 if 0 in ages else max(ages, default=0)
    age_days = _age_days(order_of(described).study_date, now)
    if limit_days and age_days is not None and age_days > limit_days:
        return f"a prior: made more than {limit_days} days ago; {remedy}"
    return ""


def _age_days(study_date: str, now: Instant) -> int | None:
    """Whole days since the Study Date (0008,0020), or `None` where it says nothing that can be."""
    try:
        made = datetime.strptime(study_date.strip(), "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
    today: date = now.wall.astimezone().date()
    return (today - made).days if made.year >= _FIRST_YEAR else None
