"""`matins train` and `evaluate`: their options and help. What they do stands in modules loaded when they are called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, Json, family

learn = family("Learning.")


class Part(StrEnum):
    """Which cases judge a model."""

    TEST = "test"
    VALIDATION = "validation"
    ALL = "all"


_Rank = Annotated[int, typer.Option(envvar="RANK", hidden=True)]
_LocalRank = Annotated[int, typer.Option(envvar="LOCAL_RANK", hidden=True)]
_World = Annotated[int, typer.Option(envvar="WORLD_SIZE", hidden=True)]


@learn.command()
def train(
    source: Annotated[Path, typer.Argument(help="A recipe (.toml), or a data set: folder, .csv, .npz, dataset.json")],
    dataset: Annotated[Path | None, typer.Option("--dataset", help="Where the recipe's data set lies")] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Name of the new model")] = "",
    run: Annotated[Path | None, typer.Option("--run", help="Folder of this run; goes on where it was")] = None,
    split: Annotated[Path | None, typer.Option("--split", help="A split that was written down before")] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="One training each; repeatable")] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="0: as the recipe says")] = 0,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change the recipe; repeatable")
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Look for a better recipe first, as [search] says")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Data sheet, split and recipe; train nothing")] = False,
    install: Annotated[bool, typer.Option(help="Put the model into the models folder, locked and off")] = True,
    as_json: Json = False,
    config: Config = None,
    data: Data = None,
    rank: _Rank = 0,
    local_rank: _LocalRank = 0,
    world: _World = 1,
) -> None:
    """Train a model on a data set: sheet, split, training, figures, card. The same command goes on after a kill.

    Over several GPUs: torchrun --nproc-per-node 4 -m node train ...
    """
    from node.commands import learning

    wish = learning.Wish(
        source=source,
        dataset=dataset,
        model=model,
        run=run,
        split=split,
        seeds=tuple(seed or ()),
        epochs=epochs,
        changes=tuple(change or ()),
        device=device,
        search=search,
        dry_run=dry_run,
        install=install,
        as_json=as_json,
        rank=rank,
        local_rank=local_rank,
        world=world,
    )
    learning.train(wish, config, data)


@learn.command()
def evaluate(
    subject: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="Name of a model, or folder of a model or run")],
    dataset: Annotated[Path | None, typer.Argument(help="A data set; default: what the run was tested on")] = None,
    part: Annotated[Part, typer.Option("--part", help="test: what it never met; all: what it learnt, too")] = Part.TEST,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Of a run, these alone; repeatable")] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Write figures and predictions there")] = None,
    seismometer: Annotated[
        Path | None, typer.Option("--seismometer", metavar="DIR", help="Write what seismometer reads there")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda")] = "auto",
    explain: Annotated[
        int | None, typer.Option("--explain", min=0, metavar="CASES", help="Explanations that are measured; 0: none")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--explain-minutes", min=0.01, help="What takes longer is left out, and told")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Say how good a model is, with 95 % intervals: of a run, or of a model on a data set that it has never seen."""
    from node.commands import evaluating

    wish = evaluating.Wish(
        subject=subject,
        dataset=dataset,
        part=part.value,
        seeds=tuple(seed or ()),
        to=to,
        seismometer=seismometer,
        device=device,
        explain=explain,
        minutes=minutes,
        as_json=as_json,
    )
    evaluating.evaluate(wish, config, data)
