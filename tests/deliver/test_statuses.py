from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from node.deliver.statuses import Verdict, context_reason, meaning_of, rejection_reason, status_reason


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0x0000, Verdict.SENT),
        (0xB000, Verdict.SENT),
        (0xB006, Verdict.SENT),
        (0xB007, Verdict.SENT),
        (0xA700, Verdict.AGAIN),
        (0xA770, Verdict.LOOK),
        (0xA771, Verdict.SLOWLY),
        (0xA779, Verdict.SLOWLY),
        (0xA77A, Verdict.AGAIN),
        (0xA7FF, Verdict.AGAIN),
        (0x0110, Verdict.SLOWLY),
        (0x0111, Verdict.LOOK),
        (0x0118, Verdict.UNWANTED),
        (0xA800, Verdict.DEAD),
        (0xA900, Verdict.UNWANTED),
        (0xA9FF, Verdict.UNWANTED),
        (0xC000, Verdict.SLOWLY),
        (0xCFFF, Verdict.SLOWLY),
        (0x0117, Verdict.DEAD),
        (0x0122, Verdict.UNWANTED),
        (0x0124, Verdict.UNWANTED),
        (0x1234, Verdict.DEAD),
    ],
)
def test_each_status_has_its_verdict(status: int, verdict: Verdict) -> None:
    assert meaning_of(status).verdict is verdict


@given(st.integers(0, 0xFFFF), st.text())
def test_every_answer_but_success_has_one_printable_reason_with_its_number(status: int, comment: str) -> None:
    reason = status_reason(status, comment)
    if status == 0x0000:
        assert reason == ""
        return
    assert reason.startswith(f"0x{status:04X} ")
    assert reason.isprintable()
    if meaning_of(status).verdict in (Verdict.DEAD, Verdict.UNWANTED, Verdict.SLOWLY):
        assert "`matins retry`" in reason


def test_warnings_and_failures_agree_with_the_dictionary_of_pynetdicom() -> None:
    for status, (category, _meaning) in STORAGE_SERVICE_CLASS_STATUS.items():
        sent = meaning_of(status).verdict is Verdict.SENT
        assert sent == (category in ("Success", "Warning")), f"0x{status:04X}"


@pytest.mark.parametrize(("source", "reason"), [(1, 3), (1, 7), (2, 2), (3, 9), (0, 0)])
def test_a_rejection_names_its_codes_and_what_to_do(source: int, reason: int) -> None:
    text = rejection_reason(1, source, reason, ours="MATINS", theirs="ARCHIVE", name="PACS")
    assert text.startswith(f"PACS rejects the association (1/{source}/{reason}): ")
    assert "{" not in text


@pytest.mark.parametrize("result", [None, 1, 2, 3, 4, 9])
def test_a_refused_context_names_class_syntax_and_remedy(result: int | None) -> None:
    text = context_reason(result, "Segmentation Storage", "Explicit VR Little Endian", name="PACS")
    assert text.startswith("PACS does not accept Segmentation Storage in Explicit VR Little Endian (")
    assert "`matins retry`" in text
