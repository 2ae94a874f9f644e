"""What decisions are made by: settings and models, loaded once a room, and the rules that are in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import monotonic

from node.catalogue import Model, finding_codes, load_models_leniently
from node.config import Settings
from node.domain.model_card import Mode
from node.errors import Misconfigured
from node.triage.rules import CompiledRule
from node.workflow.rule_folder import RuleFolder

LOCK_NAME = "models.lock"
#: How often the rules folder is looked at.
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings, models and rules of this node."""

    settings: Settings
    models: tuple[Model, ...]
    rules: tuple[CompiledRule, ...]
    #: What could not be loaded, one sentence each with file, key and remedy. It never stops receiving.
    problems: tuple[str, ...] = ()
    #: What rules are in force, told apart from all others: SHA-256; empty where they came from nowhere.
    rules_digest: str = ""
    #: How many of `problems` are about models; they come first.
    model_problems: int = 0

    @property
    def rule_problems(self) -> tuple[str, ...]:
        """Those of `problems` that are about rules."""
        return self.problems[self.model_problems :]

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


class Policies:
    """The policy of a room, with the rules that are in force now: the rules folder is looked at every now and then.

    Threads may share it.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._lock = Lock()
        self._loaded: tuple[Policy, RuleFolder] | None = None
        self._looked_s = 0.0

    def current(self) -> Policy:
        """The policy by which to decide now; loaded when it is first asked for."""
        with self._lock:
            policy, folder = self._loaded = self._loaded or _load(self._settings)
            renewed = self._renewed(policy, folder)
            self._loaded = (renewed, folder)
            return renewed

    def renew(self, policy: Policy) -> Policy:
        """`policy` with the rules that are in force now; itself where they are those that it has."""
        with self._lock:
            loaded, folder = self._loaded = self._loaded or _load(self._settings)
            renewed = self._renewed(loaded, folder)
            self._loaded = (renewed, folder)
        if (policy.rules_digest, policy.problems) == (renewed.rules_digest, renewed.problems):
            return policy
        return replace(policy, rules=renewed.rules, rules_digest=renewed.rules_digest, problems=renewed.problems)

    def keep(self) -> None:
        """Keep the rule files that are in force in the data folder; one room does so for all."""
        with self._lock:
            if self._loaded is not None:
                self._loaded[1].keep()

    def _renewed(self, policy: Policy, folder: RuleFolder) -> Policy:
        now_s = self._monotonic()
        if now_s - self._looked_s < LOOK_S:
            return policy
        self._looked_s = now_s
        if not folder.look():
            return policy
        return _with_rules(policy, folder, policy.problems[: policy.model_problems])


def load_policy(settings: Settings) -> Policy:
    """Read models and rules; one that is wrong is left out and named in `problems`.

    Of a rule whose file is broken the last good version is in force, where one was kept.
    """
    return _load(settings)[0]


def _load(settings: Settings) -> tuple[Policy, RuleFolder]:
    models, wrong = models_of(settings)
    folder = RuleFolder(settings.catalogue.rules_folder, settings.data.folder, finding_codes(models))
    return _with_rules(Policy(settings, models, ()), folder, [str(problem) for problem in wrong]), folder


def _with_rules(policy: Policy, folder: RuleFolder, wrong_models: Sequence[str]) -> Policy:
    return replace(
        policy,
        rules=folder.rules,
        rules_digest=folder.digest,
        problems=(*wrong_models, *folder.problems),
        model_problems=len(wrong_models),
    )


def models_of(settings: Settings) -> tuple[tuple[Model, ...], tuple[Misconfigured, ...]]:
    """Read the models in the modes of the settings; return those that could be read and what is wrong with others."""
    modes = {name: section.mode for name, section in settings.models.items()}
    return load_models_leniently(settings.catalogue.models_folder, locks(settings), modes)


def locks(settings: Settings) -> tuple[Path, Path]:
    """The lock that comes with the models, and the site's own in the data folder."""
    return (settings.catalogue.models_folder / LOCK_NAME, settings.data.folder / LOCK_NAME)
