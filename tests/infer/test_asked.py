from __future__ import annotations

import pytest

from node.infer.asked import Asked
from node.infer.messages import Job, Order, OrderKind, Reply, ReplyKind

A, B = "1", "2"
PREPARE_A, PREPARE_B = (Order(kind=OrderKind.PREPARE, job=Job(id=each, slices=(), stem=each)) for each in (A, B))
GO_A, GO_B = (Order(kind=OrderKind.GO, id=each) for each in (A, B))
PAUSE = Order(kind=OrderKind.PAUSE)
PAUSED = Reply(kind=ReplyKind.PAUSED)


def of(job_id: str, kind: str) -> Reply:
    return Reply(id=job_id, kind=ReplyKind(kind))


def asked(*said: Order | Reply) -> Asked:
    found = Asked()
    for each in said:
        if isinstance(each, Order):
            found.ask(each)
        else:
            assert found.fits(each)
    return found


def test_one_study_in_the_midst_of_another_and_one_written_beside_it():
    found = asked(PREPARE_A, GO_A, of(A, "started"), PREPARE_B, GO_B, PAUSE, of(B, "started"), PAUSED)
    assert found.owed == {A, B}
    for reply in (of(B, "computed"), of(A, "computed"), of(B, "done"), of(A, "failed")):
        assert found.fits(reply)
    assert found.owed == set()


BOTH = (PREPARE_A, PREPARE_B, GO_A, of(A, "started"))


@pytest.mark.parametrize(
    ("before", "reply"),
    [
        pytest.param(BOTH, of(B, "done"), id="a result of a study that is only read ahead"),
        pytest.param(BOTH, of(B, "unsuitable"), id="a verdict on a study that is only read ahead"),
        pytest.param(BOTH, of(B, "started"), id="the beginning of a study that nobody asked for"),
        pytest.param(BOTH, of(A, "done"), id="a result before it is computed"),
        pytest.param((*BOTH, GO_B, of(B, "started")), of(A, "computed"), id="the outer study before the inner"),
        pytest.param((*BOTH, GO_B, of(B, "started")), of(A, "failed"), id="the outer study instead of the inner"),
        pytest.param((*BOTH, of(A, "computed"), of(A, "done")), of(A, "done"), id="a result twice"),
        pytest.param((), of("", "ready"), id="ready again"),
        pytest.param((*BOTH, PAUSE, PAUSED), PAUSED, id="a pause that nobody asked for"),
        pytest.param(BOTH, of("3", "done"), id="a stranger"),
    ],
)
def test_what_was_not_asked_is_no_answer(before: tuple[Order | Reply, ...], reply: Reply):
    assert not asked(*before).fits(reply)
