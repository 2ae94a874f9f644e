"""The Worklist Service over HTTP (UPS-RS, PS3.18 §11): each transaction is the DIMSE request that it corresponds to.

Who may ask, what is done and what is refused are those of the DICOM port; here paths, JSON and statuses are translated.
Reports on what is subscribed to go by N-EVENT-REPORT alone: there is no WebSocket.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from node.config import Peer
from node.domain.dicom_json import Attributes, element
from node.domain.uid import is_usable_uid
from node.domain.ups import PULL, PUSH, WATCH, WORKING, Action, UpsStatus
from node.domain.ups_attributes import DELETION_LOCK, RECEIVING_AE, TRANSACTION_UID
from node.errors import Refused, Transient
from node.receive import status
from node.receive.association import Door
from node.receive.intakes import Reply, Request
from node.receive.stow.exchange import Answer, Asked
from node.receive.ups import encoding, service, worklist

LONGEST_BYTES = 1 << 20
#: Characters of all that a search is told.
_LONGEST_ANSWER = 32 << 20
JSON = "application/dicom+json"
_TAKEN = frozenset({JSON, "application/json"})
_EXPLICIT = "1.2.840.10008.1.2.1"
_PATH = re.compile(r"/workitems(?:/([^/]+)(?:/(state|cancelrequest|subscribers)(?:/([^/]+))?(/suspend)?)?)?/?")
_NO_KEYS = frozenset({"includefield", "limit", "offset", "fuzzymatching"})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
#: Statuses that say what is wrong with the request itself, 400; all other failures conflict with the step's state, 409.
_BAD = frozenset(
    {
        *(status.CANNOT_UNDERSTAND, status.PROCESSING_FAILURE, status.IDENTIFIER_DOES_NOT_MATCH),
        *(UpsStatus.NO_SUCH_ATTRIBUTE, UpsStatus.INVALID_ATTRIBUTE_VALUE, UpsStatus.MISSING_ATTRIBUTE),
        *(UpsStatus.MISSING_ATTRIBUTE_VALUE, UpsStatus.NO_SUCH_ACTION, UpsStatus.WRONG_TRANSACTION_UID),
        *(UpsStatus.RECEIVING_AE_UNKNOWN, UpsStatus.NOT_CREATED_SCHEDULED, UpsStatus.NOT_FOR_THIS_INSTANCE),
    }
)
_HTTP = {
    UpsStatus.NO_SUCH_UPS: 404,
    status.NOT_AUTHORISED: 403,
    status.TOO_MANY_MATCHES: 413,
    status.RESOURCE_LIMITATION: 413,
}
_WARNINGS = {
    UpsStatus.ALREADY_CANCELED: "The UPS is already in the requested state of CANCELED.",
    UpsStatus.ALREADY_COMPLETED: "The UPS is already in the requested state of COMPLETED.",
    UpsStatus.COMPLETED_ALREADY: "The UPS is already COMPLETED.",
    UpsStatus.PERFORMER_OUT_OF_REACH: "The performer cannot be contacted.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A transaction, as the DIMSE request that it corresponds to."""

    operation: str
    over: str
    #: HTTP status of success.
    success: int
    uid: str = ""
    action: Action | None = None
    content: Attributes | None = None


def answer(door: Door, peer: Peer, asked: Asked, body: bytes) -> Answer:
    """Answer one request; what it changes is durable before success is answered."""
    try:
        found = _PATH.fullmatch(asked.path)
        if found is None or (found.group(1) and not is_usable_uid(found.group(1))):
            return _told(404, "Only /workitems, /workitems/{workitem} and what belongs to it are served here.")
        if not _accepts_json(asked.headers.get("accept", "")):
            return _told(406, f"The answer is {JSON}.")
        payload = _payload(asked, body)
        if payload is None:
            return _told(415, f"Supported is {JSON}, without a content coding.", accept=JSON)
        if asked.method == "GET" and not found.group(1):
            return _search(door, peer, asked.query)
        wanted = _wanted(asked, found, payload)
        return _told(405, "No such transaction.") if wanted is None else _do(door, peer, wanted)
    except Refused as error:
        door.refused_request(peer, "UPS-RS", error)
        return _refusal(error.status, error.reason)
    except Transient:
        return _told(503, "It can be answered later.", **{"retry-after": "5"})


