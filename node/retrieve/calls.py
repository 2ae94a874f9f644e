"""How each archive of the settings is asked: built once a question from the settings' slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from node.config import Peer, Settings
from node.retrieve.found import FoundInstance
from node.retrieve.keys import StudyKeys
from node.retrieve.question import (
    ContentsQuery,
    Portion,
    Question,
    SeriesQuery,
    StepRequest,
    StepsErrand,
    StudyQuery,
    Transfer,
    Way,
    WorklistQuery,
)

#: For the count that a closing waits for: short, since it comes after the quiet time.
_COUNT_S = 10.0
#: Instances named in one request (a list of UIDs is 65 bytes each).
_MOST_NAMED = 200
#: Examinations of one day; the largest hospitals have some thousand.
_MOST_SCHEDULED = _MOST_OF_A_DAY = 20_000


def archives(settings: Settings) -> list[Peer]:
    """The peers with the role archive, in the order of the settings."""
    return [peer for peer in settings.peers if "archive" in peer.roles]


def zone_of(peer: Peer) -> ZoneInfo | None:
    """The zone of a peer's clock, where the settings name it."""
    return ZoneInfo(peer.timezone) if peer.timezone else None


def managers(settings: Settings) -> list[Peer | None]:
    """The peers whose procedure steps we perform; `None` stands for our own list."""
    own: list[Peer | None] = [None] if settings.perform.own_list else []
    return [*own, *(peer for peer in settings.peers if "ups_manager" in peer.roles)]


def way_of(peer: Peer) -> Way:
    """How this archive gives a study: over DICOMweb, else through our own door if it may come in, else by C-GET."""
    if peer.dicomweb:
        return Way.WEB
    return Way.MOVE if "source" in peer.roles else Way.GET


def count_question(settings: Settings, peer: Peer, study_instance_uid: str) -> Question:
    """How many instances the study has."""
    return Question(**_call(settings, peer, _COUNT_S), study_instance_uid=study_instance_uid)


def study_query(settings: Settings, peer: Peer, keys: StudyKeys) -> StudyQuery:
    """Which studies match."""
    call = _call(settings, peer, settings.retrieve.answer_s)
    return StudyQuery(**call, keys=keys, most=settings.retrieve.most_studies)


def day_query(settings: Settings, peer: Peer, keys: StudyKeys) -> StudyQuery:
    """Which studies of a day match; a day has more than a person asks for."""
    call = _call(settings, peer, settings.retrieve.answer_s)
    return StudyQuery(**call, keys=keys, most=_MOST_OF_A_DAY)


def series_query(settings: Settings, peer: Peer, study_instance_uid: str) -> SeriesQuery:
    """Which series the study has."""
    call = _call(settings, peer, settings.retrieve.answer_s)
    return SeriesQuery(**call, study_instance_uid=study_instance_uid)


def worklist_query(settings: Settings, peer: Peer, day: date) -> WorklistQuery:
    """Who is scheduled on that day."""
    call = _call(settings, peer, settings.retrieve.answer_s)
    return WorklistQuery(**call, day=f"{day:%Y%m%d}", most=_MOST_SCHEDULED)


def contents_query(settings: Settings, peer: Peer, study_instance_uid: str) -> ContentsQuery:
    """Which instances the study has."""
    call = _call(settings, peer, settings.retrieve.answer_s)
    return ContentsQuery(**call, study_instance_uid=study_instance_uid)


def steps_errand(settings: Settings, peer: Peer, requests: Sequence[StepRequest]) -> StepsErrand:
    """Requests about the procedure steps of a manager."""
    # It has a list of its own, and no DICOMweb service is asked for that.
    call = {**_call(settings, peer, settings.retrieve.answer_s), "dicomweb": ""}
    return StepsErrand(**call, requests=tuple(requests))


def transfer(
    settings: Settings,
    peer: Peer,
    way: Way,
    study_instance_uid: str,
    wanted: Sequence[FoundInstance],
    portions: Sequence[Portion],
    folder: Path,
) -> Transfer:
    """Have the portions sent; `wanted` says which SOP Classes they hold."""
    return Transfer(
        **_call(settings, peer, settings.retrieve.answer_s),
        study_instance_uid=study_instance_uid,
        way=way,
        portions=tuple(portions),
        sop_class_uids=tuple(sorted({each.sop_class_uid for each in wanted} - {""})),
        our_port=settings.dicom_port,
        folder=str(folder) if way is not Way.MOVE else "",
        maximum_bytes=settings.receive.maximum_object_bytes,
        minimum_free_percent=settings.data.minimum_free_percent,
        longest_s=settings.retrieve.limit_s,
        longest_silence_s=settings.retrieve.silence_s,
    )


def portions_of(
    missing: Sequence[FoundInstance], contents: Sequence[FoundInstance], *, is_whole: bool = True
) -> list[Portion]:
    """What to ask for so that `missing` comes: the study, whole series, or instances by name, whatever is coarsest.

    `contents`: every instance of the series that are wanted; `is_whole`: of the whole study.
    """
    lacking = {each.sop_instance_uid for each in missing}
    if is_whole and lacking >= {each.sop_instance_uid for each in contents}:
        return [Portion()]
    series: dict[str, list[str]] = {}
    for each in contents:
        series.setdefault(each.series_instance_uid, []).append(each.sop_instance_uid)
    portions: list[Portion] = []
    for series_uid, uids in series.items():
        named = [uid for uid in uids if uid in lacking]
        if len(named) == len(uids):
            portions.append(Portion(series_instance_uid=series_uid))
            continue
        for first in range(0, len(named), _MOST_NAMED):
            some = tuple(named[first : first + _MOST_NAMED])
            portions.append(Portion(series_instance_uid=series_uid, sop_instance_uids=some))
    return portions


def _call(settings: Settings, peer: Peer, answer_s: float) -> dict[str, Any]:
    return {
        "peer": peer.name,
        "host": peer.host,
        "port": peer.port or 0,
        "their_ae_title": peer.ae_title,
        "our_ae_title": settings.node.ae_title,
        "dicomweb": peer.dicomweb,
        "connect_s": settings.deliver.connect_s,
        "answer_s": answer_s,
    }
