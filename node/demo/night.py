"""One night: three made-up studies go out over the network, are read and ranked, and their results come back."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from node.demo import head
from node.demo.children import Child
from node.demo.expectation import KINDS, Standing, kept, standings
from node.demo.head import DemoStudy
from node.demo.progress import Shown
from node.demo.sender import send
from node.demo.site import ARCHIVE, NODE, SCANNER, Site, laid_out, write_config
from node.demo.worklist import worklist
from node.errors import Failed, MatinsError

#: Quiet time of the demo: its scanner pauses for less.
_QUIET_S = 2
_ARCHIVE_START_S = 60.0
_NODE_START_S = 120.0
#: From the last instance sent to the last result at the archive.
_RESULTS_S = 150.0
_TICK_S = 0.2
_INTERRUPTED = 130


def run_night(*, keep: bool, open_browser: bool, console: Console | None = None) -> int:
    """Run the demo and return the exit code: 0 when every expected result came back, 1 when not, 130 on Ctrl-C.

    keep: leave the whole folder of the night where it is; without it the results alone stay.
    open_browser: show the worklist page at the end and serve it until Ctrl-C.
    """
    shown = Shown(console or Console())
    site = laid_out(Path(tempfile.mkdtemp(prefix="matins-demo-")))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        _night(site, shown, open_browser=open_browser)
        code = 0
    except MatinsError as error:
        shown.say(f"\nThe night failed: {error}", bold=True)
        code = 1
    except KeyboardInterrupt:
        shown.say("\nInterrupted; the node and the archive have ended.")
        code = _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    _clear(site, shown, everything_stays=keep or code == 1)
    return code


def _night(site: Site, shown: Shown, *, open_browser: bool) -> None:
    shown.say("One night with Matins. Research software, not a medical device.", bold=True)
    shown.say(
        "The head is the MNI152 template (an average brain, its skull removed); its three patients are made up.\n"
    )
    archive_command = ["node.demo.archive", "--folder", str(site.archive_folder), "--ae-title", ARCHIVE]
    with Child("the archive", archive_command, site.folder / "archive.log") as archive:
        archive_port = int(archive.said("ready 127.0.0.1:", _ARCHIVE_START_S))
        shown.note(f"archive {ARCHIVE} listens at 127.0.0.1:{archive_port}")
        write_config(site, archive_port)
        with Child("the node", _node_command(site), site.node_log) as node:
            studies = head.studies()
            node.said("all rooms ready", _NODE_START_S)
            shown.note(f"node {NODE} listens at 127.0.0.1:{site.node_port}, worklist page at {site.page}")
            for study in _as_sent(studies):
                _send(study, site, shown)
            found = _await_results(site, studies, (archive, node), shown)
            _tell(site, found, shown)
            if open_browser:
                _serve_page(site, node, shown)


def _node_command(site: Site) -> list[str]:
    options = ["--config", str(site.config), "--data", str(site.folder / "var"), "--quiet", str(_QUIET_S)]
    return ["node", "serve", *options]


def _as_sent(studies: Sequence[DemoStudy]) -> list[DemoStudy]:
    """The urgent one last: that it stands on top is then the ranking's doing."""
    return sorted(studies, key=lambda study: study.name == "urgent")


def _send(study: DemoStudy, site: Site, shown: Shown) -> None:
    began_s = time.monotonic()
    with shown.counting(f"sending {study.name}") as count:
        answers = send(study.instances, site.node, calling_ae_title=SCANNER, on_sent=count)
    refused = [answer for answer in answers if not answer.is_accepted]
    if refused:
        status = "no presentation context" if refused[0].status is None else f"0x{refused[0].status:04X}"
        raise Failed(f"the node refused {len(refused)} instances of the {study.name} study ({status})")
    took_s = time.monotonic() - began_s
    shown.note(f"sent     {study.name}: {study.title} ({len(answers)} instances, {took_s:.1f} s)")


def _await_results(
    site: Site, studies: Sequence[DemoStudy], children: Sequence[Child], shown: Shown
) -> Mapping[str, Standing]:
    """Wait for everything that has to come back, and say what changes.

    Raises:
        Failed: not all came back; says what is missing, with the last lines of the node's log.
    """
    deadline_s = time.monotonic() + _RESULTS_S
    told: dict[str, str] = {}
    with shown.waiting() as show:
        while True:
            found = standings(site, studies, worklist(site.web_port))
            for uid, standing in found.items():
                if told.get(uid) != standing.words:
                    told[uid] = standing.words
                    shown.note(f"study    {standing.study.name}: {standing.words}")
            missing = [f"{each.study.name}: {what}" for each in found.values() for what in each.missing]
            if not missing:
                return found
            hopeless = [f"{each.study.name}: {each.hopeless}" for each in found.values() if each.hopeless]
            if hopeless or time.monotonic() > deadline_s:
                why = "\n".join(f"  {line}" for line in (hopeless or missing))
                how = "given up" if hopeless else f"missing after {_RESULTS_S:g} s"
                raise Failed(f"{how}:\n{why}\nthe node's last lines:\n{children[-1].tail()}")
            for child in children:
                child.check()
            show(f"waiting for {len(missing)} more")
            time.sleep(_TICK_S)


def _tell(site: Site, found: Mapping[str, Standing], shown: Shown) -> None:
    shown.say("\nThe worklist, the study to read first on top", bold=True)
    for standing in sorted(found.values(), key=lambda each: int(each.story["place"])):
        story = standing.story
        name = str(story["patient_name"]).replace("^", " ")
        shown.say(
            f"\n{story['place']}. {story['lane']}, score {story['score']:g}   {name}, {story['study_description']}"
        )
        for reason in story["reasons"]:
            shown.say(f"     {reason['points']:+g}  {reason['because']}")
        for finding in story["findings"]:
            if finding["value"] is not None:
                what = f"{finding['code']['code_meaning']} {finding['quantity']['code_meaning'].lower()}"
                shown.say(f"     {what} {finding['value']:.0f} {finding['unit']} ({finding['model']})")
        for outcome in story["outcomes"]:
            if not standing.results:
                _tell_why_not(outcome, standing.study, shown)
        copies = kept(site, standing)
        for kind in KINDS:
            if kind in copies:
                shown.say(f"     {kind:4} {copies[kind]}")
    shown.say()


def _tell_why_not(outcome: Mapping[str, Any], study: DemoStudy, shown: Shown) -> None:
    """Why a model gave no result, series by series."""
    shown.say(f"     {outcome['model']}: {outcome['state'].replace('_', ' ')}")
    descriptions = {str(one.SeriesInstanceUID): str(one.SeriesDescription) for one in study.instances}
    for series in outcome["series"]:
        uid = series["series_instance_uid"]
        shown.say(f"       {descriptions.get(uid, uid)}: {series['reason']}")


def _serve_page(site: Site, node: Child, shown: Shown) -> None:
    """Show the page until the person ends the demo, or the node ends by itself."""
    webbrowser.open(site.page)
    shown.say(f"The worklist page: {site.page}   Ctrl-C ends the demo.")
    pause = threading.Event()
    try:
        while not pause.wait(1.0):
            node.check()
    except KeyboardInterrupt:
        shown.say()


def _clear(site: Site, shown: Shown, *, everything_stays: bool) -> None:
    """Remove what nobody was shown."""
    if everything_stays:
        shown.say(f"Everything of this night lies in {site.folder}")
        return
    for entry in site.folder.iterdir():
        if entry.is_dir() and entry != site.results_folder:
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()
    if not site.results_folder.exists():
        site.folder.rmdir()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
