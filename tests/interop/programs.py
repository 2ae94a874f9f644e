"""Foreign programs of the tests: where they are, and what happens where one is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

#: Set where everything is installed: what would skip, fails.
REQUIRED = "MATINS_INTEROP_REQUIRED"


def program(name: str, remedy: str) -> str:
    """The path of a program, of the environment's or the system's.

    Skips the test, or fails it where all programs have to be there.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        missing(f"{name} is not installed: {remedy}")
    assert found is not None
    return found


def missing(what: str) -> None:
    """Skip loudly, or fail."""
    if os.environ.get(REQUIRED):
        pytest.fail(what)
    pytest.skip(what)
