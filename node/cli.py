"""`matins`: every command, its options and its help; what it does stands in `commands/`, loaded when it is called.

Exit codes: 0 done, 1 failed, 2 wrong use or bad settings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from node import __version__, log
from node.commands import options
from node.commands.account_family import accounts
from node.commands.history_family import history
from node.commands.identity_family import identity
from node.commands.learn_family import learn
from node.commands.learning_family import feedback, learning
from node.commands.model_family import models
from node.commands.night_family import nights
from node.commands.options import Config, Data, Json, Quiet, Study, family
from node.commands.reading_family import reading
from node.commands.route_family import routes
from node.commands.simulation import simulate

app = family("Matins reads studies by night and puts the worst on top. Research software, not a medical device.")
rules = family("Rules of this node.")
_FAMILIES = {
    "models": models,
    "history": history,
    "identity": identity,
    "rules": rules,
    "routes": routes,
    "learning": learning,
}
for _name, _family in _FAMILIES.items():
    app.add_typer(_family, name=_name)
app.add_typer(accounts, name="accounts")
app.registered_commands += (
    reading.registered_commands + nights.registered_commands + feedback.registered_commands + learn.registered_commands
)
app.command()(simulate)


def main() -> None:
    """Run the command line of this process and end it with the exit code."""
    log.configure("cli", level=logging.WARNING)
    app(prog_name="matins")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"matins {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command()
def serve(config: Config = None, data: Data = None, quiet: Quiet = None) -> None:
    """Run all rooms until SIGTERM or Ctrl-C, then drain them."""
    from node import supervisor
    from node.commands.output import say
    from node.commands.site import config_file

    log.configure("serve")
    raise typer.Exit(supervisor.serve(config_file(config), data, quiet, say))


@app.command()
def check(
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Index the spool anew first")] = False,
    warm: Annotated[bool, typer.Option(help="Load each model and run it once on nothing")] = True,
) -> None:
    """Try everything that the settings name; every failure names the file, the key and the remedy."""
    from node.commands import checking

    raise typer.Exit(checking.check(config, data, as_json=as_json, rebuild=rebuild, warm=warm))


@app.command()
def status(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """What is where: rooms, disk, and what waits."""
    from node.commands import showing, site

    showing.status(site.settings_from(config, data), as_json=as_json)


@app.command()
def show(study: Study, config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """The whole story of one study."""
    from node.commands import showing, site

    showing.show(site.settings_from(config, data), study, as_json=as_json)


@app.command()
def instances(
    config: Config = None,
    data: Data = None,
    uids: Annotated[bool, typer.Option("--uids", help="Print SOP Instance UIDs alone, one a line")] = False,
    as_json: Json = False,
) -> None:
    """What is held, one line an instance."""
    from node.commands import showing, site

    showing.held_instances(site.settings_from(config, data), uids=uids, as_json=as_json)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", exists=True, help="Files, folders, .zip archives")],
    config: Config = None,
    data: Data = None,
    source: Annotated[str, typer.Option("--source", metavar="PEER", help="As if this peer had sent it")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, and take nothing in")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Name every file that is refused or skipped")] = False,
    as_json: Json = False,
) -> None:
    """Take in DICOM files as if they had been sent, however old; without --source their results go nowhere."""
    from node.commands import importing, site

    settings = site.settings_from(config, data)
    importing.import_files(settings, paths, source=source, dry_run=dry_run, verbose=verbose, as_json=as_json)


@app.command()
def export(
    study: Study,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; made if it is missing")],
    config: Config = None,
    data: Data = None,
    every: Annotated[bool, typer.Option("--all", help="Every version of an instance, not the current alone")] = False,
    findings: Annotated[
        bool, typer.Option("--findings", help="Also masks as NIfTI, findings.json, and the SEG and SR made here")
    ] = False,
) -> None:
    """Write a study's instances as Part 10 files."""
    from node.commands import exporting, site

    settings = site.settings_from(config, data)
    exporting.export(settings, study, target, every_version=every, with_findings=findings)


@app.command()
def retry(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study; default: all")] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Try again what failed: models, reports and sendings."""
    from node.commands import operating, site

    operating.retry(site.settings_from(config, data), study)


@app.command()
def force(study: Study, config: Config = None, data: Data = None) -> None:
    """Close a study that still waits for instances, else run its models once more."""
    from node.commands import operating, site

    operating.force(site.settings_from(config, data), study)


@app.command()
def release(study: Study, config: Config = None, data: Data = None) -> None:
    """Let a held study go on; it is held again if the reason still stands."""
    from node.commands import operating, site

    operating.release(site.settings_from(config, data), study)


@app.command()
def withdraw(
    study: options.PerhapsStudy = None,
    model: options.ModelVersion = "",
    reason: options.Reason = "",
    remaining: options.Remaining = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take back what models made of a study, or all that one model version made. It cannot be undone.

    Destinations with `rejection` get a rejection note; what others have is listed. Nothing runs again unless forced.
    """
    from node.commands import site, withdrawing

    terms = withdrawing.Terms(dry_run=dry_run, remaining=remaining, yes=yes, as_json=as_json)
    withdrawing.withdraw(site.settings_from(config, data), study, model, reason, terms)


@app.command()
def retention(config: Config = None, data: Data = None, dry_run: options.DryRun = False, as_json: Json = False) -> None:
    """Free the files that `keep_days` lets go, and say of each old study why it stays."""
    from node.commands import freeing, site

    freeing.retention(site.settings_from(config, data), dry_run=dry_run, as_json=as_json)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the whole folder of the night where it is")] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Show the worklist page, until Ctrl-C")] = False,
) -> None:
    """A whole night in two minutes: made-up patients, an embedded archive, and results that come back as DICOM."""
    from node.demo.night import run_night

    raise typer.Exit(run_night(keep=keep, open_browser=open_browser))


@app.command()
def explain(
    study: Study,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Only what this model found")] = "",
    method: Annotated[list[str] | None, typer.Option("--method", help="In place of the card's; repeatable")] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="S", min=0, help="Seconds at most")] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Write NIfTI or PNG files there, too")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop")] = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say why a model found what it found: maps, their cost beforehand, and how faithful they are."""
    from node.commands import explaining, site

    asked = explaining.Asked(model=model, methods=tuple(method or ()), budget_s=budget, to=to, dry_run=dry_run)
    explaining.explain(site.settings_from(config, data), study, asked, as_json=as_json)


@rules.command("check")
def rules_check(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """Read every rule and try its examples; a mistake names the file, the key and the remedy."""
    from node.commands import ruling, site

    ruling.check_rules(site.settings_from(config, data), as_json=as_json)


def _add_room(room: str, help_text: str) -> None:
    def command(config: Config = None, data: Data = None, quiet: Quiet = None) -> None:
        from node.commands.room import run_room

        raise typer.Exit(run_room(room, config, data, quiet))

    app.command(room, help=help_text)(command)


for _room, _help_text in {
    "listen": "Run one room: receive what is sent.",
    "retrieve": "Run one room: ask other nodes.",
    "infer": "Run one room: the models.",
    "report": "Run one room: build the results.",
    "deliver": "Run one room: send the results.",
    "clock": "Run one room: close studies that are complete, and watch over leases.",
    "web": "Run one room: the worklist page.",
}.items():
    _add_room(_room, _help_text)
