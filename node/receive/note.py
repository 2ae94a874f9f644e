"""What a record of the journal says of its object beside the bytes: all that its index row is made of."""

from __future__ import annotations

import json
from datetime import datetime

from node.domain.time import Instant
from node.store.arrivals import Arrival

#: Keys of the note that are fields of an arrival by the same name.
_FIELDS = (
    *("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"),
    *("digest", "size", "path", "source", "lossy", "retrieved"),
)


def written(now: Instant, arrival: Arrival) -> bytes:
    """The note of an object that came at `now`; its path is empty where the record itself holds the object."""
    fields = {name: getattr(arrival, name) for name in _FIELDS}
    fields["at"] = (now.wall.isoformat(), now.boottime_s, now.boot_id)
    return json.dumps(fields, separators=(",", ":")).encode()


def read(note: bytes, path: str) -> tuple[Instant, Arrival]:
    """The arrival that a note tells of; `path` is where its record lies.

    Raises:
        ValueError, KeyError, TypeError: it is no note of ours.
    """
    fields = json.loads(note)
    wall, boottime_s, boot_id = fields["at"]
    arrival = Arrival(**{name: fields[name] for name in _FIELDS if name in fields and name != "path"},
                      path=fields["path"] or path)  # fmt: skip
    return Instant(datetime.fromisoformat(wall), boottime_s, boot_id), arrival
