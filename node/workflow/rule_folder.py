"""The rules folder, watched: what changed is read again, and what is broken leaves its last good version in force."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from node.catalogue.rules import disagreements, read_rule, rule_files, rule_of
from node.domain.rule import Rule
from node.errors import Misconfigured
from node.store import kept_rules
from node.triage.rules import CompiledRule, compile_rules, digest_of

#: Modified, size, changed: whatever is written to a file moves one of them.
_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One file as it was last read."""

    signature: _Signature
    #: In force; `None` where there never was a good version.
    rule: Rule | None
    problem: str = ""


class RuleFolder:
    """The rules of one folder, as they are in force in this process."""

    def __init__(self, folder: Path, data_folder: Path, known: Collection[tuple[str, str]]) -> None:
        self.known = known
        self.rules: tuple[CompiledRule, ...] = ()
        #: Of the rules in force: the same in every process that has the same ones.
        self.digest = ""
        self.problems: tuple[str, ...] = ()
        self._folder = folder
        self._data_folder = data_folder
        self._read: dict[str, _Read] = {}
        self._unreadable = ""
        self._put_in_force()
        self.look()

    def look(self) -> bool:
        """Read what has changed since the last look; `True` if other rules or other problems came of it.

        Costs a stat a file where nothing has changed.
        """
        before = self._read, self._unreadable
        try:
            files = {file.name: (file, _signature(file)) for file in rule_files(self._folder)}
        except OSError as error:
            # Somebody moves it, or a disk is away for a moment: what is in force stays so.
            self._unreadable = f"{self._folder}: cannot be read: {error.strerror}. What was read before stays in force"
            files = {}
        else:
            self._unreadable = ""
            self._read = {name: self._current(name, *found) for name, found in files.items()}
        if (self._read, self._unreadable) == before:
            return False
        self._put_in_force()
        return True

    def keep(self) -> None:
        """Keep the files that are in force, so that a room which starts while one is broken has the last good one."""
        good = {name: read for name, read in self._read.items() if not read.problem}
        for name in good:
            try:
                kept_rules.keep(self._data_folder, name, (self._folder / name).read_bytes())
            except FileNotFoundError:
                continue
        kept_rules.forget_others(self._data_folder, self._read)

    def _current(self, name: str, file: Path, signature: _Signature) -> _Read:
        before = self._read.get(name)
        if before is not None and before.signature == signature:
            return before
        try:
            return _Read(signature=signature, rule=read_rule(file, self.known))
        except Misconfigured as problem:
            good = before.rule if before is not None else self._kept(name)
            said = f"{problem}. Its last good version stays in force" if good is not None else str(problem)
            return _Read(signature=signature, rule=good, problem=said)

    def _kept(self, name: str) -> Rule | None:
        text = kept_rules.kept(self._data_folder, name)
        try:
            return None if text is None else rule_of(self._folder / name, tomllib.loads(text), self.known)
        except (Misconfigured, tomllib.TOMLDecodeError):
            # It was good with models that are gone, or in an earlier version of the vocabulary.
            return None

    def _put_in_force(self) -> None:
        rules = [read.rule for _, read in sorted(self._read.items()) if read.rule is not None]
        self.rules = compile_rules(rules)
        self.digest = digest_of(self.rules)
        wrong = [read.problem for _, read in sorted(self._read.items()) if read.problem]
        between = [str(problem) for problem in disagreements(self._folder, rules)]
        self.problems = (*([self._unreadable] if self._unreadable else []), *wrong, *between)


def _signature(file: Path) -> _Signature:
    try:
        state = file.stat()
    except FileNotFoundError:
        # Gone between the listing and now; the next look no longer lists it.
        return (0, 0, 0)
    return (state.st_mtime_ns, state.st_size, state.st_ctime_ns)
