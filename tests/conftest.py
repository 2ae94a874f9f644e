"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real studies: MATINS_TEST_DATA, or `../shared/data` beside the checkout; skips where neither is."""
    folder = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real studies: {folder} is not a folder; name one in MATINS_TEST_DATA")
    return folder
