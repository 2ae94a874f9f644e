"""`matins feedback` and `matins learning`: what readers say of results, and data sets made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, DryRun, Json, Study, family
from node.domain.feedback import Verdict

feedback = family("What readers say of results.")
learning = family("Studies taken for training: without the people they are of.")

Model = Annotated[str, typer.Option("--model", metavar="NAME", help="The model whose result is meant")]


@feedback.command("feedback")
def say(
    study: Study,
    verdict: Annotated[
        Verdict | None, typer.Argument(metavar="[accept|reject]", help="Left out: show what was said")
    ] = None,
    model: Model = "",
    label: Annotated[str, typer.Option("--label", metavar="CLASS", help="With reject: the class that it is")] = "",
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Kept here; it never leaves the node")] = "",
    by: Annotated[str, typer.Option("--as", metavar="LOGIN", help="Who says so; default: this session's login")] = "",
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say whether a model was right. The next training learns from it; the reading list does not change."""
    from node.commands import feeding_back, site

    settings = site.settings_from(config, data)
    if verdict is None:
        feeding_back.show(settings, study, as_json=as_json)
    else:
        feeding_back.give(settings, study, model=model, verdict=verdict, label=label, because=because, by=by)


@learning.command("collect")
def collect(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set goes; a folder that is not there")],
    study: Annotated[
        list[str] | None, typer.Option("--study", metavar="STUDY", help="This one, feedback or not; repeatable")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Readers' feedback on this model")] = "",
    since: Annotated[str, typer.Option("--since", metavar="DATE", help="Only feedback from this day on")] = "",
    without_dates: Annotated[bool, typer.Option("--without-dates", help="No dates, not even shifted ones")] = False,
    without_characteristics: Annotated[
        bool, typer.Option("--without-characteristics", help="Neither sex nor age")
    ] = False,
    without_descriptions: Annotated[
        bool, typer.Option("--without-descriptions", help="No words of series and study descriptions")
    ] = False,
    accept_burned_in: Annotated[
        str, typer.Option("--accept-burned-in", metavar="WORD", help="Word on the sheet that you have looked at")
    ] = "",
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Where the sheet of held-back images goes")
    ] = None,
    dry_run: DryRun = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write studies as a data set, de-identified (PS3.15 Annex E), with what readers made of them as labels.

    Images that may have text burned in are held back, and drawn on a sheet; whoever has looked at it gives its word.
    """
    from node.commands import collecting, site
    from node.learn.deidentify.profile import Options

    options = Options(
        dates=not without_dates, characteristics=not without_characteristics, descriptors=not without_descriptions
    )
    asked = collecting.Asked(
        target=target,
        studies=tuple(study or ()),
        model=model,
        since=since,
        options=options,
        word=accept_burned_in,
        sheet=sheet,
        dry_run=dry_run,
    )
    collecting.collect(site.settings_from(config, data), asked, as_json=as_json)


@learning.command("leaks")
def leaks(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A data set, model, report; a folder or a file")],
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Look in a folder for anybody whose studies are held here: names, IDs, dates, UIDs. Exit code 1: there is one."""
    from node.commands import collecting, site

    collecting.leaks(site.settings_from(config, data), target, as_json=as_json)
