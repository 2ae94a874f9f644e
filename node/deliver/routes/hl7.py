"""HL7 v2 over MLLP: the worklist of the RIS or PACS, which listens to nothing else."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from node.config import DeliverSettings, Route
from node.deliver.carriage import Unreachable
from node.deliver.credentials import tls_context
from node.deliver.hl7 import rules
from node.deliver.hl7.acknowledgement import ACCEPTED
from node.deliver.hl7.escape import person_name
from node.deliver.hl7.mllp import Line
from node.deliver.hl7.template import Template, Value, Wrong, parse, rendered
from node.deliver.routes import Heard, Letter, Reply
from node.domain.notice import FlaggedFinding
from node.domain.priority import HL7_PRIORITY, Lane
from node.errors import Misconfigured, Unsuitable

KIND = "hl7"
_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_TEMPLATE = 65536
_REMEDY = "Mend the line; node/ROUTES.md says what it may hold"
#: MSH-18 (table 0211) → codec.
_CODECS = {"UNICODE UTF-8": "utf-8", "8859/1": "latin-1", "ASCII": "ascii"}
#: Table 0078: critically abnormal, abnormal; of a study that waits nobody knows that it is normal.
_ABNORMAL = {Lane.STAT: "AA", Lane.URGENT: "A", Lane.ROUTINE: ""}


def check(route: Route) -> None:
    """Read the template and hold it against what a message of ours may say.

    Raises:
        Misconfigured: with the file, the line and the remedy.
    """
    _template(route)


def message(route: Route, letter: Letter) -> bytes:
    """Put a notice into the route's template.

    Raises:
        Misconfigured: the template is not as it has to be.
        Unsuitable: the study has no accession number, by which the worklist would know it.
    """
    template = _template(route)
    if not letter.flag.accession_number.strip():
        raise Unsuitable("the study has no accession number, by which the worklist would find it")
    conditions = {"tq1" if route.version >= "2.5" else "no_tq1"}
    if not letter.flag.findings:
        conditions.add("no_findings")
    text = rendered(template, _scalars(route, letter), _lists(letter), frozenset(conditions))
    return text.encode(_CODECS[route.character_set], "replace")


@contextmanager
def opened(route: Route, patience: DeliverSettings) -> Iterator[MllpReceiver]:
    """Hold a connection to the receiver.

    Raises (on entering):
        Unreachable: nobody answers there, or its certificate is not believed.
    """
    context = tls_context(route) if route.tls == "tls" else None
    try:
        connection = socket.create_connection((route.host, route.port or 0), timeout=patience.connect_s)
    except OSError as error:
        raise Unreachable(f"nobody answers at {route.host}:{route.port} ({type(error).__name__})") from error
    if context is not None:
        try:
            connection = context.wrap_socket(connection, server_hostname=route.host)
        except (OSError, ssl.SSLError) as error:
            connection.close()
            by_configuration = isinstance(error, ssl.SSLCertVerificationError)
            said = "its certificate is not believed" if by_configuration else type(error).__name__
            problem = f"no TLS with {route.host}:{route.port}: {said}"
            raise Unreachable(problem, by_configuration=by_configuration) from error
    with closing(Line(connection, route.name)) as line:
        yield MllpReceiver(line, route)


def limit_s(route: Route, patience: DeliverSettings) -> float:
    """How long opening, and one message, may take each, seconds."""
    return max(2 * patience.connect_s, route.answer_s)


class MllpReceiver:
    """A receiver that acknowledges each message."""

    def __init__(self, line: Line, route: Route) -> None:
        self._line = line
        self._route = route

    def send(self, message: bytes, control_id: str, at: datetime) -> Reply:  # noqa: ARG002
        """Send one message and wait for its acknowledgement.

        Raises:
            Lost: none came; the receiver may have the message or not.
        """
        found = self._line.exchange(message, control_id, self._route.answer_s)
        if found.code in ACCEPTED:
            return Reply(Heard.ACKNOWLEDGED)
        more = f", error {found.error}" if found.error else ""
        return Reply(Heard.REFUSED, f"{self._route.name} answers {found.code}{more}; see its log")


def _template(route: Route) -> Template:
    file = route.template_file or _TEMPLATES / f"{route.message}.hl7"
    key = "" if route.template_file else "message"
    with suppress(UnicodeDecodeError):
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise Misconfigured(file, key, problem, f"Correct template_file of the route {route.name}") from error
        if len(text) <= _LONGEST_TEMPLATE:
            try:
                template = parse(text)
                rules.check(template, route)
            except Wrong as wrong:
                problem = str(wrong)
                raise Misconfigured(
                    file, f"line {wrong.line}", problem, "Mend the line; node/ROUTES.md says how"
                ) from wrong
            return template
    raise Misconfigured(file, key, "is no short text in UTF-8", f"Correct template_file of the route {route.name}")


def _scalars(route: Route, letter: Letter) -> dict[str, Value]:
    flag, patient = letter.flag, letter.flag.patient
    return {
        "control_id": letter.control_id,
        "sent_at": letter.at.strftime("%Y%m%d%H%M%S+0000"),
        "version": route.version,
        "processing_id": "T" if letter.trial else route.processing_id,
        "character_set": route.character_set,
        "sending_application": route.sending_application,
        "sending_facility": route.sending_facility,
        "receiving_application": route.receiving_application,
        "receiving_facility": route.receiving_facility,
        "patient_id": patient.patient_id,
        "issuer_of_patient_id": patient.issuer,
        "patient_name": person_name(patient.name),
        "patient_birth_date": patient.birth_date,
        "patient_sex": patient.sex,
        "accession_number": flag.accession_number,
        "study_instance_uid": flag.study_instance_uid,
        "study_at": flag.study_date + flag.study_time[:6] if flag.study_date else "",
        "study_description": flag.study_description,
        "modality": flag.modality,
        "filler_number": letter.filler_number,
        "notice_version": str(letter.version),
        "priority": HL7_PRIORITY[flag.lane],
        "lane": flag.lane.value,
        "score": f"{flag.score:.2f}".rstrip("0").rstrip("."),
        "abnormal": _ABNORMAL[flag.lane],
        "status": flag.kind.in_words,
    }


def _lists(letter: Letter) -> dict[str, list[Mapping[str, Value]]]:
    flag = letter.flag
    return {
        "reason": [{"text": reason} for reason in flag.reasons],
        "finding": [_finding(each, flag.lane) for each in flag.findings],
        "failure": [
            {"model": model, "text": f"{model}: {reason}" if reason else model} for model, reason in flag.failures
        ],
    }


def _finding(found: FlaggedFinding, lane: Lane) -> Mapping[str, Value]:
    return {
        "code": found.code.value,
        "meaning": found.code.meaning,
        "scheme": found.code.scheme,
        "probability": "" if found.probability is None else f"{found.probability:.3f}",
        # What a model does not decide is measured, not abnormal.
        "abnormal": ("AA" if lane is Lane.STAT else "A") if found.present else "",
        "laterality": found.laterality,
        "count": str(found.count),
        "model": found.model,
        "text": found.in_words,
    }
