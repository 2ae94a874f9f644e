"""The folder of a run: what was asked, what there was to learn from, what was learnt, and how well."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node.errors import Misconfigured
from node.learn import checkpoint

_PART = "part-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One training of a run: a seed on a fold, of one network."""

    folder: Path
    seed: int
    fold: int
    #: 0 is that of the recipe's `[network]`, 1 the first of its `[[networks]]`.
    network: int = 0

    @property
    def weights(self) -> Path:
        """The network as it was kept, single precision."""
        return self.folder / "weights.safetensors"

    @property
    def predictions(self) -> Path:
        """What it said of validation and test; written last, so that a member that has them is done."""
        return self.folder / "predictions.jsonl"

    @property
    def is_trained(self) -> bool:
        """Whether its network is whole, and at most what that says is missing."""
        return self.weights.exists() and not checkpoint.stands(self.folder)

    @property
    def is_done(self) -> bool:
        """Whether it has nothing left to do."""
        return self.predictions.exists() and self.weights.exists()

    @property
    def told(self) -> list[dict[str, Any]]:
        """What was told of each epoch so far, of all networks whose mean is kept one after the other."""
        folders = (self.folder, *part_folders(self.folder))
        return [epoch for folder in folders for epoch in checkpoint.history(folder)]

    @property
    def epochs(self) -> int:
        """Epochs that were gone through so far."""
        return len(self.told)

    def part(self, number: int, seed: int) -> Member:
        """One of the trainings that its network is the mean of; 1 is the first."""
        return replace(self, folder=self.folder / f"{_PART}{number}", seed=seed)


def part_folders(folder: Path) -> list[Path]:
    """Return the folders of a member's parts, in their order."""
    return sorted(folder.glob(f"{_PART}*"), key=lambda path: (len(path.name), path.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Paths of a run."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe with all that was derived."""
        return self.folder / "recipe.toml"

    @property
    def sheet(self) -> Path:
        """The data sheet."""
        return self.folder / "sheet.json"

    @property
    def split(self) -> Path:
        """The split."""
        return self.folder / "split.json"

    @property
    def evaluation(self) -> Path:
        """All figures."""
        return self.folder / "evaluation.json"

    @property
    def explanations(self) -> Path:
        """What was measured of its explanations."""
        return self.folder / "explanations.json"

    @property
    def together(self) -> Path:
        """What the networks that become the model say together of the test part."""
        return self.folder / "together.jsonl"

    @property
    def making(self) -> Path:
        """How its model was made."""
        return self.folder / "making.json"

    @property
    def models(self) -> Path:
        """Where the model is exported to, in a folder of its own name."""
        return self.folder / "model"

    @property
    def search(self) -> Run:
        """The run that looks for the recipe of this one."""
        return Run(folder=self.folder / "search")

    @property
    def is_begun(self) -> bool:
        """Whether anything was trained or searched here: what it was begun with stands then."""
        return any(self.folder.glob("seed-*/*")) or self.is_searched

    @property
    def is_searched(self) -> bool:
        """Whether a search was begun here."""
        return (self.folder / "journal.log").exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder to this process.

        Raises:
            Misconfigured: another one trains in it.
        """
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                problem = "another process trains in it"
                raise Misconfigured(
                    self.folder, "", problem, "Wait for it, or name another folder with --run"
                ) from None
            yield

    def member(self, seed: int, fold: int, network: int = 0) -> Member:
        """The training of a seed on a fold; -1 is the one on all cases."""
        name = f"fold-{fold}" if fold >= 0 else "whole"
        # A folder of its own for each further network: what was there before it stays where it is.
        beneath = self.folder / f"network-{network + 1}" if network else self.folder
        return Member(folder=beneath / f"seed-{seed}" / name, seed=seed, fold=fold, network=network)
