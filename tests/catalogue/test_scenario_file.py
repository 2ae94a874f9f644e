from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.catalogue.scenario_file import example, examples, read_scenario, scenario_text
from node.domain.scenario import OFF, Spread
from node.errors import Misconfigured

TEXT = """\
title = "A room"
[arrivals]
per_hour = 4.0
[[kinds]]
name = "CT"
reading = { mean_min = 10.0 }
[[diseases]]
name = "disease"
prevalence = 0.1
[[models]]
name = "model"
disease = "disease"
sensitivity = 0.9
specificity = 0.9
lane = "URGENT"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "scenario.toml"
    file.write_text(text)
    return file


def test_a_short_scenario_has_defaults_for_the_rest(tmp_path: Path) -> None:
    scenario = read_scenario(written(tmp_path, TEXT))
    assert scenario.traffic == pytest.approx(4 / 60 * 10)
    assert [each.name for each in scenario.disciplines] == ["Matins"]
    assert scenario.kinds[0].reading.spread is Spread.EXPONENTIAL
    assert scenario.run.replications == 20


@pytest.mark.parametrize("name", examples())
def test_every_example_is_sound_and_survives_being_written(name: str, tmp_path: Path) -> None:
    scenario = example(name)
    assert scenario.run.replications >= 20
    text = scenario_text(scenario, ["a note"])
    assert text.startswith("# a note\n")
    assert read_scenario(written(tmp_path, text)) == scenario


def test_an_example_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Misconfigured, match="published, reading-room"):
        example("nothing")


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ('title = "A room"', 'title = " "', "title", "is empty"),
        ("per_hour = 4.0", "per_hour = 0.0", "arrivals.per_hour", "is no rate"),
        ("per_hour = 4.0", "per_hour = nan", "arrivals.per_hour", "is no rate"),
        ("per_hour = 4.0", "per_hour = 4.0\nby_hour = [1, 2]", "arrivals.by_hour", "24 numbers"),
        ("per_hour = 4.0", "per_hour = 7.0", "room.radiologists", "traffic is 1.17"),
        ("per_hour = 4.0", "per_day = 4.0", "arrivals.per_day", "unknown key"),
        ("[arrivals]", "[room]\nradiologists = 0\n[arrivals]", "room.radiologists", "nobody reads"),
        ("[arrivals]", "[room]\nradiologists = [1, 2]\n[arrivals]", "room.radiologists", "24 hours"),
        ("[arrivals]", '[room]\ninterrupted_by = ["SOON"]\n[arrivals]', "room.interrupted_by[0]", "STAT"),
        ("mean_min = 10.0", "mean_min = 0", "kinds[0].reading.mean_min", "minutes"),
        ("mean_min = 10.0", 'mean_min = 9.0, spread = "lognormal"', "kinds[0].reading.deviation_min", "not given"),
        ("mean_min = 10.0", "mean_min = 9.0, deviation_min = 2", "kinds[0].reading.deviation_min", "means nothing"),
        ("[[diseases]]", "stat = 0.6\nurgent = 0.6\n[[diseases]]", "kinds[0].urgent", "more than 1"),
        ("prevalence = 0.1", "prevalence = 1.1", "diseases[0].prevalence", "is 1.1"),
        ("prevalence = 0.1", 'prevalence = 0.1\nkinds = ["MR"]', "diseases[0].kinds", "“MR” is no kind"),
        ('disease = "disease"', 'disease = "other"', "models[0].disease", "“other” is no disease"),
        ("sensitivity = 0.9", "sensitivity = 0.9\nauc = 0.9", "models[0].sensitivity", "stands beside auc"),
        ("sensitivity = 0.9", "", "models[0].sensitivity", "neither is given"),
        ("sensitivity = 0.9", "auc = 0.4", "models[0].auc", "is 0.4"),
        ('lane = "URGENT"', 'lane = "STAT"', "models[0].lane", "never lifts"),
        ('lane = "URGENT"', "", "models[0].points", "changes nothing"),
        ('lane = "URGENT"', 'lane = "URGENT"\ntime = { mean_min = -1 }', "models[0].time.mean_min", "at least 0"),
        ("[[models]]", f'[[disciplines]]\nname = "{OFF.name}"\n[[models]]', "disciplines[0].name", "taken"),
        ("[[models]]", '[[disciplines]]\nname = "a"\nmodels = ["x"]\n[[models]]', "disciplines[0].models", "no model"),
        ("[[models]]", "[run]\nreplications = 1\n[[models]]", "run.replications", "from 2"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_the_key_and_the_remedy(
    old: str, new: str, key: str, says: str, tmp_path: Path
) -> None:
    assert old in TEXT
    file = written(tmp_path, TEXT.replace(old, new))
    with pytest.raises(Misconfigured, match=re.escape(says)) as raised:
        read_scenario(file)
    assert (raised.value.file, raised.value.key) == (str(file), key)
    assert raised.value.remedy


def test_a_name_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    twice = TEXT + '[[kinds]]\nname = "CT"\nreading = { mean_min = 3 }\n'
    with pytest.raises(Misconfigured) as raised:
        read_scenario(written(tmp_path, twice))
    assert raised.value.key == "kinds[1].name"
