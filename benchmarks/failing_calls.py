"""Calls on the disk of the listen room fail, the n-th of each kind and each fifth after it, for every n ≤ 200.

.venv/bin/python benchmarks/failing_calls.py [--write] [--first 1] [--last 200]

strace makes the calls of each thread fail, with EIO and with ENOSPC, while objects of both sizes are sent. After each
twenty n the room is killed, started again, and everything that it acknowledged is looked for.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.journeys.door_storm import Losses  # noqa: E402
from tests.journeys.failing_calls import CALLS, ERRORS, STEP, FailingCalls, Turn  # noqa: E402

_RESULT = ROOT / "benchmarks" / "results" / "failing_calls.md"
_TOGETHER = 20
#: Objects sent beyond the n-th.
_BEYOND = 12


@dataclass
class Block:
    """Some n of one error, and what was left behind."""

    turns: list[Turn]
    after: Turn
    losses: Losses

    @property
    def wrong(self) -> int:
        """How much of this must not be."""
        losses = self.losses
        kinds = (losses.unindexed, losses.lost, losses.torn, losses.damage)
        untrue = sum(len(turn.others) + turn.unanswered for turn in self.turns)
        return sum(map(len, kinds)) + untrue + sum(1 for status in self.after.statuses.values() if status)

    def row(self) -> str:
        """A row of the table."""
        turns, losses = self.turns, self.losses
        cells = (
            turns[0].error,
            f"{turns[0].number}–{turns[-1].number}",
            sum(turn.failed.total() for turn in turns),
            sum(1 for turn in turns if not turn.failed),
            sum(len(turn.statuses) + turn.unanswered for turn in turns),
            sum(turn.refused for turn in turns),
            sum(turn.unanswered for turn in turns) + sum(len(turn.others) for turn in turns),
            losses.acknowledged,
            *(len(each) for each in (losses.unindexed, losses.lost, losses.torn, losses.damage)),
            sum(1 for status in self.after.statuses.values() if status),
            f"{1000 * max(turn.echo_s for turn in turns):.0f} ms",
        )
        return "| " + " | ".join(map(str, cells)) + " |"


_HEAD = (
    "| error | n | calls failed | n with none | sent | refused | no answer, another status | acknowledged | unindexed |"
    " lost | torn | database damaged | refused afterwards | longest C-ECHO |\n|---|---|" + "--:|" * 12
)


def blocks(numbers: Sequence[int]) -> Iterator[Block]:
    """Let every n fail with every error, and tell how far it is."""
    work = [(error, number) for error in ERRORS for number in numbers]
    # An n costs a start of the tracer, and the objects until the n-th call.
    all_cost, done_cost, began_s = sum(_cost(number) for _, number in work), 0.0, time.monotonic()
    for error in ERRORS:
        for start in range(0, len(numbers), _TOGETHER):
            some = numbers[start : start + _TOGETHER]
            with tempfile.TemporaryDirectory(prefix="matins-failing-") as folder:
                calls = FailingCalls(Path(folder))
                try:
                    calls.room.start()
                    turns = []
                    for number in some:
                        turns.append(calls.turn(error, number, number + _BEYOND))
                        done_cost += _cost(number)
                        left_s = (time.monotonic() - began_s) * (all_cost - done_cost) / done_cost
                        sys.stderr.write(f"\r{error} n = {number}: {done_cost / all_cost:.0%}, {left_s:.0f} s left   ")
                    after = calls.untouched(_BEYOND)
                    yield Block(turns, after, calls.losses())
                finally:
                    calls.close()
    sys.stderr.write("\n")


def main() -> int:
    """Let calls fail, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1, help="the first n")
    parser.add_argument("--last", type=int, default=200, help="the last n")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {_RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    if shutil.which("strace") is None:
        parser.error("strace is not installed (Debian: strace)")
    began_s = time.monotonic()
    rows, failed, wrong = [], Counter[str](), 0
    print(_HEAD, flush=True)
    for block in blocks(range(given.first, given.last + 1)):
        rows.append(block.row())
        print(f"\n{rows[-1]}", flush=True)
        failed += sum((turn.failed for turn in block.turns), Counter[str]())
        wrong += block.wrong
    kinds = ", ".join(f"{call} {count}" for call, count in failed.most_common())
    told = (
        f"Made to fail, in each thread of the listener: the n-th call of each kind and each {STEP}th after it, of "
        f"{CALLS.replace(',', ', ')}.\n\nFailed in all: {kinds}. Wrong: {wrong}. {time.monotonic() - began_s:.0f} s."
    )
    print(told)
    if given.write:
        lines = ["# Failing calls on the disk", "", _HEAD, *rows, "", told]
        _RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def _cost(number: int) -> float:
    return number + 2.0 * _BEYOND


if __name__ == "__main__":
    sys.exit(main())
