"""Objects that did not come through the door: looked at, kept within limits, and handed to the listener as files."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from node.errors import Transient
from node.retrieve.answers import text_of
from node.retrieve.found import MALFORMED
from node.retrieve.question import Transfer
from node.store.inbox import hand_over, waiting_bytes

#: So much may wait for the listener before the archive is made to wait, bytes.
_MOST_WAITING_BYTES = 256 << 20
_POLL_S = 0.1
#: For the listener to take something.
_TAKEN_S = 60.0


class HandOver:
    """What one transfer leaves for the listener."""

    def __init__(self, transfer: Transfer, stop: threading.Event) -> None:
        self._transfer = transfer
        self._stop = stop
        self.folder = Path(transfer.folder)
        self.given = 0
        #: Objects that were left out, by reason.
        self.refused: Counter[str] = Counter()

    def give(self, part: Path) -> bool:
        """Hand over one whole Part 10 file, or remove it; `False` if it was left out.

        Raises:
            Transient: the disk has no reserve, or the listener does not take what waits.
        """
        reason = self._disbelief(part)
        if reason:
            self.refused[reason] += 1
            part.unlink(missing_ok=True)
            return False
        self.wait_for_room()
        hand_over(part)
        self.given += 1
        return True

    def wait_for_room(self) -> None:
        """Hold the archive up while the listener is behind.

        Raises:
            Transient: the disk has no reserve, the listener takes nothing, or the room ends.
        """
        usage = shutil.disk_usage(self.folder)
        if 100.0 * usage.free / usage.total < self._transfer.minimum_free_percent:
            raise Transient(f"less than {self._transfer.minimum_free_percent:g} % of the disk is free")
        deadline_s = time.monotonic() + _TAKEN_S
        before = waiting_bytes(self.folder)
        while before > _MOST_WAITING_BYTES:
            if self._stop.wait(_POLL_S):
                raise Transient("the room ends")
            now = waiting_bytes(self.folder)
            if now < before:
                deadline_s = time.monotonic() + _TAKEN_S
            elif time.monotonic() > deadline_s:
                raise Transient("the listener takes nothing; is it running?")
            before = now

    def _disbelief(self, part: Path) -> str:
        """Why an object is not what was asked for; empty if it is."""
        if part.stat().st_size > self._transfer.maximum_bytes:
            return "larger than [receive] maximum_object_bytes"
        try:
            header = dcmread(part, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        except (*MALFORMED, InvalidDicomError, OSError):
            return "no DICOM object that can be read"
        if text_of(header, "StudyInstanceUID") != self._transfer.study_instance_uid:
            return "of another study than the one asked for"
        return ""
