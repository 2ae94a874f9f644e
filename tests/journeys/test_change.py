"""Two studies of one patient: what has grown is found, told in the report, and read first where a rule asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.interop.validators import dciodvfy
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import ROOT, ArchiveProcess, Site, running, wait_until

BEFORE, OTHER, NOW = (f"1.2.826.0.1.3680043.10.7.{number}" for number in range(1, 4))
RETEST = """
[[repeatability]]
quantity = "volume"
segment_number = 1
percent = 10.0
source = "a test"
subjects = 20
"""
RULE = """
title = "Grown since the last study"
because = "It has grown"
version = "1"
source = "a test"
when_missing = "skip"

[when]
field = "change.verdict"
op = "is"
value = "grown"
code = "SCT:12738006"

[then]
points = 30
"""

#: A validator of others' looks at the report.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


class Following(Site):
    """A site with a rule of its own."""

    def write_config(self) -> None:
        super().write_config()
        (self.folder / "rules").mkdir(exist_ok=True)
        (self.folder / "rules" / "grown.toml").write_text(RULE)
        text = self.config.read_text().replace(str(ROOT / "rules"), str(self.folder / "rules"))
        self.config.write_text(text)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Following, ArchiveProcess]]:
    folder = tmp_path_factory.mktemp("change")
    site = Following(folder / "site", models=tiny_model_folder(folder / "models", more=RETEST), model="tiny")
    pacs = ArchiveProcess(folder / "pacs")
    site.peer("SCANNER", roles=["source"], results_to=["PACS"])
    site.peer("PACS", port=pacs.port, roles=["destination"])
    with running(site, pacs):
        for study, day, radius, patient in (
            (BEFORE, "20251002", 9.0, "TINY-1"),
            (OTHER, "20251003", 8.0, "TINY-2"),
            (NOW, "20260101", 10.0, "TINY-1"),
        ):
            files = tiny_head(folder / study, study, radius=radius, study_date=day, patient_id=patient)
            assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))
            wait_until(f"{study} is done", lambda study=study: is_done(site, study))
        yield site, pacs


def is_done(site: Site, study: str) -> bool:
    story = site.told(study)
    return story is not None and story["state"] == "done"


def items(node: Dataset, code: str) -> list[Dataset]:
    found = [each for each in node.get("ContentSequence", []) if name_of(each) == code]
    return found + [item for each in node.get("ContentSequence", []) for item in items(each, code)]


def name_of(item: Dataset) -> str:
    named: Any = item.get("ConceptNameCodeSequence")
    return str(named[0].CodeValue) if named else ""


def test_the_growth_of_this_patient_alone_is_told_and_ranks_the_study_first(followed) -> None:
    site, _ = followed
    story = site.story(NOW)
    (change,) = story["changes"]
    assert (change["verdict"], change["prior_study_instance_uid"], change["days"]) == ("grown", BEFORE, 91)
    assert change["ratio"] == pytest.approx((10 / 9) ** 3, rel=0.1)
    assert "grown since 2025-10-02" in story["findings"][0]["sentence"]
    assert [each["rule"] for each in story["reasons"]] == ["grown"]
    assert [each["study_instance_uid"] for each in site.json("worklist")["studies"]][0] == NOW
    assert site.story(OTHER)["changes"] == site.story(BEFORE)["changes"] == []
    assert "change    Brain grown since 2025-10-02" in site.command("show", NOW).stdout


def test_the_report_says_so_in_codes_and_names_the_image_of_the_prior(followed, tmp_path: Path) -> None:
    site, pacs = followed
    wait_until("three reports", lambda: len(reports(pacs)) == 3)
    found = {str(each.StudyInstanceUID): each for each in reports(pacs)}
    (verdict,) = items(found[NOW], "111049")
    assert verdict.ConceptCodeSequence[0].CodeValue == "15454001"
    (study,) = found[NOW].PertinentOtherEvidenceSequence
    assert study.StudyInstanceUID == BEFORE
    assert items(found[BEFORE], "111049") + items(found[OTHER], "111049") == []
    assert site.story(NOW)["state"] == "done"
    found[NOW].save_as(tmp_path / "report.dcm")
    assert dciodvfy(tmp_path / "report.dcm") == []


def reports(pacs: ArchiveProcess) -> list[Dataset]:
    return [each for each in map(dcmread, pacs.objects()) if each.Modality == "SR"]


def test_a_prior_that_is_read_after_the_report_has_it_written_once_more(followed, tmp_path: Path) -> None:
    site, pacs = followed
    late, early = (f"1.2.826.0.1.3680043.10.7.{number}" for number in (8, 9))
    for study, day, radius in ((late, "20260101", 10.0), (early, "20251002", 9.0)):
        files = tiny_head(tmp_path / study, study, radius=radius, study_date=day, patient_id="TINY-3")
        assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))
        wait_until(f"{study} is done", lambda study=study: is_done(site, study))
        wait_until(f"{study} is told of", lambda study=study: bool(of_study(pacs, study)))
    wait_until("a second report", lambda: len(of_study(pacs, late)) == 2)
    first, second = sorted(of_study(pacs, late), key=lambda each: "PredecessorDocumentsSequence" in each)
    (named,) = second.PredecessorDocumentsSequence
    named_instance = named.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named_instance.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert items(first, "111049") == []
    assert items(second, "111049")[0].ConceptCodeSequence[0].CodeValue == "15454001"
    (outcome,) = site.story(late)["outcomes"]
    assert (outcome["state"], outcome["run_number"]) == ("result", 2)
    second.save_as(tmp_path / "second.dcm")
    assert dciodvfy(tmp_path / "second.dcm") == []


def of_study(pacs: ArchiveProcess, study: str) -> list[Dataset]:
    return [each for each in reports(pacs) if each.StudyInstanceUID == study]
