"""What all commands have in common: options, and how an error ends them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from node.errors import MatinsError, Misconfigured

Config = Annotated[Path | None, typer.Option("--config", help="config.toml; default: the one here, else Matins' own")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder, in place of the one in config.toml")]
Quiet = Annotated[float | None, typer.Option("--quiet", metavar="SECONDS", help="In place of every quiet time")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing")]
PerhapsStudy = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="UID, its beginning, or accession number")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model's folder")]
ModelVersion = Annotated[str, typer.Option("--model", metavar="NAME@DIGEST", help="All of one model version")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for those who look at the study later")]
Remaining = Annotated[bool, typer.Option("--remaining", help="List what no rejection note takes back, to be deleted")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; only --model asks")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="UID, its beginning, or accession number")]


class Commands(TyperGroup):
    """Turns our errors into one line on standard error and the exit code that belongs to them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except MatinsError as error:
            typer.echo(f"matins: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, Misconfigured) else 1) from None


def family(help_text: str) -> typer.Typer:
    """A family of commands."""
    # Plain help: boxes cut long lines where standard output is no terminal.
    return typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help_text,
    )
