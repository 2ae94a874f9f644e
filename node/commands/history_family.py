"""`matins history`: what is known of a patient and from whom; `import` takes it from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from node.commands import options
from node.commands.options import Commands, Config, Data, DryRun, Json

_OWN = ("show", "import", "--help")


class _Commands(Commands):
    """A study may follow at once: `matins history STUDY` is `matins history show STUDY`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front that the words leave out."""
        return super().parse_args(ctx, args if not args or args[0] in _OWN else ["show", *args])


history = options.family("What is known of a patient, with its source and date: `history STUDY`, or `history import`.")
history.info.cls = _Commands


@history.command("show")
def show(
    study: options.PerhapsStudy = None,
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="Patient ID, with --issuer")] = "",
    issuer: Annotated[str, typer.Option("--issuer", help="Who issued the Patient ID")] = "",
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Every fact of a study's patient; what may be another person's and why; who was asked, and what came of it."""
    from node.commands import history_showing, site

    history_showing.show(site.settings_from(config, data), study or "", patient, issuer, as_json=as_json)


@history.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="CSV (UTF-8) or SQLite")],
    table: Annotated[str, typer.Option("--table", help="Table of an SQLite file that has several")] = "",
    sound_rows: Annotated[
        bool, typer.Option("--sound-rows", help="Keep what is right although other rows are wrong")
    ] = False,
    dry_run: DryRun = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take history from a table, in place of what a table of this name told before; columns: node/HISTORY.md."""
    from node.commands import history_importing, site

    settings = site.settings_from(config, data)
    history_importing.import_table(settings, file, table=table, sound_rows=sound_rows, dry_run=dry_run, as_json=as_json)
