"""`matins feedback` and `matins learning` as a user calls them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.report.priors.reader import DocumentReader
from node.store.database import open_database
from tests.corrections import MODEL, Room
from tests.fakes import FakeClock


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, str]:
    """A data folder with a study that is read, a reader's correction of it, and another that is a copy of a screen."""
    with closing(DocumentReader()) as reader, closing(open_database(tmp_path / "var", "test")) as db:
        room = Room(db, FakeClock(), tmp_path / "files", reader)
        images = room.series(PatientName="Nepomuk^Erika", BurnedInAnnotation="YES")
        room.correction(images)
    return tmp_path, str(images[0].StudyInstanceUID)


def run(site: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--data", str(site / "var")])
    return result.exit_code, result.output


def test_from_a_readers_word_to_a_data_set_that_tells_of_nobody(site: tuple[Path, str]) -> None:
    folder, study = site
    code, said = run(folder, "feedback", study, "--json")
    assert (code, [each["verdict"] for each in json.loads(said)["feedback"]]) == (0, ["corrected"])
    code, said = run(folder, "feedback", study, "corrected", "--model", MODEL, "--as", "maria")
    assert code == 1
    target = folder / "set"
    code, said = run(folder, "learning", "collect", str(target), "--dry-run")
    assert (code, target.exists(), "its header says so" in said) == (0, False, True)
    code, said = run(folder, "learning", "collect", str(target), "--json")
    told = json.loads(said)
    assert (code, told["images"], len(told["held_back"])) == (0, 0, 1)
    assert Path(told["sheet"]).read_bytes().startswith(b"\x89PNG")
    assert "epomuk" not in said
    assert run(folder, "learning", "leaks", str(target)) == (
        0,
        f"nobody whose studies are held here can be told from {target}\n",
    )
    code, said = run(folder, "learning", "leaks", str(folder / "files"), "--json")
    assert code == 1
    assert {kind for each in json.loads(said)["leaks"] for kind in each["kinds"]} >= {"patient name", "birth date"}
    assert "epomuk" not in said
    assert run(folder, "feedback", study, "accept", "--model", MODEL, "--as", "maria")[0] == 0
    code, said = run(folder, "learning", "collect", str(folder / "again"))
    assert (code, "neither a class nor a segmentation" in said) == (1, True)
