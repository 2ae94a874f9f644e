"""Three models that answer in milliseconds, and the site's own rules about what they find."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import torch

from node.catalogue import trust
from tests.journeys.night.plan import SEEN_FROM, STEEP
from tests.journeys.tiny_model import tiny_model_folder
from tests.site import ROOT

_RETEST = """
[[repeatability]]
quantity = "volume"
segment_number = 1
percent = 10.0
source = "a test"
subjects = 20
"""
_CARD = """
name = "{name}"
version = "1"
title = "{title}"
purpose = "tests"
intended_use = "tests"
licence = "Apache-2.0"
citation = "none"
manufacturer = "none"
pipeline = "network"
task = "classification"
needs_volume = {needs_volume}
time_limit_s = 60.0
procedure = {{ value = "{procedure}", scheme = "LN", meaning = "{title}" }}
weights = [{{ role = "network", source = "file:net.pt" }}]

[preparation]
size = {size}
values = "window"
window = {window}
activation = "sigmoid"

{requires}

[[targets]]
index = 0
label = "{label}"
code = {{ value = "{code}", scheme = "SCT", meaning = "{label}" }}
operating_point = {seen_from}
calibration = {{ temperature = 1.0, bias = 0.0, cases = 100, fitted_on = "2026-01-01", fitted_at = "a test" }}
"""
_REQUIRES = """
[[requires]]
field = "{field}"
one_of = ["{value}"]
because = "the {field} is {{value}}"
when_missing = "refuse"
"""
_RULE = """
title = "{title}"
because = "{title}"
version = "1"
source = "a test"
when_missing = {missing}

[when]
{when}

[then]
{then}
"""
_OF_MR = '{ field = "modality", op = "is", value = "MR" }'
_VOLUME = '{ field = "finding.volume_ml", model = "tiny", code = "SCT:12738006", op = ">", value = 2.0 }'
RULES = {
    "large-brain": (
        f"all = [{_OF_MR}, {_VOLUME}]",
        "points = 35", '"flag"',
    ),
    "brain-grown": (
        'field = "change.verdict"\ncode = "SCT:12738006"\nop = "is"\nvalue = "grown"', "points = 30", '"skip"',
    ),
    "pneumothorax": (
        'field = "finding.present"\ncode = "SCT:36118008"\nop = "is"\nvalue = true',
        'lane = "URGENT"\npoints_per_probability = { code = "SCT:36118008", points = 50 }', '"skip"',
    ),
    "contrast-allergy": (
        'field = "history.allergy"\nop = "has"\nvalue = "contrast"', "points = 8", "{ points = 3 }",
    ),
}  # fmt: skip


class _Grey(torch.nn.Module):
    """The mean grey, as a logit."""

    def __init__(self, steep: float) -> None:
        super().__init__()
        self.steep = steep

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.steep * (values.flatten(1).mean(1, keepdim=True) - 0.5)


def models_folder(folder: Path) -> Path:
    """Write the models `tiny` (MR), `bleed` (CT of heads) and `chest` (DX), trusted."""
    tiny_model_folder(folder, more=_RETEST)
    of_heads = [("modality", "CT"), ("body_part_examined", "HEAD")]
    _classifier(folder, "bleed", "1386000", "Intracranial hemorrhage", "24725-4", of_heads, volume=True)
    _classifier(folder, "chest", "36118008", "Pneumothorax", "36643-5", [("modality", "DX")], volume=False)
    return folder


def rules_folder(folder: Path) -> Path:
    """Write the rules that are shipped, but for that of a model that is not here, and the site's own."""
    shutil.copytree(ROOT / "rules", folder, ignore=shutil.ignore_patterns("small-brain-volume.toml"))
    for name, (when, then, missing) in RULES.items():
        text = _RULE.format(title=name.replace("-", " ").capitalize(), when=when, then=then, missing=missing)
        (folder / f"{name}.toml").write_text(text)
    return folder


def _classifier(
    folder: Path,
    name: str,
    code: str,
    label: str,
    procedure: str,
    requires: list[tuple[str, str]],
    *,
    volume: bool,
) -> None:
    (folder / name).mkdir()
    text = _CARD.format(
        name=name,
        title=label,
        label=label,
        code=code,
        procedure=procedure,
        needs_volume=str(volume).lower(),
        size="[8, 8, 8]" if volume else "[8, 8]",
        window="[0.0, 100.0]",
        requires="".join(_REQUIRES.format(field=field, value=value) for field, value in requires),
        seen_from=SEEN_FROM,
    )
    (folder / name / "model.toml").write_text(text)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # TorchScript is what cards name today
        torch.jit.script(_Grey(STEEP)).save(folder / name / "net.pt")
    trust(folder, name, folder / "models.lock")
