"""`check`: the doctor. Tries everything that the settings name; each failure has its file, key and remedy."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from node.catalogue import Model, finding_codes, load_rules_leniently
from node.commands import routes
from node.commands.archives import archives
from node.commands.callers import callers
from node.commands.check import Check, failed
from node.commands.confirmations import confirmations
from node.commands.destinations import destinations
from node.commands.engines import engines
from node.commands.fhir_servers import fhir_servers
from node.commands.messages import messages
from node.commands.output import print_json, say
from node.commands.site import config_file, opened, settings_from
from node.config import Settings
from node.domain.model_card import Mode
from node.errors import Failed, MatinsError, Misconfigured
from node.store import tallies
from node.store.database import FILE_NAME, Database
from node.store.spool import Spool
from node.triage.examples import wrong_examples
from node.workflow.policy import models_of
from node.workflow.standing import disk

_SHOWN_OBJECTS = 3


def check(config: Path | None, data: Path | None, *, as_json: bool, rebuild: bool, warm: bool) -> int:
    """Check everything and print it; return the exit code: 0 all well, 1 something failed, 2 bad settings."""
    file = config_file(config)
    try:
        settings = settings_from(config, data)
    except Misconfigured as error:
        _print([failed("settings", str(file), error)], as_json)
        return 2
    checks: list[Check] = []
    for each in _everything(settings, file, rebuild=rebuild, warm=warm):
        checks.append(each)
        if not as_json:
            _print_one(each)
    if as_json:
        _print(checks, as_json)
    wrong = [each for each in checks if not each.ok]
    if not as_json:
        say(f"{len(wrong)} of {len(checks)} checks failed" if wrong else f"all {len(checks)} checks passed")
    return 1 if wrong else 0


def _everything(settings: Settings, file: Path, *, rebuild: bool, warm: bool) -> Iterator[Check]:
    yield Check(about="settings", subject=str(file), ok=True, found=f"{len(settings.peers)} peer(s)")
    yield _disk(settings, file)
    writable = _writable(settings, file)
    yield writable
    if writable.ok:
        yield from _database(settings, rebuild=rebuild)
    yield from callers(settings, file, datetime.now(UTC))
    yield from messages(settings, file, datetime.now(UTC))
    yield from _models(settings, warm=warm)
    yield from _rules(settings)
    yield from destinations(settings, file)
    yield from confirmations(settings, file)
    yield from archives(settings, file)
    yield from fhir_servers(settings, file)
    yield from routes.checks(settings, file)


def _disk(settings: Settings, file: Path) -> Check:
    folder = settings.data.folder if settings.data.folder.is_dir() else settings.data.folder.parent
    space = disk(settings, folder)
    return Check(
        about="disk",
        subject=str(folder),
        ok=space["ok"],
        found=f"{space['free_percent']} % free" if space["ok"] else "",
        file="" if space["ok"] else str(file),
        key="" if space["ok"] else "data.minimum_free_percent",
        problem="" if space["ok"] else f"only {space['free_percent']} % free: the listener refuses associations",
        remedy="" if space["ok"] else "Free some space, or move [data] folder to a larger disk",
    )


def _writable(settings: Settings, file: Path) -> Check:
    folder = settings.data.folder
    trial = folder / f".{secrets.token_hex(6)}.tmp"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            trial.unlink()
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        remedy = "Give this user the right to write there, or name another folder"
        return Check(
            about="data",
            subject=str(folder),
            ok=False,
            file=str(file),
            key="data.folder",
            problem=problem,
            remedy=remedy,
        )
    return Check(about="data", subject=str(folder), ok=True, found="can be written")


def _database(settings: Settings, *, rebuild: bool) -> Iterator[Check]:
    subject = str(settings.data.folder / FILE_NAME)
    try:
        with opened(settings) as db:
            if rebuild:
                yield from _rebuilt(db, settings)
            yield from _soundness(db, settings, subject)
    except MatinsError as error:
        yield failed("database", subject, error)


def _soundness(db: Database, settings: Settings, subject: str) -> Iterator[Check]:
    damage = tallies.damage(db)
    rescue = "Move it away and run `matins check --rebuild`: the spool is whole"
    if damage:
        yield Check(about="database", subject=subject, ok=False, file=subject, problem=damage[0], remedy=rescue)
        return
    lost = tallies.lost_objects(db)
    if lost:
        problem = f"{len(lost)} indexed object(s) are gone: {', '.join(lost[:_SHOWN_OBJECTS])}"
        remedy = "Bring the spool back from the backup, or send these instances again"
        yield Check(about="database", subject=subject, ok=False, file=subject, problem=problem, remedy=remedy)
    unindexed = tallies.unindexed_objects(db, settings.data.folder)
    if unindexed:
        problem = f"{len(unindexed)} object(s) of the spool are not indexed"
        remedy = "Run `matins check --rebuild`: it indexes them"
        yield Check(about="database", subject=subject, ok=False, file=subject, problem=problem, remedy=remedy)
    if not lost and not unindexed:
        yield Check(about="database", subject=subject, ok=True, found="sound; every object is there and indexed")


def _rebuilt(db: Database, settings: Settings) -> Iterator[Check]:
    from node.receive.recover import rebuild

    counts = rebuild(db, Spool(db.folder), settings)
    found = f"{counts.indexed} of {counts.objects} object(s) of the spool were not indexed, and are now"
    yield Check(about="index", subject=str(db.folder), ok=True, found=found)
    for each in counts.unreadable:
        file = str(db.folder / each.path)
        remedy = "Move it out of the spool, and send the instance again if it is wanted"
        yield Check(about="index", subject=each.path, ok=False, file=file, problem=each.reason, remedy=remedy)


def _models(settings: Settings, *, warm: bool) -> Iterator[Check]:
    models, problems = models_of(settings)
    for wrong in problems:
        yield failed("model", wrong.file, wrong)
    for model in models:
        name, card = model.card.name, str(model.folder / "model.toml")
        if model.problem and model.mode is not Mode.OFF:
            problem, _, remedy = model.problem.partition(". ")
            yield Check(about="model", subject=name, ok=False, file=card, problem=problem, remedy=remedy)
            continue
        found = f"off; {model.problem}" if model.problem else f"{model.mode}; {_standing(model)}"
        if warm and model.runs:
            yield _warmed(settings, model, found)
        else:
            yield Check(about="model", subject=name, ok=True, found=found)
        yield from engines(settings, model)


def _standing(model: Model) -> str:
    code = "the code it brings is allowed" if model.own_code else "no code of its own"
    return f"trusted, {code}; digest {model.model_digest[:16]} as locked"


def _warmed(settings: Settings, model: Model, found: str) -> Check:
    """Have a process load the model and run it once on nothing, as the infer room does."""
    from node.infer.model_child import ModelChild, ModelDied

    name, card = model.card.name, str(model.folder / "model.toml")
    child = ModelChild(model, settings.infer)
    try:
        child.wait_until_ready(lambda: None)
    except (Failed, ModelDied) as error:
        remedy = "Look at the model's files and at [infer] device"
        return Check(about="model", subject=name, ok=False, file=card, problem=str(error), remedy=remedy)
    finally:
        child.end()
    return Check(about="model", subject=name, ok=True, found=f"{found}; runs on {child.device}; {child.confinement}")


def _rules(settings: Settings) -> Iterator[Check]:
    models, _ = models_of(settings)
    rules, problems = load_rules_leniently(settings.catalogue.rules_folder, finding_codes(models))
    for problem in problems:
        yield failed("rule", problem.file, problem)
    for rule in rules:
        wrong = "; ".join(wrong_examples(rule))
        file = str(settings.catalogue.rules_folder / f"{rule.id}.toml")
        found = f"dormant: no model finds {', '.join(rule.dormant)}" if rule.dormant else rule.title
        if wrong:
            remedy = "Mend the rule, or the example"
            yield Check(
                about="rule", subject=rule.id, ok=False, file=file, key="examples", problem=wrong, remedy=remedy
            )
        else:
            yield Check(about="rule", subject=rule.id, ok=True, found=found)


def _print(checks: list[Check], as_json: bool) -> None:
    if as_json:
        print_json({"ok": all(each.ok for each in checks), "checks": [asdict(each) for each in checks]})
    else:
        for each in checks:
            _print_one(each)


def _print_one(check: Check) -> None:
    if check.ok:
        say(f"ok    {check.about} {check.subject}: {check.found}")
    if not check.problem:
        return
    where = f"{check.file}: {check.key}" if check.key else check.file
    say(f"{'WARN ' if check.ok else 'FAIL '} {check.about} {check.subject}: {check.problem}")
    say(f"      {where}. {check.remedy}".replace(" . ", " "))
