"""E-mail: that there is something to look at, for people; of the patient nothing unless the site says so."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from node.config import DeliverSettings, Route
from node.deliver.carriage import Lost, Unreachable
from node.deliver.credentials import secret_lines, tls_context
from node.deliver.routes import Heard, Letter, Reply
from node.domain.notice import Flag
from node.errors import Misconfigured

KIND = "email"
#: From here on an SMTP reply is a refusal for good (RFC 5321 §4.2.1).
_FOR_GOOD = 500
_NOTE = "Research software, not a medical device. Preliminary; the radiologist's report alone counts."


def check(route: Route) -> None:
    """See that the login and the certificates can be read.

    Raises:
        Misconfigured: they cannot.
    """
    try:
        _login(route)
        tls_context(route)
    except Unreachable as error:
        file = route.login_file or route.name
        raise Misconfigured(file, "login_file", str(error), f"See the files of the route {route.name}") from error


def message(route: Route, letter: Letter) -> bytes:
    """One notice as a mail; nothing of a study stands in its head but the lane."""
    status = f"{letter.flag.kind.in_words}: " if letter.flag.kind.in_words else ""
    what = "a trial of this route" if letter.trial else f"{status}{letter.flag.lane.value} study"
    return _mail(route, what, letter.control_id, letter.at, _lines(letter))


def digest(route: Route, numbers: Mapping[str, Any], control_id: str, at: datetime, link: str) -> bytes:
    """One morning's digest as a mail."""
    lines = [f"{key.replace('_', ' ').capitalize()}: {_counted(value)}" for key, value in numbers.items()]
    more = [f"Page: {link}"] if link else []
    return _mail(route, f"the night to {numbers['day']}", control_id, at, [*lines, *more, "", _NOTE])


def _mail(route: Route, what: str, control_id: str, at: datetime, lines: Iterable[str]) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = route.from_address
    mail["To"] = ", ".join(route.to)
    mail["Subject"] = f"Matins: {what}"
    mail["Date"] = format_datetime(at)
    # The same notice has the same one however often it is sent (RFC 5322 §3.6.4).
    mail["Message-ID"] = f"<{control_id}@{route.from_address.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(lines) + "\n", cte="base64")
    return mail.as_bytes()


def _counted(value: object) -> str:
    """A number, or a list of names or numbers by name, in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{number} {name}" for name, number in value.items()) or "none"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


@contextmanager
def opened(route: Route, patience: DeliverSettings) -> Iterator[Post]:
    """Hold a session with the mail server.

    Raises (on entering):
        Unreachable: nobody answers, or nobody is let in.
    """
    login = _login(route)
    context = tls_context(route) if route.tls != "none" else None
    try:
        server = _connected(route, patience, context)
    except (OSError, smtplib.SMTPException) as error:
        raise Unreachable(f"no mail server answers soundly for {route.name} ({type(error).__name__})") from error
    try:
        try:
            if server.sock is not None:
                server.sock.settimeout(route.answer_s)
            server.ehlo_or_helo_if_needed()
            if route.tls == "starttls" and context is not None:
                server.starttls(context=context)
            if login:
                server.login(*login)
        except smtplib.SMTPAuthenticationError as error:
            raise Unreachable(f"the mail server of {route.name} refuses the login", by_configuration=True) from error
        except (OSError, smtplib.SMTPException) as error:
            problem = f"the mail server of {route.name} lets nobody in ({type(error).__name__})"
            raise Unreachable(problem) from error
        yield Post(server, route)
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        server.close()


def limit_s(route: Route, patience: DeliverSettings) -> float:
    """How long opening, and one message, may take each, seconds: some commands, each of which is waited for."""
    return patience.connect_s + (6 + len(route.to)) * route.answer_s


class Post:
    """An open session with a mail server."""

    def __init__(self, server: smtplib.SMTP, route: Route) -> None:
        self._server = server
        self._route = route

    def send(self, message: bytes, control_id: str, at: datetime) -> Reply:  # noqa: ARG002
        """Give one mail to the server; that it takes it is the acknowledgement.

        Raises:
            Lost: the connection broke; the server may have the mail or not.
        """
        name = self._route.name
        try:
            refused = self._server.sendmail(self._route.from_address, list(self._route.to), message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _refusal(name, max(codes, default=_FOR_GOOD))
        except smtplib.SMTPResponseException as error:
            return _refusal(name, error.smtp_code)
        except (OSError, smtplib.SMTPException) as error:
            raise Lost(f"the mail server of {name} broke off ({type(error).__name__})") from error
        # To send it again would give it twice to the others.
        said = f"{len(refused)} of {len(self._route.to)} addresses are refused there" if refused else ""
        return Reply(Heard.ACKNOWLEDGED, said)


def _connected(route: Route, patience: DeliverSettings, context: ssl.SSLContext | None) -> smtplib.SMTP:
    port = route.port or 0
    if route.tls == "tls":
        return smtplib.SMTP_SSL(route.host, port, timeout=patience.connect_s, context=context, local_hostname="matins")
    return smtplib.SMTP(route.host, port, timeout=patience.connect_s, local_hostname="matins")


def _refusal(name: str, code: int) -> Reply:
    heard = Heard.REFUSED if code >= _FOR_GOOD else Heard.AGAIN
    return Reply(heard, f"the mail server of {name} answers {code}; see its log")


def _login(route: Route) -> tuple[str, str] | None:
    if route.login_file is None:
        return None
    lines = secret_lines(route.login_file, "login_file")
    if len(lines) != 2:
        raise Unreachable("login_file holds user and password, a line each", by_configuration=True)
    return lines[0], lines[1]


def _lines(letter: Letter) -> Iterator[str]:
    flag = letter.flag
    yield f"Lane: {flag.lane.value}, score {flag.score:g}"
    if letter.because:
        yield f"Told because: {letter.because}"
    yield from (f"Finding: {found.in_words}" for found in flag.findings)
    if not flag.findings:
        yield "No finding of a model is told; this rules nothing out."
    yield from (f"Not read by: {model}{f' ({why})' if why else ''}" for model, why in flag.failures)
    yield from (f"Reason: {reason}" for reason in flag.reasons)
    yield from (f"{label}: {_plain(text)}" for label, text in _identity(flag) if text)
    if letter.link:
        yield f"Page: {letter.link}"
    yield from ("", _NOTE)


def _identity(flag: Flag) -> list[tuple[str, str]]:
    return [
        ("Accession number", flag.accession_number),
        ("Patient ID", flag.patient.patient_id),
        ("Issuer of Patient ID", flag.patient.issuer),
        ("Patient's name", flag.patient.name),
        ("Birth date", flag.patient.birth_date),
        ("Sex", flag.patient.sex),
        ("Study date", flag.study_date),
        ("Study", flag.study_description),
        ("Study Instance UID", flag.study_instance_uid),
    ]


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
