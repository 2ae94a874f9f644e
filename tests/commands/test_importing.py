"""`matins import`: what it prints, and the exit codes it ends with."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.commands.output import progress
from node.store import instances
from node.store.database import open_database
from tests import told
from tests.receive.objects import STUDY, mr_slice, part10

PEER = """
[[peers]]
name = "SCANNER"
ae_title = "SCANNER1"
addresses = ["127.0.0.1/32"]
roles = ["source"]
"""


class Site:
    """A node without rooms, and a disc with three slices, one of them cut, a letter and an archive of one more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = told.write_config(folder)
        self.config.write_text(self.config.read_text() + PEER)
        self.disc = folder / "disc"
        self.disc.mkdir()
        for number in (1, 2, 3):
            (self.disc / f"{number}").write_bytes(part10(mr_slice(number))[: -5 if number == 3 else None])
        (self.disc / "letter.txt").write_text("no DICOM")
        with zipfile.ZipFile(self.disc / "more.zip", "w") as archive:
            archive.writestr("4", part10(mr_slice(4)))

    def run(self, *arguments: str | Path) -> Any:
        return CliRunner().invoke(app, ["import", *map(str, arguments), "--config", str(self.config)])

    def sources(self) -> set[tuple[str, str]]:
        db = open_database(self.folder / "var", "test")
        try:
            return {(each.sop_instance_uid.rpartition(".")[2], each.source) for each in instances.of_study(db)}
        finally:
            db.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_folder_is_taken_in_and_told_in_one_line_with_what_was_refused(site: Site):
    result = site.run(site.disc)
    assert result.exit_code == 0, result.output
    refused, counts = result.stdout.splitlines()
    assert refused.startswith(f"refused {site.disc / '3'}: ")
    assert counts == "3 kept, 0 held already, 1 refused, 1 skipped that are no DICOM objects; 1 study"
    assert "0 kept, 3 held already" in site.run(site.disc).stdout
    assert site.sources() == {("1", "import"), ("2", "import"), ("4", "import")}


def test_verbose_names_what_is_skipped_too(site: Site):
    assert f"skipped {site.disc / 'letter.txt'}: no DICOM file" in site.run(site.disc, "--verbose").stdout.splitlines()


def test_json_is_one_document_and_nothing_else(site: Site):
    document = json.loads(site.run(site.disc, "--json").stdout)
    assert (document["kept"], document["held"], document["dry_run"]) == (3, 0, False)
    assert document["study_instance_uids"] == [STUDY]
    assert [Path(each["path"]).name for each in document["refused"]] == ["3"]
    assert [Path(each["path"]).name for each in document["skipped"]] == ["letter.txt"]


def test_a_dry_run_takes_nothing_in(site: Site):
    assert "3 would be kept, 0 held already" in site.run(site.disc, "--dry-run").stdout
    assert site.sources() == set()


def test_a_source_is_one_of_the_peers(site: Site):
    assert site.run(site.disc, "--source", "SCANNER").exit_code == 0
    assert {source for _, source in site.sources()} == {"SCANNER"}
    result = site.run(site.disc, "--source", "SCANER")
    assert result.exit_code == 2
    assert "no peer is called SCANER" in result.stderr
    assert "SCANNER" in result.stderr


@pytest.mark.parametrize("named", ["3", "letter.txt"])
def test_a_file_that_was_named_itself_and_is_refused_fails_the_command(site: Site, named: str):
    result = site.run(site.disc / "1", site.disc / named)
    assert (result.exit_code, "1 kept" in result.stderr) == (1, True)
    assert site.run(site.disc / named, "--json").exit_code == 1


def test_a_folder_without_objects_fails_the_command(site: Site, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = site.run(tmp_path / "empty")
    assert (result.exit_code, result.stderr) == (1, "matins: 0 kept, 0 held already, 0 refused; 0 studies\n")


def test_many_refused_files_are_counted_and_named_when_asked(site: Site):
    for number in range(30):
        (site.disc / f"9{number:02}").write_bytes(part10(mr_slice())[:-5])
    assert "refused 11 more; --verbose names them" in site.run(site.disc).stdout
    assert site.run(site.disc, "--verbose").stdout.count("refused /") == 31


def test_a_full_disk_stops_it_and_says_what_stays(site: Site, monkeypatch: pytest.MonkeyPatch):
    room = iter([True, False])
    monkeypatch.setattr("node.receive.intakes.folder.has_room", lambda *_: next(room))
    result = site.run(site.disc)
    assert result.exit_code == 1
    assert "1 were taken in until then, and stay" in result.stderr


def test_a_terminal_sees_a_bar_with_an_end(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress("files", lambda: 4) as advance:
        advance()
    assert "of 4 files" in screen.getvalue()
