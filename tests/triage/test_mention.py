"""Is something mentioned, and not in order to deny it?"""

from __future__ import annotations

import pytest

from node.triage.mention import mention_of


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("sudden headache", "Sudden  headache since 4 am"),
        ("sudden headache", "sudden\nHEADACHE, vomiting"),
        ("metasta*", "known metastases of the lung"),
        ("HIV", "HIV+, new seizure"),
        ("hemiparesis", "no fever, hemiparesis left"),
        ("hemiparesis", "No response to therapy after hemiparesis"),
        ("papilledema", "papilledema, no headache"),
        ("metasta*", "no bleed. metastases known"),
        ("metasta*", "rule out metastasis"),
        ("metasta*", "no metastases 2019; new metastasis"),
        ("c.d", "a c.d e"),
    ],
)
def test_a_mention_counts(phrase: str, text: str) -> None:
    assert mention_of((phrase,))(text) is not None


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("HIV", "archive"),
        ("metastas", "metastases"),
        ("sudden headache", "headache, not sudden"),
        ("metasta*", "No known metastases"),
        ("metasta*", "no evidence of any metastasis"),
        ("papilledema", "without papilledema"),
        ("sudden headache", "Patient denies any sudden headache"),
        ("cancer", "negative for cancer"),
        ("c.d", "a cxd e"),
        ("cancer", ""),
    ],
)
def test_what_is_not_mentioned_or_is_denied_does_not_count(phrase: str, text: str) -> None:
    assert mention_of((phrase,))(text) is None


def test_the_place_of_the_first_mention_that_is_not_denied_is_told() -> None:
    assert mention_of(("cancer", "stroke"))("no cancer; stroke 2019") == len("no cancer; ")
