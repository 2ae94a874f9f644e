from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from node.clock import worker
from node.config import load_settings
from node.domain.study import StudyState
from node.domain.time import SystemClock
from node.store import studies
from node.store.database import open_database
from tests.fakes import STUDY, arrive, slice_of


def test_the_clock_closes_a_quiet_study_and_ends_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "rules").mkdir()
    (tmp_path / "config.toml").write_text("")
    settings = load_settings(tmp_path / "config.toml", quiet_s=0.3)
    db = open_database(settings.data.folder, "test")
    arrive(db, SystemClock().now(), slice_of(1))
    states: list[StudyState] = []

    def watch() -> None:
        for _ in range(400):
            study = studies.study(db, STUDY)
            if study is not None and not study.open:
                states.append(study.state)
                break
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert worker.main(settings) == 0
    finally:
        watcher.join()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert states == [StudyState.DONE]
    db.close()
