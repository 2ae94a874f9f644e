"""What the disk below a folder can do."""

from __future__ import annotations

import mmap
import os
from pathlib import Path


def writes_past_the_page_cache(folder: Path) -> bool:
    """Whether files there can be written past the page cache (open(2), O_DIRECT)."""
    probe = folder / "probe"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
    except OSError:
        return False
    try:
        return os.pwrite(descriptor, mmap.mmap(-1, mmap.PAGESIZE), 0) == mmap.PAGESIZE
    except OSError:
        return False
    finally:
        os.close(descriptor)
        probe.unlink()
