from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from node.demo import head

ROOT = Path(__file__).resolve().parents[2]
#: With Python's own handler: a shell that starts the tests in the background has SIGINT ignored.
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from node.demo.night import run_night; sys.exit(run_night(keep={keep}, open_browser=False))"
)


def started(temporary: Path, *, keep: bool = False) -> subprocess.Popen[str]:
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(keep=keep)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def still_running(folder: Path) -> list[str]:
    """Command lines that name the night's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


@pytest.mark.timeout(240)
def test_a_whole_night_brings_every_result_back_and_leaves_only_the_results(tmp_path: Path) -> None:
    temporary = tmp_path / "night"
    with started(temporary) as night:
        output, _ = night.communicate()
    assert night.returncode == 0, output
    ranked = re.findall(r"^(\d)\. (\w+), score .*Demo Template (\w+)", output, re.MULTILINE)
    assert (ranked[0][1:], len(ranked)) == (("STAT", "Two"), 3)
    assert {place for place, _, _ in ranked} == {"1", "2", "3"}
    volumes = [float(found) for found in re.findall(r"volume (\d+) mL", output)]
    tolerance = head.REFERENCE_TOLERANCE * head.REFERENCE_VOLUME_ML
    assert volumes == [pytest.approx(head.REFERENCE_VOLUME_ML, abs=tolerance)] * 2
    assert "Thunderclap" in output
    assert "not applicable" in output
    assert re.search(r"^ +Localizer: .*only 3 slices", output, re.MULTILINE)
    assert re.search(r"^ +T2 TSE tra 5 mm: .*echo time of 95 ms", output, re.MULTILINE)
    paths = [Path(found) for found in re.findall(r"^ +S(?:EG|R) +(/.+)$", output, re.MULTILINE)]
    assert sorted(path.name for path in paths) == [
        "routine-seg.dcm",
        "routine-sr.dcm",
        "urgent-seg.dcm",
        "urgent-sr.dcm",
    ]
    for path in paths:
        result = dcmread(path, stop_before_pixels=True)
        assert result.Modality == ("SEG" if "seg" in path.name else "SR")
        assert result.PatientID == ("DEMO-0002" if "urgent" in path.name else "DEMO-0001")
    assert sorted(path for path in temporary.rglob("*") if path.is_file()) == sorted(paths)
    assert still_running(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_night_ends_its_processes_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "night"
    with started(temporary) as night:
        assert night.stdout is not None
        for line in night.stdout:
            if "archive ARCHIVE listens" in line:
                break
        night.send_signal(number)
        rest, _ = night.communicate(timeout=100)
    assert night.returncode == 130, rest
    assert "Interrupted" in rest
    assert "Traceback" not in rest
    assert list(temporary.iterdir()) == []
    assert still_running(temporary) == []


def test_a_failed_night_says_what_failed_and_keeps_everything(tmp_path: Path) -> None:
    """A node without its models folder cannot start."""
    temporary = tmp_path / "night"
    temporary.mkdir()
    program = (
        "import sys; from pathlib import Path; from node.demo import night, site;"
        "site._CHECKOUT = Path('/nowhere');"
        "sys.exit(night.run_night(keep=False, open_browser=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "The night failed: the node ended with exit code 2" in done.stdout
    assert "no such folder: /nowhere/models" in done.stdout
    (folder,) = temporary.iterdir()
    assert str(folder) in done.stdout.splitlines()[-1]
    assert (folder / "node.log").is_file()
    assert still_running(temporary) == []
