"""`models list`, `models trust`: what stands in `models/`."""

from __future__ import annotations

from node.catalogue import code, trust
from node.catalogue.lock import examine, read_lock
from node.catalogue.review import review
from node.commands.output import print_json, say, table
from node.config import Settings
from node.errors import Failed
from node.workflow.policy import LOCK_NAME, models_of


def list_models(settings: Settings, *, as_json: bool) -> None:
    """Print each model, how far it may speak, and why it cannot run where it cannot.

    Raises:
        Failed: a card, lock or mode is wrong; the sound models are printed first.
    """
    models, problems = models_of(settings)
    rows = [
        {
            "model": model.card.name,
            "version": model.card.version,
            "title": model.card.title,
            "mode": model.mode.value,
            "runs": model.runs,
            "problem": model.problem,
            "own_code": model.own_code,
            "model_digest": model.model_digest,
            "card_digest": model.card_digest,
            "licence": model.card.licence,
            "intended_use": model.card.intended_use,
        }
        for model in models
    ]
    if as_json:
        print_json({"models": rows, "problems": [str(problem) for problem in problems]})
    elif rows:
        shown = ("model", "version", "mode", "model_digest", "problem")
        table(shown, [[str(row[key])[:16] if key == "model_digest" else row[key] for key in shown] for row in rows])
    else:
        say(f"no models in {settings.catalogue.models_folder}")
    if problems:
        raise Failed("; ".join(str(problem) for problem in problems))


def trust_model(settings: Settings, name: str, *, site: bool, allow_code: bool = False, dry_run: bool = False) -> None:
    """Show what would be trusted, and lock the model as it lies on disk, in `models/models.lock` or the site's lock.

    Raises:
        Misconfigured: the card is wrong, or weights are missing.
        Failed: it brings code that nobody has allowed, or the lock cannot be written.
    """
    models = settings.catalogue.models_folder
    lock = (settings.data.folder if site else models) / LOCK_NAME
    card, found = examine(models, name)
    needed = code.needs(card, models / name)
    for line in review(read_lock(lock).get(name), found, needed).lines():
        say(line)
    if needed and not allow_code:
        raise Failed(code.refusal(name, needed))
    if dry_run:
        say(f"a dry run: {lock} is as it was")
        return
    try:
        lock.parent.mkdir(mode=0o700, exist_ok=True)
        digest = trust(models, name, lock, own_code=allow_code and bool(needed), expected=found)
    except OSError as error:
        raise Failed(f"{lock} cannot be written: {error.strerror}") from error
    with_code = ", with the code it brings" if needed else ""
    say(f"{name} is trusted as it is{with_code}: {digest} in {lock}")
