from __future__ import annotations

import random
from pathlib import Path

from node.errors import Misconfigured
from node.store import tallies
from node.store.database import FILE_NAME, open_database

_PAGE = 4096


def test_whichever_page_of_the_schema_is_damaged_the_damage_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    open_database(folder, "test").close()
    file = folder / FILE_NAME
    sound = file.read_bytes()
    said, refused = 0, []
    for start in range(0, 24 * _PAGE, _PAGE):
        harmed = bytearray(sound)
        harmed[start : start + 512] = random.Random(start).randbytes(512)
        file.write_bytes(harmed)
        try:
            db = open_database(folder, "test")
        except Misconfigured as error:
            refused.append(str(error))
            continue
        try:
            assert tallies.damage(db), f"page at {start}"
            said += 1
        finally:
            db.close()
    assert said > 5
    assert all("matins check --rebuild" in each for each in refused)


def test_a_sound_database_has_no_damage(tmp_path: Path) -> None:
    db = open_database(tmp_path / "var", "test")
    assert tallies.damage(db) == []
    db.close()
