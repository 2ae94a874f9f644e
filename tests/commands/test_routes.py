from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.store.database import open_database
from tests.deliver.ris import Ris, listening
from tests.fakes import FakeClock
from tests.notices import bleed, closed, leave, read, routed
from tests.site import free_port
from tests.told import write_config


def site(folder: Path, port: int, more: str = "") -> list[str]:
    file = write_config(folder)
    file.write_text(
        file.read_text()
        + f'[[routes]]\nname = "RIS"\nkind = "hl7"\nhost = "127.0.0.1"\nport = {port}\ninterface = "worklist"\n{more}\n'
        '[[peers]]\nname = "SCANNER"\nae_title = "SCANNER"\naddresses = ["127.0.0.1/32"]\nroles = ["source"]\n'
        'flags_to = ["RIS"]\n'
    )
    return ["--config", str(file)]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_trial_that_is_not_sent_shows_the_message_and_names_nobody(tmp_path: Path) -> None:
    code, text, _ = run("routes", "test", "RIS", "--dry-run", *site(tmp_path, free_port()))
    assert code == 0
    assert text.startswith("MSH|^~\\&|MATINS|||")
    assert "|T|2.5.1|" in text.splitlines()[0], "training, not production"
    assert "MATINS-TRIAL" in text


def test_a_trial_says_what_the_receiver_answers(tmp_path: Path) -> None:
    with listening(Ris(replies=("AA", "AR"))) as ris:
        where = site(tmp_path, ris.port)
        code, text, _ = run("routes", "test", "RIS", *where)
        assert (code, "has acknowledged the trial" in text) == (0, True)
        code, _, error = run("routes", "test", "RIS", *where)
        assert code == 1
        assert "RIS answers AR" in error
        assert "CANARY" not in error


def test_a_route_that_nobody_knows_or_that_does_not_answer_ends_with_code_1(tmp_path: Path) -> None:
    where = site(tmp_path, free_port())
    assert "there are: RIS" in run("routes", "test", "PACS", *where)[2]
    code, _, error = run("routes", "test", "RIS", *where)
    assert (code, "nobody answers" in error) == (1, True)


def test_the_routes_tell_what_waits_and_how_long_telling_takes(tmp_path: Path) -> None:
    where, clock, policy = site(tmp_path, free_port()), FakeClock(), routed()
    db = open_database(tmp_path / "var", "test")
    for study in ("1.2.3.1", "1.2.4"):
        closed(db, clock, policy, study=study, accession=study)
        read(db, clock, policy, bleed())
    clock.forward(9)
    leave(db, clock)
    db.close()
    (route,) = json.loads(run("routes", "--json", *where)[1])["routes"]
    assert (route["state"], route["waiting"], route["sources"]) == ("waiting", 1, ["SCANNER"])
    assert route["lag_p95_s"] == pytest.approx(1211, abs=1)
    assert "RIS\thl7\t127.0.0.1:" in run("routes", *where)[1]
    story = json.loads(run("show", "1.2.3.1", "--json", *where)[1])
    assert [(each["route"], each["version"], each["state"]) for each in story["notices"]] == [
        ("RIS", 1, "acknowledged")
    ]
    assert "something new was found → RIS: acknowledged" in run("show", "1.2.3.1", *where)[1]


def test_the_check_tells_of_a_template_that_would_file_a_final_result(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "node/deliver/routes/templates/oru_r01.hl7"
    (tmp_path / "own.hl7").write_text(shipped.read_text().replace("|||P||^^^^^", "|||F||^^^^^"))
    with listening(Ris()) as ris:
        where = site(tmp_path, ris.port, 'template_file = "own.hl7"')
        checks = json.loads(run("check", "--json", "--no-warm", *where)[1])["checks"]
    (route,) = [each for each in checks if each["about"] == "route"]
    assert not route["ok"]
    assert ("own.hl7" in route["file"], route["key"], "OBR-25 is P" in route["problem"]) == (True, "line 6", True)


def test_the_check_passes_a_route_that_answers(tmp_path: Path) -> None:
    with listening(Ris()) as ris:
        where = site(tmp_path, ris.port)
        checks = json.loads(run("check", "--json", "--no-warm", *where)[1])["checks"]
        (route,) = [each for each in checks if each["about"] == "route"]
        assert (route["ok"], ris.received) == (True, [])
