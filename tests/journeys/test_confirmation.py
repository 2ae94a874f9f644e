"""Results are filed with the patient whom the archive has by now, and end committed; by a whole node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, build_role

from node.domain.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from tests.associations import associated
from tests.deliver.archive import Archive
from tests.journeys.test_changed_content import accepted
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import Site, running, wait_until

pytestmark = pytest.mark.timeout(600)


class Hospital:
    """A scanner, and an archive that is asked whose a study is, and what it keeps."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "site", models=tiny_model_folder(folder / "models"), model="tiny")
        self.archive = Archive()
        self.archive.start()
        self.site.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self.site.peer(
            "PACS",
            port=self.archive.port,
            roles=["destination"],
            addresses=["127.0.0.0/8"],
            confirm="auto",
            reconcile=True,
        )

    def results(self, study: str) -> list[Any]:
        story = self.site.told(study)
        return story["results"] if story else []

    def states(self, study: str) -> list[str]:
        return sorted(each["state"] for each in self.results(study))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    try:
        with running(made.site):
            yield made
    finally:
        made.archive.stop()


def filed(study: str, **values: str) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel, made.StudyInstanceUID = "STUDY", study
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(made, keyword, values.get(keyword, ""))
    made.AccessionNumber = values.get("AccessionNumber", "")
    return made


def test_a_patient_merged_after_the_study_came_is_filed_under_the_surviving_id(
    hospital: Hospital, tmp_path: Path
) -> None:
    study, archive = "1.2.9.71", hospital.archive
    accepted(hospital.site, tiny_head(tmp_path / "head", study, patient_id="TRAUMA-17"), calling="SCANNER")

    def waits() -> bool:
        found = hospital.results(study)
        return bool(found) and all("does not have the study yet" in each["reason"] for each in found)

    wait_until("the results to wait for the study", waits)
    assert archive.received == []
    person = {"PatientName": "TINY^HEAD", "PatientBirthDate": "19700101", "PatientSex": "O"}
    archive.studies[study] = [filed(study, PatientID="SURVIVOR", AccessionNumber="A1", **person)]
    wait_until("all to be committed", lambda: set(hospital.states(study)) == {"committed", "superseded"})
    found = {each["sop_instance_uid"]: each for each in hospital.results(study)}
    assert archive.datasets
    for stored in archive.datasets:
        assert (stored.PatientID, stored.StudyInstanceUID) == ("SURVIVOR", study)
        [before] = stored.OriginalAttributesSequence
        assert before.ModifiedAttributesSequence[0].PatientID == "TRAUMA-17"
        assert found[stored.SOPInstanceUID]["state"] == "committed"
    orphans = [each for each in found.values() if each["state"] == "superseded"]
    assert not {each["sop_instance_uid"] for each in orphans} & set(archive.received)
    assert all("rebuilt with the values of PACS" in each["reason"] for each in orphans)


def test_a_report_that_comes_to_our_own_door_commits(hospital: Hospital, tmp_path: Path) -> None:
    study, archive = "1.2.9.72", hospital.archive
    archive.reports = 0
    archive.studies[study] = [filed(study, PatientID="TINY-1")]
    asked_before = len(archive.asked)
    accepted(hospital.site, tiny_head(tmp_path / "head", study), calling="SCANNER")
    uids = {each["sop_instance_uid"] for each in wait_until("results", lambda: hospital.results(study))}

    def asked() -> set[str]:
        items = [item for each in archive.asked[asked_before:] for item in each.ReferencedSOPSequence]
        return {str(item.ReferencedSOPInstanceUID) for item in items}

    wait_until("commitment to be asked for", lambda: uids <= asked())
    assert set(hospital.states(study)) == {"sent"}
    entity = AE("PACS")
    entity.add_requested_context(PUSH_MODEL)
    roles = [build_role(PUSH_MODEL, scp_role=True)]
    with associated(entity, hospital.site.port, ae_title="MATINS", ext_neg=roles) as association:
        for request in archive.asked[asked_before:]:
            report = archive.report_on(request)
            status, _ = association.send_n_event_report(report, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            assert status.Status == 0x0000
    wait_until("the report to be believed", lambda: set(hospital.states(study)) == {"committed"})