def _wanted(asked: Asked, found: re.Match[str], payload: Attributes) -> _Wanted | None:
    """The transaction that a method and a path mean (PS3.18 Table 11.3-1); `None` if there is none."""
    uid, part, name, suspends = found.groups()
    match (asked.method, part, bool(uid)):
        case ("POST", None, False):
            return _Wanted(operation="N-CREATE", over=PUSH, success=201, uid=_uid_in(asked.query), content=payload)
        case ("GET", None, True):
            return _Wanted(operation="N-GET", over=PULL, success=200, uid=uid)
        case ("POST", None, True):
            if (transaction := _uid_in(asked.query)) and TRANSACTION_UID not in payload:
                payload = {**payload, TRANSACTION_UID: element("UI", transaction)}
            return _Wanted(operation="N-SET", over=PULL, success=200, uid=uid, content=payload)
        case ("PUT", "state", True):
            return _acting(Action.CHANGE_STATE, PULL, 200, uid, payload)
        case ("POST", "cancelrequest", True):
            return _acting(Action.REQUEST_CANCEL, PUSH, 202, uid, payload)
        case ("POST" | "DELETE", "subscribers", True) if name:
            said = {RECEIVING_AE: element("AE", unquote(name))}
            if suspends:
                return _acting(Action.SUSPEND_GLOBAL, WATCH, 200, uid, said) if asked.method == "POST" else None
            if asked.method == "DELETE":
                return _acting(Action.UNSUBSCRIBE, WATCH, 200, uid, said)
            given = dict(parse_qsl(asked.query, max_num_fields=100))
            lock = str(given.pop("deletionlock", "false")).upper()
            keys = _keys([(key, value) for key, value in given.items() if key != "filter"])
            return _acting(Action.SUBSCRIBE, WATCH, 201, uid, {**keys, **said, DELETION_LOCK: element("LO", lock)})
    return None


def _acting(action: Action, over: str, success: int, uid: str, content: Attributes) -> _Wanted:
    return _Wanted(operation="N-ACTION", over=over, success=success, uid=uid, action=action, content=content)


def _do(door: Door, peer: Peer, wanted: _Wanted) -> Answer:
    content = b"" if wanted.content is None else encoding.written(wanted.content, _EXPLICIT)
    request = Request(
        operation=wanted.operation,
        sop_class_uid=PUSH,
        sop_instance_uid=wanted.uid,
        type_id=int(wanted.action) if wanted.action else None,
        content=content,
        transfer_syntax_uid=_EXPLICIT,
        peer=peer,
        abstract_syntax=wanted.over,
    )
    reply = service.answer(door.settings, door.keeper, request)
    if reply.status not in (status.SUCCESS, UpsStatus.ALREADY_CANCELED, UpsStatus.ALREADY_COMPLETED):
        door.refused_request(peer, "UPS-RS", Refused(reply.status, reply.reason))
        return _refusal(reply.status, reply.reason, wanted)
    return _success(reply, wanted)


def _success(reply: Reply, wanted: _Wanted) -> Answer:
    if wanted.operation == "N-GET":
        return _dataset(200, [encoding.read(reply.content, _EXPLICIT)])
    headers = {"location": f"/workitems/{reply.sop_instance_uid}"} if reply.sop_instance_uid else {}
    if words := _WARNINGS.get(UpsStatus(reply.status)) if reply.status else None:
        headers["warning"] = f'299 matins "{words}"'
    return Answer(status=wanted.success, content_type=JSON, headers=headers)


