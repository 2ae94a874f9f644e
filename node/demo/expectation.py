"""What has to come back for each made-up study, and what is still missing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import SegmentationStorage

from node.demo.collection import Arrival, arrivals
from node.demo.head import DemoStudy
from node.demo.site import NODE, Site
from node.domain.work import OutcomeState, ResultState

#: The kinds of result, in the order in which they are told.
KINDS = ("SEG", "SR")
_STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # PS3.4 §B.5: the family
_GIVEN_UP = frozenset({OutcomeState.FAILED, OutcomeState.INCOMPLETE, OutcomeState.NOT_APPLICABLE})
_STUCK = frozenset({ResultState.DEAD, ResultState.HELD})
_THERE = frozenset({ResultState.SENT, ResultState.COMMITTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one made-up study stands at one moment."""

    study: DemoStudy
    #: The study as the worklist tells it; empty before the node knows it.
    story: Mapping[str, Any]
    #: Kind → what the archive got of it from the node.
    results: Mapping[str, Arrival]

    @property
    def missing(self) -> list[str]:
        """What has not come back yet, in words; empty when all is there."""
        if self.study.expected_series_uid is None:
            states = [outcome["state"] for outcome in self._outcomes]
            return [] if states and set(states) == {OutcomeState.NOT_APPLICABLE} else ["the reason why no model suits"]
        missing = [f"{kind} at the archive" for kind in KINDS if kind not in self.results]
        sent = [result["kind"] for result in self._sendings if result["state"] in _THERE]
        return missing or (["the node's note that all was sent"] if len(sent) < len(KINDS) else [])

    @property
    def hopeless(self) -> str:
        """Why waiting has no sense any more; empty while it has."""
        if self.study.expected_series_uid is None:
            return ""
        given_up = [outcome for outcome in self._outcomes if outcome["state"] in _GIVEN_UP]
        if given_up:
            return "; ".join(f"{each['model']} {_words(each['state'])}: {each['reason']}" for each in given_up)
        dead = [result for result in self._sendings if result["state"] in _STUCK]
        return "; ".join(f"{each['kind']} not sent: {each['reason']}" for each in dead)

    @property
    def words(self) -> str:
        """The standing in a few words."""
        parts = [f"{kind} at the archive" for kind in KINDS if kind in self.results]
        if not parts:
            parts = [_words(outcome["state"]) for outcome in self._outcomes]
        return ", ".join(parts) or str(self.story.get("state", "not known yet"))

    @property
    def _outcomes(self) -> Sequence[Mapping[str, Any]]:
        outcomes: Sequence[Mapping[str, Any]] = self.story.get("outcomes", [])
        return outcomes

    @property
    def _sendings(self) -> Sequence[Mapping[str, Any]]:
        sendings: Sequence[Mapping[str, Any]] = self.story.get("results", [])
        return sendings


def standings(site: Site, studies: Sequence[DemoStudy], worklist: Sequence[Mapping[str, Any]]) -> dict[str, Standing]:
    """Return the standing of each study, by its UID, from the node's worklist and the archive's journal."""
    stories = {story["study_instance_uid"]: story for story in worklist}
    came = [arrival for arrival in arrivals(site.archive_folder) if arrival.calling_ae_title == NODE]
    return {
        study.study_instance_uid: Standing(
            study=study,
            story=stories.get(study.study_instance_uid, {}),
            results={
                kind: arrival
                for arrival in came
                if arrival.study_instance_uid == study.study_instance_uid
                and (kind := _kind(arrival.sop_class_uid)) is not None
            },
        )
        for study in studies
    }


def kept(site: Site, standing: Standing) -> dict[str, Path]:
    """Copy the study's results out of the archive's folder, and return kind → where each copy lies."""
    site.results_folder.mkdir(exist_ok=True)
    copies = {}
    for kind in KINDS:
        if kind in standing.results:
            copies[kind] = site.results_folder / f"{standing.study.name}-{kind.lower()}.dcm"
            shutil.copyfile(site.archive_folder / standing.results[kind].file, copies[kind])
    return copies


def _kind(sop_class_uid: str) -> str | None:
    if sop_class_uid == SegmentationStorage:
        return "SEG"
    return "SR" if sop_class_uid.startswith(_STRUCTURED_REPORTS) else None


def _words(state: str) -> str:
    return state.replace("_", " ")
