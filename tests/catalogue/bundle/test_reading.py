from __future__ import annotations

from pathlib import Path

import pytest

from node.catalogue.bundle import complaints, reading, sections
from node.errors import Misconfigured
from tests.catalogue.bundles import configuration, write_bundle


def written(tmp_path: Path, text: str | bytes, name: str = "a.yaml") -> Path:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_json_and_yaml_give_the_same(tmp_path: Path) -> None:
    as_json = reading.read(written(tmp_path, '{"a": {"0": [1, 2.5, true, null, "x"]}}', "a.json"))
    as_yaml = reading.read(written(tmp_path, "a:\n  '0': [1, 2.5, true, null, x]\n"))
    assert as_json == as_yaml == {"a": {"0": [1, 2.5, True, None, "x"]}}


def test_a_number_may_be_a_key(tmp_path: Path) -> None:
    assert reading.read(written(tmp_path, "a: {1: 2}\n")) == {"a": {1: 2}}


def test_what_an_alias_stands_for_is_its_own_copy(tmp_path: Path) -> None:
    found = reading.read(written(tmp_path, "a: &x [1]\nb: *x\n"))
    found["a"].append(2)
    assert found["b"] == [1]


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        (LAUGHS, "a.yaml", "more than 100000 values"),
        ("a: &a [*a]\n", "a.yaml", "nested too deeply"),
        ("a: " + "[" * 3000 + "]" * 3000, "a.yaml", "nested too deeply"),
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "a.json", "nested too deeply"),
        ("a: !!python/object/apply:os.system [touch x]\n", "a.yaml", "could not determine a constructor"),
        ("a: 1\na: 2\n", "a.yaml", "twice"),
        ('{"a": 1, "a": 2}', "a.json", "twice"),
        ("1: 1\n'1': 2\n", "a.yaml", "twice"),
        ("[1, 2]", "a.json", "no sections"),
        ("{", "a.json", "no sound json file"),
        (b"\xff\xfe", "a.json", "no sound json file"),
        (b" " * (reading.MOST_BYTES + 1), "a.json", "larger"),
    ],
)
def test_a_file_that_is_too_much_is_refused_and_named(tmp_path: Path, text: str, name: str, problem: str) -> None:
    file = written(tmp_path, text, name)
    with pytest.raises(Misconfigured, match=problem) as caught:
        reading.read(file)
    assert caught.value.file == str(file)


def test_only_what_reads_a_study_runs(tmp_path: Path) -> None:
    kept = sections.running(configuration())
    assert kept.keys() == {"network_def", "network", "device", "preprocessing", "inferer", "postprocessing"}
    assert "LoadImaged" not in str(kept)
    assert complaints(kept) == []
    assert sections.needs(write_bundle(tmp_path / "bundle")) == []


def test_what_a_kept_section_mentions_runs_with_its_import() -> None:
    found = configuration()
    found["steps"] = [{"_target_": "Lambdad", "keys": "image", "func": "$os.getcwd"}]
    found["preprocessing"]["transforms"] = "@steps"
    kept = sections.running(found)
    assert kept["imports"] == ["$import os"]
    assert set(complaints(kept)) == {
        "imports::0 imports ($import os)",
        "steps::0::func names os.getcwd ($os.getcwd)",
    }
