"""The command line of `simulate`; what it does stands in `simulating`, loaded when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, Json


def simulate(
    file: Annotated[Path | None, typer.Option("--file", metavar="SCENARIO.toml", help="Simulate this scenario")] = None,
    example: Annotated[
        str,
        typer.Option("--example", metavar="NAME", help="Simulate one that comes with Matins; default: reading-room"),
    ] = "",
    from_node: Annotated[
        int | None,
        typer.Option(
            "--from-node", metavar="DAYS", min=1, max=3650, help="Simulate what this node saw in so many days"
        ),
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Simulate nothing: tell what triage did here, week by week")
    ] = False,
    weeks: Annotated[int, typer.Option("--weeks", min=1, max=520, help="With --measured: so many, and this one")] = 4,
    replications: Annotated[
        int | None, typer.Option("--replications", min=2, max=1000, help="In place of the scenario's")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The same seed gives the same figures")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png|DIR", help="Draw the waiting times, too")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the scenario as TOML, to be edited; do nothing")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What triage does to waiting times: before it is switched on by simulation, afterwards as measured here."""
    from node.commands import measuring, simulating

    if measured:
        measuring.show(
            config, data, simulating.Source(file=file, example=example, days=from_node), weeks, as_json=as_json
        )
        return
    source = simulating.Source(file=file, example=example, days=from_node)
    asked = simulating.Asked(source=source, replications=replications, seed=seed, plot=plot, dry_run=dry_run)
    simulating.simulate(config, data, asked, as_json=as_json)
