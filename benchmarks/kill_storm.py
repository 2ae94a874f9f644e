"""kill -9 again and again, with sending going on: is anything acknowledged lost, torn, unindexed or doubled?

.venv/bin/python benchmarks/kill_storm.py [--kills 100] [--seed 1]            the listen room, under three senders
.venv/bin/python benchmarks/kill_storm.py --night [--kills 30] [--seed 1]     any process of the node, to the results
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.journeys.door_storm import DoorStorm  # noqa: E402


def main() -> int:
    """Run the storm and print what it left behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--night", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matins-storm-") as folder:
        if given.night:
            return _night(Path(folder), given.kills, given.seed)
        return _door(Path(folder), given.kills, given.seed)


def _door(folder: Path, kills: int, seed: int) -> int:
    losses = DoorStorm(folder, kills=kills, seed=seed).run()
    print(f"{losses.kills} kills, {losses.acknowledged} acknowledged instances")
    print(f"longest start: {losses.longest_start_s:.1f} s")
    return _told(losses, ("unindexed", "lost", "torn", "damage"))


def _night(folder: Path, kills: int, seed: int) -> int:
    # Only here is torch loaded.
    from tests.journeys.storm import Storm
    from tests.journeys.tiny_model import tiny_model_folder

    report = Storm(folder, tiny_model_folder(folder / "models"), kills=kills, seed=seed).run()
    rows = "\n".join(f"| {name} | {number} |" for name, number in sorted(report.kills.items()))
    print(f"| killed | times |\n|---|--:|\n{rows}\n")
    print(f"{report.studies} studies, {report.acknowledged} acknowledged instances")
    return _told(report, ("lost", "unread", "doubled", "sent_differently"))


def _told(report: object, kinds: tuple[str, ...]) -> int:
    wrong = 0
    for what in kinds:
        found = getattr(report, what)
        wrong += len(found)
        print(f"{what.replace('_', ' ')}: {len(found)} {found[:5] if found else ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
