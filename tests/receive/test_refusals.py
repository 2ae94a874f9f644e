from __future__ import annotations

import threading

from node.receive import refusals
from node.receive.refusals import Refusal, Refusals


def refusal(number: int) -> Refusal:
    return Refusal(about="association", subject=str(number), after="refused", reason="because")


def test_a_refusal_is_written_before_note_returns():
    written: list[Refusal] = []
    noted = Refusals(written.append)
    for number in range(5):
        noted.note(refusal(number), 10.0)
        assert written[-1] == refusal(number)
    noted.close()


def test_who_does_not_wait_is_written_in_order_all_the_same():
    written: list[Refusal] = []
    noted = Refusals(written.append)
    for number in range(50):
        noted.note(refusal(number), 0.0)
    noted.close()
    assert written == [refusal(number) for number in range(50)]


def test_a_busy_database_holds_nobody_up_for_long_nor_fills_the_memory(monkeypatch):
    monkeypatch.setattr(refusals, "_MOST", 10)
    release, written = threading.Event(), []

    def slow(each: Refusal) -> None:
        release.wait(20)
        written.append(each)

    noted = Refusals(slow)
    for number in range(100):
        noted.note(refusal(number), 0.001)
    release.set()
    noted.close()
    assert 10 <= len(written) <= 11
    assert written[0] == refusal(0)


def test_where_no_thread_is_left_the_refusal_waits_and_the_door_stays_open(monkeypatch):
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    written: list[Refusal] = []
    noted = Refusals(written.append)
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", exhausted)
        noted.note(refusal(0))
        noted.close()
    noted.note(refusal(1), 10.0)
    noted.close()
    assert written == [refusal(0), refusal(1)]


def test_closing_twice_and_without_refusals_is_nothing():
    noted = Refusals(lambda _: None)
    noted.close()
    noted.close()
