"""What a model process loads is what was trusted: it looks at every file itself, before anything in one runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from node.catalogue.lock import trust
from node.catalogue.models import load_models
from node.domain.model_card import Mode
from node.errors import Failed, Misconfigured
from node.infer import serving
from node.infer.messages import Start
from tests.catalogue.bundles import write_model


@pytest.fixture
def start(tmp_path: Path) -> Start:
    folder = write_model(tmp_path / "models")
    lock = tmp_path / "models" / "models.lock"
    trust(tmp_path / "models", "spleen", lock)
    (model,) = load_models(tmp_path / "models", [lock], {"spleen": Mode.LIVE})
    weights = {role: str(path) for role, path in model.weights.items()}
    return Start(
        card=model.card, folder=str(folder), weights=weights, model_digest=model.model_digest, device="cpu", threads=1
    )


class Evil:
    """A pickle that would write a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, (f"open({str(self._mark)!r}, 'w')",))


def tampered_weights(folder: Path) -> None:
    torch.save({"weight": Evil(folder.parent / "mark")}, folder / "bundle" / "models" / "model.pt")


def more_code(folder: Path) -> None:
    (folder / "bundle" / "scripts").mkdir()
    mark = str(folder.parent / "mark")
    (folder / "bundle" / "scripts" / "__init__.py").write_text(f"open({mark!r}, 'w')\n")


def other_configuration(folder: Path) -> None:
    mark = folder.parent / "mark"
    text = f'{{"network_def": {{"_target_": "os.system", "command": "touch {mark}"}}}}'
    (folder / "bundle" / "configs" / "inference.json").write_text(text)


@pytest.mark.parametrize("change", [tampered_weights, more_code, other_configuration])
def test_what_changed_since_it_was_trusted_is_not_loaded(start: Start, change: Callable[[Path], None]) -> None:
    folder = Path(start.folder)
    change(folder)
    with pytest.raises(Failed, match="the files of the model spleen are not those that were trusted"):
        serving.load(start)
    assert not (folder.parent / "mark").exists()


def test_weights_that_are_a_pickle_with_code_are_refused_though_trusted(start: Start, monkeypatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    folder = Path(start.folder)
    tampered_weights(folder)
    lock = folder.parent / "models.lock"
    trusted = replace(start, model_digest=trust(folder.parent, "spleen", lock))
    with pytest.raises(Misconfigured, match="more than tensors"):
        serving.load(trusted)
    assert not (folder.parent / "mark").exists()
