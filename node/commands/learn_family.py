"""`matins train`: its options and its help. What it does stands in `learning.py`, loaded when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, Json, family

learn = family("Learning.")
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
        dry_run=dry_run,
        install=install,
        as_json=as_json,
        rank=rank,
        local_rank=local_rank,
        world=world,
    )
    learning.train(wish, config, data)
