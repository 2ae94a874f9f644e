"""`matins models`: its commands, their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, DryRun, Json, ModelName, family
from node.domain.model_card import Mode

models = family("Models of this node.")


@models.command("list")
def models_list(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """Each model, how far it may speak, and why it cannot run where it cannot."""
    from node.commands import catalogue, site

    catalogue.list_models(site.settings_from(config, data), as_json=as_json)


@models.command("add")
def models_add(
    path: Annotated[Path, typer.Argument(help="A MONAI bundle's folder, a .zip of one, or one file with a network")],
    config: Config = None,
    data: Data = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model; default: made of the file's")] = "",
    answers: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Answer a question beforehand; repeatable")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take the defaults, and say what to check")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the version that is there")
    ] = False,
    shadow_of: Annotated[
        str, typer.Option("--shadow-of", metavar="MODEL", help="Another version of that model, to be compared with it")
    ] = "",
    dry_run: DryRun = False,
) -> None:
    """Bring a model into the models folder and write its card; it is neither trusted nor on.

    Asks for what the files do not tell: codes, thresholds, intended use. Nothing in them is run.
    """
    from node.commands import adding, site

    given = adding.answers_of(answers or [])
    wish = adding.Wish(
        source=path, name=name, answers=given, yes=yes, replace=replace, dry_run=dry_run, shadow_of=shadow_of
    )
    adding.add(site.settings_from(config, data), wish)


@models.command("trust")
def models_trust(
    name: ModelName,
    config: Config = None,
    data: Data = None,
    here: Annotated[bool, typer.Option("--site", help="Lock it in the data folder, not beside the models")] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the code run that the model brings")] = False,
    dry_run: DryRun = False,
) -> None:
    """Show what changed, and lock a model as its files lie on disk now; only what is locked runs."""
    from node.commands import catalogue, site

    settings = site.settings_from(config, data)
    catalogue.trust_model(settings, name, site=here, allow_code=allow_code, dry_run=dry_run)


@models.command("measure")
def models_measure(
    name: ModelName,
    config: Config = None,
    data: Data = None,
    again: Annotated[bool, typer.Option("--again", help="Measure though evidence is there")] = False,
    as_json: Json = False,
) -> None:
    """Find the fastest engine that gives the same labels on the validation cases; the node uses it from then."""
    from node.commands import engines, site

    engines.measure(site.settings_from(config, data), name, again=again, as_json=as_json)


@models.command("live")
def models_live(name: ModelName, config: Config = None, data: Data = None) -> None:
    """Let a model run, rank and send: writes its mode into config.toml."""
    _set_mode(name, Mode.LIVE, config, data)


@models.command("shadow")
def models_shadow(name: ModelName, config: Config = None, data: Data = None) -> None:
    """Let a model run and store, and neither rank nor send: writes its mode into config.toml."""
    _set_mode(name, Mode.SHADOW, config, data)


@models.command("off")
def models_off(name: ModelName, config: Config = None, data: Data = None) -> None:
    """Let a model run no more: writes its mode into config.toml."""
    _set_mode(name, Mode.OFF, config, data)


@models.command("rollback")
def models_rollback(name: ModelName, config: Config = None, data: Data = None) -> None:
    """Put the version before, as it was trusted, in the place of a model that `models add --replace` replaced."""
    from node.commands import modes, site

    modes.go_back(site.settings_from(config, data), name)


@models.command("agreement")
def models_agreement(name: ModelName, config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """How far a version in shadow agrees with the one in whose place it is to come, and with what readers said."""
    from node.commands import agreement, site

    agreement.show_agreement(site.settings_from(config, data), name, as_json=as_json)


@models.command("promote")
def models_promote(name: ModelName, config: Config = None, data: Data = None) -> None:
    """Put a version in shadow in the place of the model that it was compared with; `rollback` brings that back."""
    from node.commands import agreement, site

    agreement.promote(site.settings_from(config, data), site.config_file(config), name)


def _set_mode(name: str, mode: Mode, config: Path | None, data: Path | None) -> None:
    from node.commands import modes, site

    modes.set_mode(site.settings_from(config, data), site.config_file(config), name, mode)
