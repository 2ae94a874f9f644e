from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.demo.collection import ARRIVALS
from node.demo.expectation import kept, standings
from node.demo.head import DemoStudy
from node.demo.site import Site, laid_out

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
SENT = [{"kind": "seg", "state": "sent", "reason": ""}, {"kind": "measurement_sr", "state": "committed", "reason": ""}]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = laid_out(tmp_path)
    made.archive_folder.mkdir()
    return made


def arrive(site: Site, study: str, sop_class: str, *, caller: str = "MATINS", content: bytes = b"x") -> None:
    file = f"{len(list(site.archive_folder.iterdir()))}.dcm"
    (site.archive_folder / file).write_bytes(content)
    line = {
        "sop_class_uid": sop_class,
        "sop_instance_uid": "1.2",
        "series_instance_uid": "1.3",
        "study_instance_uid": study,
        "calling_ae_title": caller,
        "file": file,
        "sha256": "",
    }
    with (site.archive_folder / ARRIVALS).open("a") as journal:
        journal.write(json.dumps(line) + "\n")


def story(study: DemoStudy, state: str, *, reason: str = "", results: list[dict[str, str]] | None = None) -> Any:
    outcome = {"model": "brain-t1", "state": state, "reason": reason}
    return {
        "study_instance_uid": study.study_instance_uid,
        "state": "reading",
        "outcomes": [outcome],
        "results": results or [],
    }


def standing(site: Site, study: DemoStudy, *worklist: Any) -> Any:
    return standings(site, [study], worklist)[study.study_instance_uid]


def test_before_anything_is_known_both_results_are_missing(site: Site, studies: dict[str, DemoStudy]) -> None:
    found = standing(site, studies["routine"])
    assert found.missing == ["SEG at the archive", "SR at the archive"]
    assert found.hopeless == ""
    assert found.words == "not known yet"


def test_nothing_is_missing_once_both_results_arrived_and_the_node_knows_it(
    site: Site, studies: dict[str, DemoStudy]
) -> None:
    study = studies["routine"]
    arrive(site, study.study_instance_uid, SEG)
    assert standing(site, study, story(study, "result")).missing == ["SR at the archive"]
    arrive(site, study.study_instance_uid, SR)
    unsent = [SENT[0], {"kind": "measurement_sr", "state": "queued", "reason": ""}]
    assert standing(site, study, story(study, "result", results=unsent)).missing == [
        "the node's note that all was sent"
    ]
    done = standing(site, study, story(study, "result", results=SENT))
    assert done.missing == []
    assert done.words == "SEG at the archive, SR at the archive"


def test_only_what_the_node_sent_for_this_study_counts(site: Site, studies: dict[str, DemoStudy]) -> None:
    study = studies["routine"]
    arrive(site, studies["urgent"].study_instance_uid, SEG)
    arrive(site, study.study_instance_uid, SR, caller="SOMEBODY")
    arrive(site, study.study_instance_uid, "1.2.840.10008.5.1.4.1.1.4")
    assert standing(site, study).results == {}


@pytest.mark.parametrize("state", ["failed", "incomplete", "not_applicable"])
def test_a_model_that_gave_up_ends_the_waiting_with_its_reason(
    site: Site, studies: dict[str, DemoStudy], state: str
) -> None:
    found = standing(site, studies["routine"], story(studies["routine"], state, reason="a NaN"))
    assert found.hopeless == f"brain-t1 {state.replace('_', ' ')}: a NaN"


@pytest.mark.parametrize("state", ["dead", "held"])
def test_a_result_that_will_not_be_sent_ends_the_waiting(site: Site, studies: dict[str, DemoStudy], state: str) -> None:
    stuck = [{"kind": "seg", "state": state, "reason": "refused 0xC000"}]
    found = standing(site, studies["routine"], story(studies["routine"], "result", results=stuck))
    assert found.hopeless == "seg not sent: refused 0xC000"


@pytest.mark.parametrize("state", ["pending", "running", "result"])
def test_a_model_at_work_is_waited_for(site: Site, studies: dict[str, DemoStudy], state: str) -> None:
    assert standing(site, studies["routine"], story(studies["routine"], state)).hopeless == ""


def test_the_study_that_suits_no_model_needs_the_reason_and_no_object(
    site: Site, studies: dict[str, DemoStudy]
) -> None:
    study = studies["unsuitable"]
    assert standing(site, study).missing == ["the reason why no model suits"]
    assert standing(site, study, story(study, "running")).missing == ["the reason why no model suits"]
    done = standing(site, study, story(study, "not_applicable", reason="no T1"))
    assert (done.missing, done.hopeless, done.words) == ([], "", "not applicable")


def test_results_are_copied_under_names_for_people(site: Site, studies: dict[str, DemoStudy]) -> None:
    study = studies["urgent"]
    arrive(site, study.study_instance_uid, SEG, content=b"segmentation")
    arrive(site, study.study_instance_uid, SR, content=b"report")
    copies = kept(site, standing(site, study))
    assert {kind: path.name for kind, path in copies.items()} == {"SEG": "urgent-seg.dcm", "SR": "urgent-sr.dcm"}
    assert copies["SEG"].read_bytes() == b"segmentation"
    assert copies["SR"].parent == site.results_folder
