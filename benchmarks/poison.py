"""Poison among studies: does every other study get its right result, and how long does each wait for it?

.venv/bin/python benchmarks/poison.py [--studies 1000] [--poisoned 100] [--limit 2]

The infer room and its real model process, with a network of 50 ms that needs no torch. A healthy study may be
delayed by the limit and 10 s for each attempt at a poisoned one ahead of it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import structlog

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.infer.poison import night  # noqa: E402

#: What may pass beyond the limit of a study until the next one is read.
_RESTART_S = 10.0


def main() -> int:
    """Run the night and print what became of it; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--poisoned", type=int, default=100)
    parser.add_argument("--limit", type=float, default=2.0, metavar="SECONDS")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="matins-poison-", ignore_cleanup_errors=True) as folder:
        told = night(Path(folder), studies=given.studies, poisoned=given.poisoned, limit_s=given.limit)
    rows = "\n".join(f"| {what} | {number} |" for what, number in sorted(told.ends.items()))
    print(f"| poisoned studies | number |\n|---|--:|\n{rows}\n")
    bound_s = given.limit + _RESTART_S
    print(f"| healthy studies | {told.healthy} |\n|---|--:|")
    print(f"| wrong, of all | {len(told.wrong)} |")
    print(f"| attempts at poisoned ones | {told.poison_attempts} |")
    print(f"| healthy ones that were counted a death | {told.counted_against_healthy} |")
    print(f"| between two healthy results | {told.period_s * 1000:.0f} ms |")
    print(f"| longest delay for each attempt ahead | {told.longest_delay_s:.2f} s of {bound_s:g} s |")
    print(f"| the same between two results | {told.longest_gap_s:.2f} s of {bound_s:g} s |")
    print(f"| wall time | {told.wall_s:.0f} s |")
    for each in told.wrong[:20]:
        print(each)
    return 1 if told.wrong or max(told.longest_delay_s, told.longest_gap_s) > bound_s else 0


if __name__ == "__main__":
    sys.exit(main())
