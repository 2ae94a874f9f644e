"""The README of the rules: its tables are those of the code, and the rule in it loads."""

from __future__ import annotations

import re
from pathlib import Path

from node.catalogue.rules import read_rule
from node.domain.rule import FIELDS, Operator
from node.domain.rule.vocabulary import Field
from node.triage.examples import wrong_examples

ROOT = Path(__file__).parents[2]
README = (ROOT / "rules" / "README.md").read_text()


def row(field: Field) -> str:
    operators = " ".join(sorted(f"`{each}`" for each in field.operators))
    kind = f"{field.kind}, {field.unit}" if field.unit else str(field.kind)
    choices = f": {', '.join(sorted(field.choices))}" if field.choices else ""
    return f"| `{field.name}` | {kind} | {field.meaning}{choices} | {field.source} | {operators} |"


def test_the_readme_has_every_word_of_the_vocabulary_as_it_is() -> None:
    table = [line for line in README.splitlines() if line.startswith(("| `finding.", "| `history.", "| `change."))]
    table += [line for line in README.splitlines() if re.match(r"\| `[a-z_]+` \| (text|number)", line)]
    assert sorted(table) == sorted(row(field) for field in FIELDS.values()), "\n".join(map(row, FIELDS.values()))


def test_the_readme_explains_every_operator() -> None:
    for operator in Operator:
        assert re.search(rf"^\| `{re.escape(operator)}` \|", README, re.MULTILINE), operator


def test_the_rule_in_the_readme_loads_and_keeps_to_its_examples(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(title.*?)```", README, re.DOTALL)
    (tmp_path / "known-aneurysm.toml").write_text(text)
    rule = read_rule(tmp_path / "known-aneurysm.toml", frozenset())
    assert len(rule.examples) == 3
    assert wrong_examples(rule) == []


def test_every_shipped_rule_is_listed() -> None:
    for file in (ROOT / "rules").glob("*.toml"):
        assert f"[{file.stem}]({file.name})" in README, file.name
