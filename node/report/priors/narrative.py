"""What a report says in words and by codes: impression, findings, and what it says is there or is not.

Only what stands under one of the headings of PS3.16 CID 7001 and 7002 is taken, and nothing that stands under history,
indication, request or earlier findings: "rule out metastases" is no finding. Something said by a code is there unless
the report says that it is not; where it says that it does not know, it is neither.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.domain.prior_document import Coded, Passage
from node.report.priors.tree import LONGEST_TEXT, Node, key

IMPRESSION, FINDINGS, ADDENDUM = "impression", "findings", "addendum"
#: Heading by concept (PS3.16 CID 7001, 7002); "" is what is no finding of today.
_HEADINGS: dict[tuple[str, str], str] = {
    **dict.fromkeys([("DCM", "121072"), ("DCM", "121073"), ("LN", "19005-8")], IMPRESSION),
    **dict.fromkeys([("DCM", "121076"), ("DCM", "121077"), ("LN", "55110-1")], IMPRESSION),
    **dict.fromkeys([("DCM", "121111"), ("LN", "55112-7")], IMPRESSION),
    **dict.fromkeys([("DCM", "121070"), ("DCM", "121071"), ("LN", "59776-5")], FINDINGS),
    ("LN", "55107-7"): ADDENDUM,
    # History, earlier findings, indication, request, clinical information, presentation, earlier procedures.
    **dict.fromkeys([("DCM", "121060"), ("LN", "11329-0"), ("DCM", "121068"), ("DCM", "121069")], ""),
    **dict.fromkeys([("LN", "18834-2"), ("DCM", "121109"), ("LN", "18785-6"), ("DCM", "121062")], ""),
    **dict.fromkeys([("LN", "55115-0"), ("LN", "55752-0"), ("LN", "55108-5"), ("LN", "55114-3")], ""),
    # Measurements have their own reading.
    **dict.fromkeys([("DCM", "125007"), ("DCM", "126010"), ("DCM", "111028")], ""),
}
#: A CODE item under one of these names something that was found.
_FOUND = frozenset({("DCM", "121071"), ("DCM", "121073"), ("DCM", "121077")})
MEASUREMENT_GROUP = ("DCM", "125007")
FINDING = ("DCM", "121071")
#: Presence of property; its values, and those of PS3.16 CID 230 and 240.
PRESENCE = ("DCM", "121052")
_PRESENT = frozenset({("DCM", "121053"), ("SCT", "52101004"), ("SCT", "373066001")})
_ABSENT = frozenset({("DCM", "121054"), ("SCT", "272519000"), ("SCT", "2667000"), ("SCT", "373067005")})
_UNKNOWN = frozenset({("DCM", "121059"), ("SCT", "373068000")})
#: Codes that say that nothing was found.
_NOTHING = frozenset({("DCM", "111286"), ("SCT", "17621005")})
_MOST = 200
_BETWEEN = " "


def passages(root: Node) -> tuple[Passage, ...]:
    """Impression, findings and addenda in the order of the report, each shortened."""
    found: dict[str, list[str]] = {}
    for node in root.each():
        heading = _heading(node) if node.type == "TEXT" else ""
        if heading and node.text:
            found.setdefault(heading, []).append(node.text)
    joined = {heading: _BETWEEN.join(texts) for heading, texts in found.items()}
    return tuple(Passage(heading=heading, text=_bounded(text)) for heading, text in joined.items())


def coded(root: Node) -> tuple[Coded, ...]:
    """What the report says by codes to be there, or not to be."""
    found: dict[tuple[str, str], Coded | None] = {}
    for each in (*_said(root), *_measured(root)):
        before = found.get(key(each.code), each)
        # Of two that contradict each other neither is believed.
        found[key(each.code)] = each if before is not None and before.present == each.present else None
    return tuple(each for each in found.values() if each is not None)[:_MOST]


def presence(node: Node) -> bool | None:
    """Whether what a node is about is said to be there; `None` where nothing is said, or that nobody knows."""
    said = node.coded_child(PRESENCE)
    if key(said) in _PRESENT:
        return True
    return False if key(said) in _ABSENT else None


def _said(root: Node) -> Iterator[Coded]:
    for node in root.each():
        code = node.code
        if code is None or key(node.concept) not in _FOUND or key(code) in _NOTHING or not _heading(node):
            continue
        qualities = {key(child.code) for child in node.children}
        if not qualities & _UNKNOWN:
            yield Coded(code=code, present=not qualities & _ABSENT)


def _measured(root: Node) -> Iterator[Coded]:
    """Findings of measurement groups (PS3.16 TID 1410, 1411, 1501) of which it is said whether they are there.

    Of a group that only measures nothing follows: its finding may be an organ.
    """
    for node in root.each():
        if key(node.concept) != MEASUREMENT_GROUP or node.type != "CONTAINER":
            continue
        code, is_there = node.coded_child(FINDING), presence(node)
        if code is not None and is_there is not None:
            yield Coded(code=code, present=is_there)


def _heading(node: Node) -> str:
    """Under which heading a node stands: its own, or the nearest above that is one; empty under none, or no finding."""
    nodes = (node, *node.above())
    own = next((heading for each in nodes if (heading := _HEADINGS.get(key(each.concept))) is not None), "")
    # A finding among the indications is an indication.
    outer = [_HEADINGS.get(key(each.concept)) for each in node.above()]
    return "" if "" in outer else own


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
