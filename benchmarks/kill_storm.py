"""kill -9 of any process of the node, again and again, with sending going on: is anything lost or doubled?

.venv/bin/python benchmarks/kill_storm.py [--kills 30] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.journeys.storm import Storm  # noqa: E402
from tests.journeys.tiny_model import tiny_model_folder  # noqa: E402


def main() -> int:
    """Run the storm and print what it left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matins-storm-") as folder:
        models = tiny_model_folder(Path(folder) / "models")
        report = Storm(Path(folder), models, kills=given.kills, seed=given.seed).run()
    print(
        "| killed | times |\n|---|--:|\n" + "\n".join(f"| {name} | {n} |" for name, n in sorted(report.kills.items()))
    )
    print(f"\n{report.studies} studies, {report.acknowledged} acknowledged instances")
    wrong = 0
    for what in ("lost", "unread", "doubled", "sent_differently"):
        found = getattr(report, what)
        wrong += len(found)
        print(f"{what.replace('_', ' ')}: {len(found)} {found[:5] if found else ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
