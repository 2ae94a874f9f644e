"""The database is damaged, cut short or gone: the node starts all the same, and everything acknowledged is indexed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from node.store.database import FILE_NAME
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import Site, running

pytestmark = pytest.mark.timeout(600)


def overwritten(file: Path) -> None:
    """512 random bytes in every twentieth part: somewhere in each something stands."""
    with file.open("r+b") as stream:
        for part in range(1, 20):
            stream.seek(part * file.stat().st_size // 20)
            stream.write(random.Random(part).randbytes(512))


def cut_short(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def gone(file: Path) -> None:
    file.unlink()


def test_everything_acknowledged_is_indexed_again(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
    site.mode = "off"
    site.peer("SCANNER", roles=["source"])
    files = tiny_head(tmp_path / "head", "1.2.3")
    uids = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}
    with running(site):
        assert [answer.status for answer in site.send(files, calling="SCANNER")] == [0] * len(files)
    harms: list[Callable[[Path], None]] = [overwritten, cut_short, gone]
    for harm in harms:
        for side in site.data.glob(f"{FILE_NAME}-*"):
            side.unlink()
        harm(site.data / FILE_NAME)
        if harm is overwritten:
            _the_remedy_is_told(site)
        with running(site):
            assert site.uids() == uids
            assert _is_sound(site)
    aside = list(site.data.glob(f"{FILE_NAME}.damaged-*"))
    assert len(aside) == 2
    told = site.log.read_text()
    assert all(f"it is now {file.name}" in told for file in aside)


def _is_sound(site: Site) -> bool:
    told = json.loads(site.command("check", "--no-warm", "--json").stdout)
    return all(each["ok"] for each in told["checks"] if each["about"] in ("index", "database"))


def _the_remedy_is_told(site: Site) -> None:
    """Without `matins serve` a person is told what to do, and it works."""
    checked = site.command("check", "--no-warm")
    assert checked.returncode == 1
    assert "Move it away and run `matins check --rebuild`" in checked.stdout
    file = site.data / FILE_NAME
    damaged = file.rename(site.data / "moved away")
    rebuilt = site.run("check", "--rebuild")
    assert "12 of 12 object(s) of the spool were not indexed, and are now" in rebuilt.stdout, rebuilt.stdout
    assert _is_sound(site)
    for side in site.data.glob(f"{FILE_NAME}*"):
        side.unlink()
    damaged.rename(file)
