"""Studies close when they are complete, over the network and with every room: by the modality, early, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from tests.associations import associated
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.receive.intakes.test_mpps import creation, ending, reason
from tests.site import ArchiveProcess, Site, running, wait_until

pytestmark = pytest.mark.timeout(300)
#: Longer than any of these tests waits: nothing here closes by silence.
QUIET_S = 3000.0


def site_in(folder: Path, **settings: object) -> tuple[Site, ArchiveProcess]:
    site = Site(folder / "site", quiet_s=QUIET_S, models=tiny_model_folder(folder / "models"), model="tiny")
    for name, value in settings.items():
        setattr(site, name, value)
    archive = ArchiveProcess(folder / "archive")
    site.peer("SCANNER", roles=["source"], results_to=["PACS"])
    site.peer("PACS", port=archive.port, roles=["destination"])
    return site, archive


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, ArchiveProcess]]:
    """A site that reads studies of the last week."""
    site, archive = site_in(tmp_path_factory.mktemp("usual"), max_age_days=7)
    with running(site, archive):
        yield site, archive


@pytest.fixture
def early(tmp_path: Path) -> Iterator[tuple[Site, ArchiveProcess]]:
    """A site whose model reads whole series before their study is complete."""
    site, archive = site_in(tmp_path, completeness="series_quiet_s = 1", model_settings="early = true")
    with running(site, archive):
        yield site, archive


def head(folder: Path, study: str, *, study_date: str = "", series: str = "", modality: str = "MR") -> list[Path]:
    """A head made on `study_date`, or that does not say when."""
    files = tiny_head(folder, study)
    for file in files:
        dataset = dcmread(file)
        dataset.StudyDate, dataset.Modality = study_date, modality
        if series:
            dataset.SeriesInstanceUID = series
            dataset.SOPInstanceUID = f"{series}.{dataset.InstanceNumber}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(file)
    return files


def tell(site: Site, step: str, *requests: tuple[str, Dataset]) -> list[Dataset]:
    """Say by MPPS what the modality does, over one association; return the statuses."""
    entity = ApplicationEntity("SCANNER")
    entity.add_requested_context(ModalityPerformedProcedureStep)
    answers = []
    with associated(entity, site.port, ae_title="MATINS") as association:
        assert association.is_established
        for operation, dataset in requests:
            send = association.send_n_create if operation == "N-CREATE" else association.send_n_set
            answers.append(send(dataset, ModalityPerformedProcedureStep, step)[0])
    return answers


def sent(site: Site, files: Sequence[Path]) -> None:
    assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))


def in_state(site: Site, study: str, state: str) -> dict[str, Any]:
    def told() -> Any:
        story = site.story(study)
        return story if story["state"] == state else None

    found: dict[str, Any] = wait_until(f"{study} {state}", told)
    return found


def test_the_modality_ends_the_wait(usual: tuple[Site, ArchiveProcess], tmp_path: Path) -> None:
    site, archive = usual
    before = len(archive.objects())
    files = head(tmp_path, "1.2.840.1")
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    assert [each.Status for each in tell(site, "1.2.840.1.7", ("N-CREATE", creation(["1.2.840.1"])))] == [0]
    sent(site, files)
    done = tell(site, "1.2.840.1.7", ("N-SET", ending(series={"1.2.840.1.1": uids})), ("N-SET", ending()))
    assert [each.Status for each in done] == [0x0000, 0x0110]
    assert done[1].ErrorID == 0xA710
    wait_until("SEG and SR at the archive", lambda: len(archive.objects()) == before + 2)
    story = in_state(site, "1.2.840.1", "done")
    assert "the modality completed its procedure step (MPPS) and all 12 instances" in story["revisions"][0]["reason"]
    assert story["procedure_steps"][0]["performed_procedure_step_status"] == "COMPLETED"


def test_the_wrong_worklist_entry_lets_nothing_out(usual: tuple[Site, ArchiveProcess], tmp_path: Path) -> None:
    site, archive = usual
    before = len(archive.objects())
    sent(site, head(tmp_path, "1.2.840.2"))
    wrong = ending("DISCONTINUED", {}, PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110514"))
    tell(site, "1.2.840.2.7", ("N-CREATE", creation(["1.2.840.2"])), ("N-SET", wrong))
    story = in_state(site, "1.2.840.2", "held")
    assert "incorrect worklist entry selected" in story["reason"]
    assert site.command("release", "1.2.840.2").returncode == 0
    wait_until("SEG and SR at the archive", lambda: len(archive.objects()) == before + 2)


def test_an_old_study_is_filed_in_silence_until_somebody_asks(
    usual: tuple[Site, ArchiveProcess], tmp_path: Path
) -> None:
    site, archive = usual
    before = len(archive.objects())
    files = head(tmp_path, "1.2.840.3", study_date="20200101")
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    sent(site, files)
    tell(
        site,
        "1.2.840.3.7",
        ("N-CREATE", creation(["1.2.840.3"])),
        ("N-SET", ending(series={"1.2.840.3.1": uids})),
    )
    story = in_state(site, "1.2.840.3", "done")
    assert [(each["state"], each["reason"][:8]) for each in story["outcomes"]] == [("not_applicable", "a prior:")]
    assert (story["lane"], story["score"], len(archive.objects())) == ("ROUTINE", 0, before)
    assert site.command("force", "1.2.840.3").returncode == 0
    wait_until("SEG and SR at the archive", lambda: len(archive.objects()) == before + 2)


def test_a_head_does_not_wait_for_the_scout(early: tuple[Site, ArchiveProcess], tmp_path: Path) -> None:
    site, archive = early
    sent(site, head(tmp_path, "1.2.840.4"))
    wait_until("SEG and SR at the archive", lambda: len(archive.objects()) == 2)
    story = in_state(site, "1.2.840.4", "receiving")
    assert (story["revision"], story["revisions"][0]["closed_at"]) == (1, "")
    sent(site, head(tmp_path / "scout", "1.2.840.4", series="1.2.840.4.5", modality="OT"))
    assert site.command("force", "1.2.840.4").returncode == 0
    story = in_state(site, "1.2.840.4", "done")
    assert [each["number"] for each in story["revisions"]] == [1]
    assert "what was read early stands" in story["revisions"][0]["reason"]
    assert [(each["state"], each["run_number"]) for each in story["outcomes"]] == [("result", 1)]
    assert len(archive.objects()) == 2