def _search(door: Door, peer: Peer, query: str) -> Answer:
    """Matching steps, all that they say (PS3.18 §11.9)."""
    given = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    numbers = {key: int(value) for key, value in given if key in ("limit", "offset") and value.isdigit()}
    service.demand(peer, WORKING)
    size = 0

    def told_of(held: Attributes) -> Attributes:
        nonlocal size
        size += len(str(held))
        if size > _LONGEST_ANSWER:
            raise Refused(status.TOO_MANY_MATCHES, "the steps that match say more than is told at once")
        return held

    found = worklist.found(door.settings, door.keeper, peer, _keys(given), told_of)
    first = numbers.get("offset", 0)
    shown = found[first : first + numbers["limit"]] if "limit" in numbers else found[first:]
    return _dataset(200, shown) if shown else Answer(status=204, content_type=JSON)


def _keys(given: list[tuple[str, str]]) -> Attributes:
    """Keys of a query: keywords or tags, of an item of a sequence with dots between (PS3.18 §8.3.4).

    Raises:
        Refused: 0xA900, one is no attribute.
    """
    keys: Attributes = {}
    for path, value in given:
        if path in _NO_KEYS:
            continue
        *sequences, last = [_tag(name) for name in path.split(".")]
        place: dict[str, Any] = keys
        for tag in sequences:
            place = place.setdefault(tag, {"vr": "SQ", "Value": [{}]})["Value"][0]
        values = value.split("," if _vr(last) == "UI" else "\\")
        place[last] = element(_vr(last), *(each for each in values if each))
    return keys


def _tag(name: str) -> str:
    if _TAG.fullmatch(name) and keyword_for_tag(int(name, 16)):
        return name.upper()
    found = tag_for_keyword(name)
    if found is None:
        raise Refused(status.IDENTIFIER_DOES_NOT_MATCH, "a key of the query is no attribute")
    return f"{found:08X}"


def _vr(tag: str) -> str:
    return dictionary_VR(int(tag, 16)).partition(" ")[0]


def _uid_in(query: str) -> str:
    """The one UID of a query, whatever it is called there (PS3.18 §11.4.1.2, §11.6.1.2); empty if there is none.

    Raises:
        Refused: 0x0106, it is no UID.
    """
    text = unquote(query).rpartition("=")[2]
    if text and not is_usable_uid(text):
        raise Refused(UpsStatus.INVALID_ATTRIBUTE_VALUE, "the query names no UID")
    return text


def _payload(asked: Asked, body: bytes) -> Attributes | None:
    """The data set of a request: one, or a list of one; `None` where it comes in another form.

    Raises:
        Refused: 0xC000, it is none.
    """
    if not body.strip():
        return {}
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TAKEN or asked.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(status.CANNOT_UNDERSTAND, "the body is no JSON") from None
    if isinstance(read, list) and len(read) == 1:
        (read,) = read
    if not isinstance(read, dict) or not all(
        _TAG.fullmatch(tag) and isinstance(each, dict) for tag, each in read.items()
    ):
        raise Refused(status.CANNOT_UNDERSTAND, "the body is no data set in the DICOM JSON Model")
    return {tag.upper(): each for tag, each in read.items()}


def _accepts_json(accept: str) -> bool:
    kinds = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
    return bool(kinds & {*_TAKEN, "*/*", "application/*", ""})


def _refusal(code: int, reason: str, wanted: _Wanted | None = None) -> Answer:
    # A final step may no longer be set: of an update the standard has that be 400 (PS3.18 Table 11.6.3-1).
    final = wanted is not None and wanted.operation == "N-SET" and code == UpsStatus.MAY_NO_LONGER_BE_UPDATED
    http = _HTTP.get(code) or (400 if final or code in _BAD else 409)
    words = _WARNINGS[UpsStatus(code)] if code in _WARNINGS else f"0x{code:04X}: {reason}"
    return _told(http, words, warning=f'299 matins "{_plain(words)}"')


def _plain(words: str) -> str:
    return words.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "/")


def _dataset(code: int, found: list[Attributes]) -> Answer:
    return Answer(status=code, content=json.dumps(found).encode(), content_type=JSON)


def _told(code: int, text: str, **headers: str) -> Answer:
    return Answer(status=code, content=f"{text}\n".encode(), headers=headers)
