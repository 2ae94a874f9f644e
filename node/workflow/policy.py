"""What decisions are made by: settings, models and rules, loaded once a room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.catalogue import Model, finding_codes, load_models_leniently, load_rules_leniently
from node.config import Settings
from node.domain.model_card import Mode
from node.errors import Misconfigured
from node.triage.rules import CompiledRule, compile_rules

LOCK_NAME = "models.lock"


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings, models and rules of this node."""

    settings: Settings
    models: tuple[Model, ...]
    rules: tuple[CompiledRule, ...]
    #: What could not be loaded, one sentence each with file, key and remedy. It never stops receiving.
    problems: tuple[str, ...] = ()

    @property
    def active_models(self) -> tuple[Model, ...]:
        """Models that are meant to look at studies: live and shadow."""
        return tuple(model for model in self.models if model.mode is not Mode.OFF)

    @property
    def early_models(self) -> tuple[Model, ...]:
        """Those of them that read a whole series before its study is complete."""
        sections = self.settings.models
        return tuple(
            model
            for model in self.active_models
            if model.card.name in sections and sections[model.card.name].early and not model.card.roles
        )

    def model(self, name: str) -> Model | None:
        """The model of that name."""
        return next((model for model in self.models if model.card.name == name), None)


def load_policy(settings: Settings) -> Policy:
    """Read models and rules; one that is wrong is left out and named in `problems`."""
    models, wrong_models = models_of(settings)
    rules, wrong_rules = load_rules_leniently(settings.catalogue.rules_folder, finding_codes(models))
    return Policy(
        settings, models, compile_rules(rules), tuple(str(problem) for problem in (*wrong_models, *wrong_rules))
    )


def models_of(settings: Settings) -> tuple[tuple[Model, ...], tuple[Misconfigured, ...]]:
    """Read the models in the modes of the settings; return those that could be read and what is wrong with others."""
    modes = {name: section.mode for name, section in settings.models.items()}
    return load_models_leniently(settings.catalogue.models_folder, locks(settings), modes)


def locks(settings: Settings) -> tuple[Path, Path]:
    """The lock that comes with the models, and the site's own in the data folder."""
    return (settings.catalogue.models_folder / LOCK_NAME, settings.data.folder / LOCK_NAME)
