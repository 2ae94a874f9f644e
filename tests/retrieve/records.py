"""A FHIR R4 server on the loopback address, good and hostile, and the resources of one patient in it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SYSTEM = "urn:oid:1.2.3"
ACCESSIONS = "urn:oid:1.2.4"
SCT, LOINC, ICD = "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"
UCUM = "http://unitsofmeasure.org"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"

Resource = dict[str, Any]
#: Status, headers, body.
Raw = tuple[int, dict[str, str], bytes]


@dataclass
class Records:
    """A FHIR server: resources by kind, and what it does wrong."""

    resources: dict[str, list[Resource]] = field(default_factory=dict)
    #: Resources that come along with a kind.
    included: dict[str, list[Resource]] = field(default_factory=dict)
    #: Answers in place of a search, by kind: bytes to send, or what to call.
    wrong: dict[str, Callable[[str], Raw | None]] = field(default_factory=dict)
    token: str = ""
    page: int = 0
    etags: bool = False
    #: Method, path, keys and headers of each request.
    asked: list[tuple[str, str, list[tuple[str, str]], dict[str, str]]] = field(default_factory=list)
    base: str = ""
    #: Set when the test ends: who hangs goes on.
    over: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def start(self) -> Records:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}/r4"
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()
        return self

    def stop(self) -> None:
        self.over.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def put(self, *resources: Resource) -> None:
        for each in resources:
            self.resources.setdefault(each["resourceType"], []).append(each)

    def kinds_asked(self) -> list[str]:
        """Kinds of resource that were searched, in order; pages that follow are not searches."""
        return [path.split("/")[2] for _, path, keys, _ in self.asked if "page" not in dict(keys)]

    def bundle(self, kind: str, first: int = 0, keys: str = "") -> bytes:
        """The searchset of a kind, from the `first` resource on."""
        held = self.resources.get(kind, [])
        shown = held[first : first + self.page] if self.page else held
        entries = [{"resource": each, "search": {"mode": "match"}} for each in shown]
        entries += [{"resource": each, "search": {"mode": "include"}} for each in self.included.get(kind, [])]
        links = [{"relation": "self", "url": f"{self.base}/{kind}"}]
        if self.page and first + self.page < len(held):
            links.append({"relation": "next", "url": f"{self.base}/{kind}?page={first + self.page}"})
        return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}).encode()


def _handler(records: Records) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, body: str) -> None:
            parts = urlsplit(self.path)
            keys = parse_qsl(parts.query) + parse_qsl(body)
            records.asked.append((self.command, parts.path, keys, {k.lower(): v for k, v in self.headers.items()}))
            kind = parts.path.split("/")[2]
            status, headers, content = self._content(kind, keys)
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/fhir+json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _content(self, kind: str, keys: list[tuple[str, str]]) -> Raw:
            if records.token and self.headers.get("Authorization") != f"Bearer {records.token}":
                return 401, {}, outcome("login")
            wrong = records.wrong.get(kind)
            made = wrong(self.path) if wrong else None
            if made is not None:
                return made
            if kind == "metadata":
                return 200, {}, json.dumps(capability()).encode()
            first = int(dict(keys).get("page", "0"))
            if kind == "Patient" and not any(
                f"{each['system']}|{each['value']}" == dict(keys).get("identifier")
                for patient in records.resources.get("Patient", [])
                for each in patient["identifier"]
            ):
                return 200, {}, json.dumps({"resourceType": "Bundle", "type": "searchset"}).encode()
            content = records.bundle(kind, first)
            if not records.etags:
                return 200, {}, content
            etag = f'W/"{hash(content)}"'
            if self.headers.get("If-None-Match") == etag:
                return 304, {"ETag": etag}, b""
            return 200, {"ETag": etag}, content

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


@contextmanager
def serving(**settings: Any) -> Iterator[Records]:
    """A server with the patient of `tests.fakes` in it."""
    running = Records(**settings)
    running.put(patient())
    running.start()
    yield running
    running.stop()


def outcome(code: str, diagnostics: str = "the patient P1 is secret") -> bytes:
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


def capability(version: str = "4.0.1", *kinds: str) -> Resource:
    listed = [{"type": each} for each in kinds or ("Patient", "Condition", "Observation")]
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": version,
        "software": {"name": "Stub"},
        "rest": [{"mode": "server", "resource": listed}],
    }


def patient(number: str = "P1", key: str = "a1", **changes: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "id": key,
        "identifier": [{"system": SYSTEM, "value": number}],
        "birthDate": "1970-01-01",
        "gender": "female",
        **changes,
    }


def concept(system: str, code: str, display: str, **changes: Any) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}], **changes}


def coded_status(system: str, code: str) -> Resource:
    return concept(f"{_TERMINOLOGY}/{system}", code, "")


def about(kind: str, number: int, **changes: Any) -> Resource:
    """A resource of the patient."""
    subject = "patient" if kind == "AllergyIntolerance" else "subject"
    return {"resourceType": kind, "id": f"{kind}-{number}", subject: {"reference": "Patient/a1"}, **changes}


def condition(number: int = 1, **changes: Any) -> Resource:
    return about(
        "Condition",
        number,
        **{
            "clinicalStatus": coded_status("condition-clinical", "active"),
            "verificationStatus": coded_status("condition-ver-status", "confirmed"),
            "code": concept(SCT, "363358000", "Malignant tumor of lung"),
            "onsetDateTime": "2020-05",
            **changes,
        },
    )


def observation(number: int = 1, **changes: Any) -> Resource:
    return about(
        "Observation",
        number,
        **{
            "status": "final",
            "code": concept(LOINC, "48065-7", "D-dimer FEU"),
            "effectiveDateTime": "2026-01-01T10:00:00Z",
            "valueQuantity": {"value": 4.2, "unit": "mg/L", "system": UCUM, "code": "mg/L"},
            **changes,
        },
    )
