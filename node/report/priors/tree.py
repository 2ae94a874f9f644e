"""The content tree of a Structured Report (PS3.3 §C.17.3) as plain nodes, no deeper and no larger than a report is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.sr._snomed_dict import mapping

from node.domain.finding import Code
from node.errors import Unsuitable

#: Nobody nests deeper, or writes more items.
MOST_DEPTH = 48
MOST_ITEMS = 20_000
#: Characters of one text, and of what a code means.
LONGEST_TEXT = 4_000
_LONGEST_MEANING = 128
_LONGEST_VALUE = 64
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")


@dataclass(slots=True, eq=False)
class Node:
    """One content item."""

    #: Value Type (0040,A040).
    type: str
    concept: Code | None
    dataset: Dataset
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    def each(self) -> Iterator[Node]:
        """This one and all below it, in the order of the document."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def above(self) -> Iterator[Node]:
        """Those that it lies in, the nearest first."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    @property
    def code(self) -> Code | None:
        """The value of a CODE item."""
        return code_of(self.dataset, "ConceptCodeSequence") if self.type == "CODE" else None

    @property
    def text(self) -> str:
        """The value of a TEXT item."""
        return plain(str(self.dataset.get("TextValue", "") or ""), LONGEST_TEXT) if self.type == "TEXT" else ""

    def coded_child(self, *concepts: tuple[str, str]) -> Code | None:
        """The value of the first CODE item directly below with one of these concepts."""
        return next((code for node in self.named(*concepts) if (code := node.code) is not None), None)

    def text_child(self, *concepts: tuple[str, str]) -> str:
        """The text of the first item directly below with one of these concepts."""
        return next((node.text for node in self.named(*concepts) if node.text), "")

    def named(self, *concepts: tuple[str, str]) -> Iterator[Node]:
        """Items directly below with one of these concepts."""
        return (node for node in self.children if key(node.concept) in concepts)


def read_tree(dataset: Dataset) -> Node:
    """Return the root of a report with all below it.

    Raises:
        Unsuitable: it is nested too deeply, or has too many items.
    """
    root = _node(dataset, None)
    waiting, count = [(root, 1)], 1
    while waiting:
        node, depth = waiting.pop()
        items = node.dataset.get("ContentSequence") or []
        if items and depth >= MOST_DEPTH:
            raise Unsuitable(f"its content is nested deeper than {MOST_DEPTH}")
        count += len(items)
        if count > MOST_ITEMS:
            raise Unsuitable(f"it has more than {MOST_ITEMS} content items")
        node.children = [_node(item, node) for item in items]
        waiting.extend((child, depth + 1) for child in node.children)
    return root


def code_of(dataset: Dataset, keyword: str) -> Code | None:
    """The first code of a sequence; one of SNOMED RT as the SNOMED CT code that replaced it."""
    items = dataset.get(keyword)
    if not items:
        return None
    found = items[0]
    value = next((str(found.get(name)) for name in _CODE_VALUES if found.get(name)), "").strip()
    scheme = str(found.get("CodingSchemeDesignator", "") or "").strip()
    if not value or len(value) > _LONGEST_VALUE:
        return None
    if scheme in ("SRT", "SNM3", "99SDM"):
        replaced = mapping["SRT"].get(value)
        value, scheme = (replaced, "SCT") if replaced else (value, "SRT")
    meaning = plain(str(found.get("CodeMeaning", "") or ""), _LONGEST_MEANING)
    return Code(plain(value, _LONGEST_VALUE), plain(scheme, 16), meaning or value)


def key(code: Code | None) -> tuple[str, str]:
    """Scheme and value: what makes two codes the same."""
    return (code.scheme, code.value) if code is not None else ("", "")


def plain(text: str, longest: int) -> str:
    """One line without what does not print, shortened."""
    shown = "".join(mark if unicodedata.category(mark)[0] != "C" else " " for mark in text[: 4 * longest])
    words = " ".join(shown.split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def _node(dataset: Dataset, parent: Node | None) -> Node:
    kind = str(dataset.get("ValueType", "") or "").strip().upper()
    return Node(type=kind, concept=code_of(dataset, "ConceptNameCodeSequence"), dataset=dataset, parent=parent)
