"""One request, from its head to its answer (PS3.18 §10.5): what is asked, in which form, and what is told."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message

from node.config import Peer
from node.domain.uid import is_usable_uid
from node.receive.association import Door, tried
from node.receive.stow.exchange import Answer, Asked, Broken, Exchange
from node.receive.stow.multipart import Malformed, Multipart
from node.receive.stow.response import http_status, offered_for, written
from node.receive.stow.transaction import Transaction

_PATH = re.compile(r"/studies(?:/([^/]+))?/?")
_RETRY_S = 60
_SUPPORTED = 'Supported is multipart/related; type="application/dicom", without a content coding.\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """A Store Transaction that was asked for in a form that is taken."""

    #: Empty where the URL names no study.
    study_instance_uid: str
    boundary: str
    #: Of the answer.
    media_type: str


def understood(asked: Asked) -> StoreRequest | Answer:
    """Look at the head of a request: what is to be done, or why it is not."""
    found = _PATH.fullmatch(asked.path)
    study_instance_uid = (found.group(1) or "") if found else ""
    if found is None or (study_instance_uid and not is_usable_uid(study_instance_uid)):
        return _told(404, "Only /studies and /studies/{study} are served here.")
    if asked.method != "POST":
        return _told(405, "Only the Store Transaction is offered: POST.", allow="POST")
    media_type = offered_for(asked.headers.get("accept", ""))
    if media_type is None:
        return _told(406, "The answer is application/dicom+json or application/dicom+xml.")
    coding = asked.headers.get("content-encoding", "identity").strip().lower()
    content_type = _parsed(asked.headers.get("content-type", ""))
    root = str(content_type.get_param("type", "")).lower()
    if content_type.get_content_type() != "multipart/related" or root != "application/dicom" or coding != "identity":
        return _told(415, _SUPPORTED.strip(), accept='multipart/related; type="application/dicom"')
    boundary = str(content_type.get_param("boundary", ""))
    return StoreRequest(study_instance_uid=study_instance_uid, boundary=boundary, media_type=media_type)


def store(door: Door, peer: Peer, request: StoreRequest, exchange: Exchange) -> bool:
    """Store what a request brings and tell of each instance; return whether another request may follow.

    Raises:
        Broken: nobody is there any more to be told.
    """
    if tried(door.has_room) is not True:
        return exchange.tell(_busy(f"Refused: {door.full}."))
    transaction = Transaction(door, peer, request.study_instance_uid)
    reason, status = "", 0
    try:
        body = Multipart(request.boundary, transaction)
        for piece in exchange.body():
            body.feed(piece)
        body.close()
    except Malformed as error:
        reason, status = error.reason, error.status
    except Broken as error:
        reason, status = error.reason, error.status or 400
        if not error.status:
            raise
    finally:
        transaction.close(reason)
    outcomes = transaction.outcomes
    if not outcomes:
        return exchange.tell(_told(status or 400, f"Nothing was stored: {reason or 'the body has no part'}."))
    status = status or http_status(outcomes)
    again = {"retry-after": str(_RETRY_S)} if status == 503 else {}
    content = written(outcomes, request.media_type)
    return exchange.tell(
        Answer(status=status, content=content, content_type=request.media_type, headers=again), close=bool(reason)
    )


def _parsed(content_type: str) -> Message:
    message = Message()
    with suppress(ValueError):
        message["Content-Type"] = content_type
    return message


def _told(status: int, text: str, **headers: str) -> Answer:
    return Answer(status=status, content=f"{text}\n".encode(), headers=headers)


def _busy(text: str) -> Answer:
    return Answer(status=503, content=f"{text}\n".encode(), headers={"retry-after": str(_RETRY_S)})
