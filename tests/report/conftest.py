"""Series on disk for the tests of the report room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.synthetic import Scan, mr_series


@pytest.fixture
def series(tmp_path: Path) -> Callable[[Scan], list[Path]]:
    """Writes a series below the test's folder."""
    return lambda scan: mr_series(tmp_path / "series", scan)
