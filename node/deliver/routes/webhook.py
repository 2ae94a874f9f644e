"""Webhook: JSON by POST to the one address of the settings, signed; of the patient nothing unless the site says so."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from node import __version__
from node.config import DeliverSettings, Route
from node.deliver.carriage import Lost, Unreachable
from node.deliver.credentials import secret_lines, tls_context
from node.deliver.routes import Heard, Letter, Reply
from node.domain.notice import FlaggedFinding, NoticeKind
from node.errors import Misconfigured

KIND = "webhook"
#: The receiver has a fault for now, or asks us to come later.
_LATER = frozenset({408, 425, 429})
_SUCCESS, _SERVER_ERRORS = range(200, 300), 500
#: A proxy's, and the receiver's own door: nothing gets in before a person has mended something.
_LOCKED = frozenset({401, 403, 404, 405, 407, 410})
_REDIRECTS = range(300, 400)


#: What a message is about.
_EVENTS = {
    NoticeKind.RANK: "study_ranked",
    NoticeKind.ESCALATION: "finding_not_acknowledged",
    NoticeKind.DISCREPANCY: "finding_after_report",
    NoticeKind.WITHDRAWN: "study_withdrawn",
}


def check(route: Route) -> None:
    """See that the secret and the certificates can be read.

    Raises:
        Misconfigured: they cannot.
    """
    try:
        secret_lines(route.secret_file, "secret_file")
        tls_context(route)
    except Unreachable as error:
        file = route.secret_file or route.name
        raise Misconfigured(file, "secret_file", str(error), f"See the files of the route {route.name}") from error


def message(route: Route, letter: Letter) -> bytes:  # noqa: ARG001
    """The body of one notice, as JSON."""
    flag = letter.flag
    told = {
        "event": "trial" if letter.trial else _EVENTS[flag.kind],
        "id": letter.control_id,
        "study": letter.filler_number,
        "version": letter.version,
        "at": letter.at.astimezone(UTC).isoformat(timespec="seconds"),
        "status": "preliminary",
        "because": letter.because,
        "lane": flag.lane.value,
        "score": flag.score,
        "modality": flag.modality,
        "findings": [_finding(each) for each in flag.findings],
        "not_read_by": [model for model, _ in flag.failures],
        "link": letter.link,
        "study_instance_uid": flag.study_instance_uid,
        "accession_number": flag.accession_number,
        "patient_id": flag.patient.patient_id,
        "issuer_of_patient_id": flag.patient.issuer,
        "patient_name": flag.patient.name,
        "patient_birth_date": flag.patient.birth_date,
        "patient_sex": flag.patient.sex,
        "study_date": flag.study_date,
        "study_description": flag.study_description,
        "reasons": list(flag.reasons),
    }
    # What is not said is not there at all; a finding list that is empty says that none stands.
    kept = {key: value for key, value in told.items() if value not in ("", []) or key in ("findings", "lane")}
    return json.dumps(kept, ensure_ascii=True, separators=(",", ":")).encode()


def digest(route: Route, numbers: Mapping[str, Any], control_id: str, at: datetime, link: str) -> bytes:  # noqa: ARG001
    """The body of one morning's digest, as JSON."""
    told = {"event": "digest", "id": control_id, "at": at.astimezone(UTC).isoformat(timespec="seconds"), **numbers}
    return json.dumps({**told, **({"link": link} if link else {})}, ensure_ascii=True, separators=(",", ":")).encode()


@contextmanager
def opened(route: Route, patience: DeliverSettings) -> Iterator[Hook]:
    """Hold a client; it connects with the first message.

    Raises (on entering):
        Unreachable: the secret or a certificate cannot be read.
    """
    secret = secret_lines(route.secret_file, "secret_file")[0].encode()
    # No proxy from the environment, and never on to where a redirect leads: what is told is for this address alone.
    with httpx.Client(
        timeout=httpx.Timeout(route.answer_s, connect=patience.connect_s),
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        verify=tls_context(route),
        trust_env=False,
        follow_redirects=False,
    ) as client:
        yield Hook(client, route, secret)


def limit_s(route: Route, patience: DeliverSettings) -> float:
    """How long opening, and one message, may take each, seconds."""
    return 2 * patience.connect_s + 3 * route.answer_s


def signature(secret: bytes, at: datetime, body: bytes) -> tuple[str, str]:
    """Timestamp (seconds since 1970) and signature of a request: hexadecimal HMAC-SHA256 over "timestamp.body"."""
    timestamp = str(int(at.timestamp()))
    return timestamp, hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Hook:
    """A client of one address."""

    def __init__(self, client: httpx.Client, route: Route, secret: bytes) -> None:
        self._client = client
        self._route = route
        self._secret = secret

    def send(self, message: bytes, control_id: str, at: datetime) -> Reply:
        """Post one message; any 2xx acknowledges it.

        Raises:
            Lost: no answer came; the receiver may have the message or not.
            Unreachable: nobody answers there, or nobody is let in.
        """
        timestamp, signed = signature(self._secret, at, message)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Matins/{__version__}",
            "Idempotency-Key": control_id,
            "Matins-Timestamp": timestamp,
            "Matins-Signature": f"sha256={signed}",
        }
        name = self._route.name
        try:
            # The body of the answer says nothing to us: it is not read.
            with self._client.stream("POST", self._route.url, content=message, headers=headers) as response:
                status = response.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"nobody answers soundly at the address of {name} ({type(error).__name__})") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Lost(f"{name} broke off, or gave no answer in time ({type(error).__name__})") from error
        return _reply(name, status)


def _reply(name: str, status: int) -> Reply:
    if status in _SUCCESS:
        return Reply(Heard.ACKNOWLEDGED)
    if status in _LOCKED or status in _REDIRECTS:
        problem = f"{name} answers HTTP {status}: correct url, or what it lets in; redirects are not followed"
        raise Unreachable(problem, by_configuration=True)
    if status >= _SERVER_ERRORS or status in _LATER:
        return Reply(Heard.AGAIN, f"{name} has a fault for now (HTTP {status})")
    return Reply(Heard.REFUSED, f"{name} refuses the request (HTTP {status}); see its log")


def _finding(found: FlaggedFinding) -> dict[str, object]:
    return {
        "model": found.model,
        "code_value": found.code.value,
        "coding_scheme_designator": found.code.scheme,
        "code_meaning": found.code.meaning,
        "probability": found.probability,
        "present": found.present,
        "laterality": found.laterality,
        "count": found.count,
    }
