"""The commands, over a store as a night leaves it: what they print, and the exit codes they end with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.commands.output import plain
from node.commands.site import config_file
from node.domain.study import StudyState
from node.domain.work import ResultState
from node.store import events, findings, outbox, outcomes, studies
from node.store.database import open_database
from node.store.files import write_durably
from node.supervisor import ROOMS
from tests import told
from tests.fakes import FakeClock, slice_of

ROOT = Path(__file__).resolve().parents[1]
SR = "1.2.840.10008.5.1.4.1.1.88.34"


class Night:
    """A data folder, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.config = told.write_config(folder)
        self.data = folder / "var"
        db, self.clock, self.policy = told.night(self.data)
        for row in db.rows("SELECT sop_instance_uid, path FROM instance"):
            write_durably(self.data / row["path"], f"object {row['sop_instance_uid']}".encode())
        db.close()

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--config", str(self.config)])

    def said(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night that is only read."""
    return Night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def fresh(tmp_path: Path) -> Night:
    """A night that the test may change."""
    return Night(tmp_path)


# ------------------------------------------------------------------------------------------------- what is shown


def test_the_worklist_is_one_json_document_with_the_keys_of_the_contract(night: Night) -> None:
    listed = night.json("worklist")["studies"]
    assert {study["study_instance_uid"] for study in listed} == {told.READ, told.UNSUITED, told.ARRIVING}
    for study in listed:
        assert {"state", "lane", "score", "reasons", "findings", "outcomes", "results"} <= study.keys()
        for outcome in study["outcomes"]:
            assert {"model", "state", "reason", "series"} <= outcome.keys()
            for series in outcome["series"]:
                assert series.keys() == {"series_instance_uid", "suits", "reason"}


def test_a_study_is_shown_with_findings_outcomes_and_results(night: Night) -> None:
    study = night.json("show", told.READ)
    (finding,), (outcome,), (result,) = study["findings"], study["outcomes"], study["results"]
    assert (study["state"], study["lane"]) == ("done", "ROUTINE")
    assert (finding["model"], finding["value"], finding["unit"], finding["probability"]) == (
        "brain",
        1234.5,
        "mL",
        None,
    )
    assert finding["code"]["code_value"] == "12738006"
    assert (outcome["model"], outcome["state"]) == ("brain", "result")
    assert outcome["series"][0]["suits"] is True
    assert (result["kind"], result["destination"], result["state"]) == ("seg", "PACS", "sent")
    assert Path(result["path"]).is_file()
    assert [event["after"] for event in study["events"]][0] == "receiving"


def test_a_study_that_no_model_suits_says_why(night: Night) -> None:
    (outcome,) = night.json("show", told.UNSUITED)["outcomes"]
    assert outcome["state"] == "not_applicable"
    assert "Not MR" in outcome["reason"]
    assert outcome["series"] == [{"series_instance_uid": "1.2.3.2.1", "suits": False, "reason": "Not MR"}]


def test_a_study_is_found_by_its_accession_number(night: Night) -> None:
    assert night.json("show", "A-1")["study_instance_uid"] == told.READ


def test_a_name_that_means_several_studies_is_refused_with_the_candidates(night: Night) -> None:
    result = night.run("show", "1.2.3")
    assert result.exit_code == 1
    assert "means 3 studies" in result.stderr
    assert told.READ in result.stderr


def test_an_unknown_study_ends_with_code_1_and_nothing_on_standard_output(night: Night) -> None:
    result = night.run("show", "9.9", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "9.9" in result.stderr


@pytest.mark.parametrize("command", [["worklist"], ["show", told.UNSUITED], ["status"], ["instances"]])
def test_nothing_that_a_peer_sent_moves_the_cursor(night: Night, command: list[str]) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", night.said(*command))


def test_controls_are_shown_as_what_they_are() -> None:
    assert plain("a\x1b[31m\u202eb\n\udc80é") == "a\\x1b[31m\\u202eb\\n\\udc80é"


def test_a_finding_is_shown_by_its_sentence_once_and_not_by_its_numbers(fresh: Night) -> None:
    with closing(open_database(fresh.data, "test")) as db, db.transaction():
        (outcome,) = outcomes.current(db, told.READ)
        (found,) = findings.of_outcome(db, outcome.id)
        twice = replace(found, sentence="Brain: volume 1240 mL.", measurements=found.measurements * 2)
        findings.record(db, outcome.id, [twice])
    lines = [line for line in fresh.said("show", told.READ).splitlines() if line.startswith("finding")]
    assert lines == ["finding   Brain: volume 1240 mL.  [brain]"]


def test_the_worklist_reads_well_as_text(night: Night) -> None:
    lines = night.said("worklist").splitlines()
    assert lines[0].split("\t") == [
        *("", "lane", "score", "patient", "study", "arrived", "waits", "state", "report", "why")
    ]
    (line,) = [line for line in lines if "Doe" in line]
    assert "ROUTINE" in line
    assert "Doe Jane, 61 y, F" in line
    assert "MR Head" in line


def test_a_study_reads_well_as_text(night: Night) -> None:
    text = night.said("show", told.READ)
    for expected in ("Brain 1234.5 mL", "seg → PACS: sent", "brain (live): result", "rank      ROUTINE"):
        assert expected in text
    assert "does not suit: Not MR" in night.said("show", told.UNSUITED)


def test_status_counts_what_is_where(night: Night) -> None:
    status = night.json("status")
    assert status["studies"] == {"done": 2, "receiving": 1}
    assert status["results"] == {"PACS": {"sent": 1}}
    assert status["work_items"]["describe"] == {"finished": 6, "ready": 1}
    assert status["serving"] is False
    assert "studies: 2 done, 1 receiving" in night.said("status")


def test_status_tells_who_was_turned_away_at_the_door(fresh: Night) -> None:
    assert fresh.json("status")["refusals"] == []
    with closing(open_database(fresh.data, "listen")) as db, db.transaction():
        now = FakeClock().now()
        events.record(db, now, "association", "NOBODY at 10.0.0.9", after="rejected", reason="RJ 1/1/3: no peer")
        events.record(db, now, "security", "SCANNER at 10.0.0.9", after="rejected", reason="RJ 1/1/3: wrong address")
        events.record(db, now, "association", "SCANNER", after="accepted")
    assert [each["about"] for each in fresh.json("status")["refusals"]] == ["security", "association"]
    said = fresh.said("status")
    assert re.search(r"^ALERT   .* SCANNER at 10.0.0.9: RJ 1/1/3: wrong address$", said, re.MULTILINE)
    assert re.search(r"^refused .* NOBODY at 10.0.0.9: RJ 1/1/3: no peer$", said, re.MULTILINE)


def test_instances_are_listed_by_uid(night: Night) -> None:
    uids = night.said("instances", "--uids").split()
    assert len(uids) == 7
    assert {each["sop_instance_uid"] for each in night.json("instances")["instances"]} == set(uids)


def test_an_empty_node_says_so(tmp_path: Path) -> None:
    config = told.write_config(tmp_path)
    assert CliRunner().invoke(app, ["worklist", "--config", str(config)]).stdout == "no studies\n"
    assert CliRunner().invoke(app, ["instances", "--uids", "--config", str(config)]).stdout == ""


# ------------------------------------------------------------------------------------------------ what is exported


def test_export_writes_the_objects_as_they_were_received(night: Night, tmp_path: Path) -> None:
    night.said("export", told.READ, str(tmp_path / "out"))
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.dcm"))
    assert files == [f"1.2.3.1.1/1.2.3.1.1.{number}.dcm" for number in range(1, 5)]
    assert (tmp_path / "out" / files[0]).read_bytes() == b"object 1.2.3.1.1.1"


def test_export_writes_every_version_when_asked(fresh: Night, tmp_path: Path) -> None:
    from tests.fakes import arrive

    db = open_database(fresh.data, "test")
    arrive(db, fresh.clock.now(), slice_of(1, study=told.READ, series="1.2.3.1.1"), version="b", describe=False)
    row = db.row("SELECT path FROM instance ORDER BY id DESC LIMIT 1")
    assert row is not None
    write_durably(fresh.data / row["path"], b"the newer version")
    db.close()
    fresh.said("export", told.READ, str(tmp_path / "current"))
    fresh.said("export", told.READ, str(tmp_path / "all"), "--all")
    assert len(list((tmp_path / "current").rglob("*.dcm"))) == 4
    assert len(list((tmp_path / "all").rglob("*.dcm"))) == 5
    assert (tmp_path / "current/1.2.3.1.1/1.2.3.1.1.1.dcm").read_bytes() == b"the newer version"


def test_export_names_no_file_after_what_is_no_uid(fresh: Night, tmp_path: Path) -> None:
    db = open_database(fresh.data, "test")
    with db.transaction():
        db.execute("UPDATE instance SET sop_instance_uid = '../../escaped', series_instance_uid = '/etc' WHERE id = 1")
    db.close()
    fresh.said("export", told.READ, str(tmp_path / "deep/er/out"))
    assert len(list((tmp_path / "deep/er/out").rglob("*.dcm"))) == 4
    assert not list(tmp_path.rglob("escaped*"))


def test_export_with_findings_writes_mask_numbers_and_evidence(fresh: Night, tmp_path: Path) -> None:
    import nibabel
    import numpy as np

    from node.domain.geometry import Grid
    from node.imaging.mask import Mask, to_bytes

    labels = np.zeros((4, 3, 2), np.uint8)
    labels[1, 2, 0] = 1
    grid = Grid((4, 3, 2), ((0.0, 0.0, 1.0, 10.0), (0.0, 2.0, 0.0, 20.0), (3.0, 0.0, 0.0, 30.0), (0.0, 0.0, 0.0, 1.0)))
    write_durably(fresh.data / "masks/one.npz", to_bytes(Mask(labels, grid, ("1", "2", "3", "4"))))
    fresh.said("export", told.READ, str(tmp_path / "out"), "--findings")
    folder = tmp_path / "out/findings"
    assert sorted(path.name for path in folder.iterdir()) == [
        "brain-mask.nii.gz",
        "brain-seg-standard.dcm",
        "findings.json",
    ]
    assert json.loads((folder / "findings.json").read_text())["findings"][0]["value"] == 1234.5
    assert (folder / "brain-seg-standard.dcm").read_bytes() == b"a segmentation"
    image: Any = nibabel.load(folder / "brain-mask.nii.gz")  # type: ignore[attr-defined]
    voxels = np.asarray(image.dataobj)
    assert voxels.shape == (2, 3, 4)
    (index,) = np.argwhere(voxels)
    # LPS (10, 24, 33) of that voxel is RAS (-10, -24, 33).
    assert (image.affine @ [*index, 1.0]).tolist() == [-10.0, -24.0, 33.0, 1.0]


def test_an_object_that_is_gone_is_told(fresh: Night, tmp_path: Path) -> None:
    next((fresh.data / "spool").rglob("*.dcm")).unlink()
    codes = [
        fresh.run("export", uid, str(tmp_path / uid)).exit_code for uid in (told.READ, told.UNSUITED, told.ARRIVING)
    ]
    assert sorted(codes) == [0, 0, 1]


# ------------------------------------------------------------------------------------------------- operations


def test_retry_sends_again_what_was_refused(fresh: Night) -> None:
    db = open_database(fresh.data, "test")
    (row,) = outbox.of_study(db, told.READ)
    with db.transaction():
        db.execute("UPDATE outbox SET state = 'dead', reason = '0xA900' WHERE id = ?", (row.id,))
    db.close()
    assert "seg is sent again to PACS" in fresh.said("retry")
    assert "nothing has failed" in fresh.said("retry", told.READ)
    assert fresh.json("show", told.READ)["results"][0]["state"] == ResultState.QUEUED


def test_force_closes_a_study_that_still_waits(fresh: Night) -> None:
    assert "closed with what has come" in fresh.said("force", told.ARRIVING)


def test_force_on_a_study_that_no_model_reads_fails_and_says_where_to_look(fresh: Night) -> None:
    result = fresh.run("force", told.UNSUITED)
    assert result.exit_code == 1
    assert "matins show" in result.stderr


def test_release_lets_a_held_study_go_on(fresh: Night) -> None:
    assert fresh.run("release", told.READ).exit_code == 1
    db = open_database(fresh.data, "test")
    with db.transaction():
        studies.move(db, fresh.clock.now(), told.READ, StudyState.HELD, "two patients")
    db.close()
    assert "looked at again" in fresh.said("release", told.READ)
    assert fresh.json("show", told.READ)["state"] == "receiving"


def test_withdraw_takes_back_what_was_found_and_says_what(fresh: Night) -> None:
    assert "is withdrawn" in fresh.said("withdraw", told.READ, "--reason", "motion")
    shown = fresh.json("show", told.READ)
    assert {each["state"] for each in shown["results"]} == {"withdrawn"}
    assert {each["reason"] for each in shown["outcomes"]} == {"withdrawn by a person: motion"}
    again = fresh.run("withdraw", told.READ)
    assert again.exit_code == 1
    assert "nothing to take back" in again.stderr


def test_import_takes_files_and_says_which_are_refused(fresh: Night, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no DICOM")
    result = fresh.run("import", str(tmp_path / "letter.txt"))
    assert result.exit_code == 1
    assert "refused" in result.stdout
    assert "0 kept, 0 held already, 1 refused" in result.stderr
    assert fresh.run("import", str(tmp_path / "nothing")).exit_code == 2


# ------------------------------------------------------------------------------------------------- check


def test_check_names_file_key_and_remedy_of_what_fails(fresh: Night) -> None:
    next((fresh.data / "spool").rglob("*.dcm")).unlink()
    result = fresh.run("check", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    (failed,) = [check for check in document["checks"] if not check["ok"]]
    assert failed["about"] == "database"
    assert "1 indexed object(s) are gone" in failed["problem"]
    assert failed["file"].endswith("matins.sqlite")
    assert failed["remedy"]


def test_check_passes_on_a_sound_node(night: Night) -> None:
    text = night.said("check")
    assert "FAIL" not in text
    assert re.search(r"all \d+ checks passed", text)


def test_check_with_bad_settings_ends_with_code_2_and_still_prints_one_document(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[node]\nae_titel = "X"\n')
    result = CliRunner().invoke(app, ["check", "--json", "--config", str(config)])
    assert result.exit_code == 2
    (failed,) = json.loads(result.stdout)["checks"]
    assert (failed["file"], failed["key"], failed["problem"]) == (str(config), "node.ae_titel", "unknown key")
    assert failed["remedy"] == "Remove it, or correct its spelling"


def test_check_says_that_nobody_answers_at_a_destination(tmp_path: Path) -> None:
    from tests.site import free_port

    config = told.write_config(tmp_path)
    port = free_port()
    config.write_text(
        f'{config.read_text()}[[peers]]\nname = "PACS"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        'roles = ["destination"]\n'
    )
    result = CliRunner().invoke(app, ["check", "--json", "--config", str(config)])
    (failed,) = [check for check in json.loads(result.stdout)["checks"] if not check["ok"]]
    assert result.exit_code == 1
    assert (failed["about"], failed["key"]) == ("peer", "peers[0]")
    assert f"nobody answers at 127.0.0.1:{port}" in failed["problem"]


def test_check_names_a_model_that_is_not_locked(tmp_path: Path) -> None:
    config = told.write_config(tmp_path)
    (tmp_path / "models" / "brain-t1").mkdir()
    card = (ROOT / "models/brain-t1/model.toml").read_text()
    (tmp_path / "models/brain-t1/model.toml").write_text(card)
    config.write_text(f'{config.read_text()}[models.brain-t1]\nmode = "live"\n')
    result = CliRunner().invoke(app, ["check", "--json", "--config", str(config)])
    failed = [check for check in json.loads(result.stdout)["checks"] if not check["ok"]]
    assert [each["about"] for each in failed] == ["model"]
    assert failed[0]["file"].endswith("model.toml")


# ------------------------------------------------------------------------------------------------- catalogue


def test_models_and_rules_of_the_checkout_are_listed() -> None:
    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json", *own_config()]).stdout)["models"]
    assert "brain-t1" in {each["model"] for each in listed}
    rules = json.loads(CliRunner().invoke(app, ["rules", "check", "--json", *own_config()]).stdout)["rules"]
    assert {each["rule"] for each in rules} == {path.stem for path in (ROOT / "rules").glob("*.toml")}


def test_a_wrong_rule_ends_with_code_1_and_names_the_file(tmp_path: Path) -> None:
    config = told.write_config(tmp_path)
    (tmp_path / "rules/no-title.toml").write_text("points = 3\n")
    result = CliRunner().invoke(app, ["rules", "check", "--config", str(config)])
    assert result.exit_code == 1
    assert "no-title.toml" in result.stderr


def test_trusting_a_model_that_is_not_there_ends_with_code_2(tmp_path: Path) -> None:
    config = told.write_config(tmp_path)
    result = CliRunner().invoke(app, ["models", "trust", "nothing", "--config", str(config)])
    assert result.exit_code == 2
    assert "model.toml" in result.stderr


def own_config() -> list[str]:
    return ["--config", str(ROOT / "config.toml")]


# ------------------------------------------------------------------------------------------------- all of them


def commands() -> Iterator[list[str]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield [command.name or command.callback.__name__]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            yield [str(group.name), str(command.name)]


@pytest.mark.parametrize("command", [words for words in commands() if words != ["demo"]], ids=" ".join)
def test_every_command_but_the_demo_takes_config_and_data(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=200)
    assert result.exit_code == 0
    assert "--config" in result.stdout
    assert "--data" in result.stdout


def test_the_commands_that_first_light_needs_are_there() -> None:
    words = "serve check status worklist show import instances export retry force demo train"
    wanted = {*words.split(), *ROOMS}
    assert wanted <= {words[0] for words in commands()}


@pytest.mark.parametrize(
    "command", [["check"], ["status"], ["worklist"], ["show"], ["models", "list"], ["rules", "check"]], ids=" ".join
)
def test_commands_that_show_something_speak_json(command: list[str]) -> None:
    assert "--json" in CliRunner().invoke(app, [*command, "--help"], terminal_width=200).stdout


def test_wrong_use_ends_with_code_2(night: Night) -> None:
    assert night.run("show").exit_code == 2
    assert night.run("nothing").exit_code == 2
    assert night.run("serve", "--quiet", "soon").exit_code == 2


def test_a_missing_config_ends_with_code_2_and_names_the_remedy(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", "--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "--config" in result.stderr


def test_the_settings_are_those_here_else_the_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(None) == ROOT / "config.toml"
    (tmp_path / "config.toml").touch()
    assert config_file(None) == Path("config.toml")
    assert config_file(Path("x.toml")) == Path("x.toml")


def test_a_room_is_reached_without_typer() -> None:
    code = (
        "import sys; from node import __main__ as door; import node.commands.room as room;"
        "room.ENTRANCES['clock'] = 'json'; sys.modules['json'].main = lambda settings: 7;"
        f"print(door.main(['clock', '--config', {str(ROOT / 'config.toml')!r}]), 'typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "7 False\n", done.stderr


def test_a_room_with_bad_settings_ends_with_code_2(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[nod]\n")
    command = [sys.executable, "-m", "node", "clock", "--config", str(tmp_path / "config.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("matins clock: ")
    assert "nod: unknown key" in done.stderr
