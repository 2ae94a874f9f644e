"""The demo's processes: the archive and the node, each in a session of its own, each ended by its own process id."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from node.errors import Failed

#: Where `python -m node` finds the package, however the demo was started.
_ROOT = Path(__file__).resolve().parents[2]
_DRAIN_S = 40.0
_TICK_S = 0.05
_TAIL_LINES = 25


@contextmanager
def _uninterrupted() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM instead of acting on them: half-way through a start the child would be lost to us."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _: noted.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Child:
    """One `python -m MODULE …`, whose output goes to a file; leaving the `with` block ends it."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self._name = name
        self._log = log
        with log.open("ab") as stream, _uninterrupted() as interruptions:
            # A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=_ROOT,
                start_new_session=True,
            )
        if interruptions:
            self.end()
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def said(self, beginning: str, limit_s: float) -> str:
        """Wait until the child writes a line that starts with `beginning`, and return the rest of that line.

        Raises:
            Failed: it ended, or did not say it in time; the message has the last lines that it wrote.
        """
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            ended = self._process.poll() is not None
            for line in self._log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
                if line.startswith(beginning):
                    return line.removeprefix(beginning).strip()
            if ended:
                break
            time.sleep(_TICK_S)
        self.check()
        raise Failed(f"{self._name} was not ready within {limit_s:g} s; its last lines:\n{self.tail()}")

    def check(self) -> None:
        """See that the child still runs.

        Raises:
            Failed: it ended; the message has the last lines that it wrote.
        """
        code = self._process.poll()
        if code is not None:
            raise Failed(f"{self._name} ended with exit code {code}; its last lines:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines that the child wrote."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])

    def end(self) -> None:
        """Ask the child to end and wait; insist after a while, or when the person does."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_DRAIN_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
