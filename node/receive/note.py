"""What a record of the journal says of its object beside the bytes: all that its index row is made of."""

from __future__ import annotations

import json
from datetime import datetime
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter

from node.domain.time import Instant
from node.store.arrivals import Arrival

#: Keys of the note that are fields of an arrival by the same name: text, and what else there is.
_TEXTS = (
    *("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"),
    *("digest", "path", "source"),
)
_FIELDS = (*_TEXTS, "size", "lossy", "retrieved")
_texts = attrgetter(*_TEXTS)
#: With a place for each of them, in this order, and for the moment; the encoder of the library takes longer to make.
_NOTE = "{" + ",".join(f'"{name}":%s' for name in _FIELDS) + ',"at":[%s,%r,%s]}'
_TRUTH = {False: "false", True: "true"}


def written(now: Instant, arrival: Arrival) -> bytes:
    """The note of an object that came at `now`; its path is empty where the record itself holds the object."""
    values = (*map(quoted, _texts(arrival)), arrival.size, _TRUTH[arrival.lossy], _TRUTH[arrival.retrieved])
    return (_NOTE % (*values, quoted(now.wall.isoformat()), now.boottime_s, quoted(now.boot_id))).encode("ascii")


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
