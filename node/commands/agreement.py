"""`models agreement` and `models promote`: a version beside the one in its place, compared with it, and taking it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.catalogue.lock import read_lock
from node.catalogue.versions import promote as put_in_place
from node.commands.modes import model_named, set_mode
from node.commands.output import print_json, say
from node.commands.site import opened
from node.config import Settings
from node.domain.model_card import Mode
from node.errors import Failed, Misconfigured
from node.workflow.policy import locks


def show_agreement(settings: Settings, name: str, *, as_json: bool) -> None:
    """Print how far a version agrees with the one in whose place it is to come, on the studies that both have read.

    Raises:
        Misconfigured: there is no such model, or it is a version of none.
    """
    from node.learn.agreement.reading import agreement

    beside = model_named(settings, name)
    in_place = model_named(settings, _place_of(beside.card.shadow_of, name))
    with opened(settings) as db:
        found = agreement(db, in_place, beside)
    told = asdict(found)
    told["states"] = [
        {"in_place": one, "beside": other, "studies": count} for (one, other), count in sorted(found.states.items())
    ]
    if as_json:
        print_json(told)
        return
    say(
        f"{found.beside} {found.versions[1]} beside {found.in_place} {found.versions[0]}: {found.studies} studies of "
        f"{found.patients} patients read by both"
    )
    for row in told["states"]:
        states = [row[key] or "nothing" for key in ("in_place", "beside")]
        if states != ["result", "result"]:
            say(f"  {row['studies']} studies: {states[0]} in place, {states[1]} beside")
    for each in told["compared"]:
        for line in _lines(each):
            say(f"  {each['label']}: {line}")


def promote(settings: Settings, file: Path, name: str) -> None:
    """Put a version in the place of the model that it was compared with; one command brings the one before back.

    Raises:
        Misconfigured: there is no such model, or it is a version of none.
        Failed: it cannot run as it is, or nothing can be written.
    """
    model = model_named(settings, name)
    into = _place_of(model.card.shadow_of, name)
    if model.problem and model.mode is not Mode.LIVE:
        raise Failed(f"{name} cannot run: {model.problem}")
    known = locks(settings)
    lock = next((lock for lock in known if read_lock(lock).keys() & {into, name}), known[0])
    entry, kept = put_in_place(settings.catalogue.models_folder, name, into, lock, known)
    say(f"{into} is version {model.card.version} now ({entry.model_digest[:16]}), in the mode that it had")
    if kept:
        say(f"the version before is kept: `matins models rollback {into}`")
    if model.mode is not Mode.OFF:
        set_mode(settings, file, name, Mode.OFF)
    else:
        say("Rooms read this when they start: restart them")


def _place_of(shadow_of: str, name: str) -> str:
    if not shadow_of:
        remedy = 'Bring it with `matins models add … --shadow-of MODEL`, or write shadow_of = "MODEL" into its card'
        raise Misconfigured(f"{name}/model.toml", "shadow_of", "is missing: it is a version of no other model", remedy)
    return shadow_of


def _lines(each: dict[str, Any]) -> list[str]:
    lines = []
    decided = each["decisions"]
    if decided:
        counts = ", ".join(f"{decided[key]} {key.replace('_', ' ')}" for key in _COUNTS)
        lines.append(f"seen by {counts}; kappa {_figure(decided['kappa'])}")
        lines.append(
            f"of what is positive in place {_share(decided['sensitivity'])} is so beside, of what is negative "
            f"{_share(decided['specificity'])}"
        )
    if each["dice"]:
        lines.append(f"Dice {_figure(each['dice'])}")
    for key, unit in (("volumes", " mL"), ("numbers", "")):
        found = each[key]
        if found:
            what = "volume" if unit else "number"
            lines.append(
                f"{what} beside less in place, {found['studies']} studies: mean {_figure(found['mean'], unit)}, 95 of "
                f"100 between {_figure(found['low'], unit)} and {_figure(found['high'], unit)}"
            )
    told = each["readers"]
    if told:
        lines += [
            f"by readers, {place.replace('_', ' ')}: sensitivity {_share(told[f'sensitivity_{place}'])}, "
            f"specificity {_share(told[f'specificity_{place}'])}"
            for place in ("in_place", "beside")
        ]
    return lines or [f"{each['studies']} studies, and nothing that can be compared"]


_COUNTS = ("both", "only_in_place", "only_beside", "neither")


def _figure(figure: dict[str, Any], unit: str = "") -> str:
    if figure["value"] is None:
        return "not defined"
    known = figure["low"] is not None
    return f"{figure['value']:.3f}{unit}" + (f" ({figure['low']:.3f} to {figure['high']:.3f})" if known else "")


def _share(share: dict[str, Any]) -> str:
    if not share["of"]:
        return "of none"
    return f"{share['count']} of {share['of']} ({share['low']:.2f} to {share['high']:.2f})"
