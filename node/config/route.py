"""[[routes]]: how the reading list of others is told where a study stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from node.config.security import OptionalFile
from node.config.values import AeTitle, Port, Seconds, Section
from node.domain.priority import Lane

Kind = Literal["hl7", "webhook", "email", "ups"]
When = Literal["rank", "urgent", "failed", "withdrawn", "escalation", "digest"]
#: What of a patient, or in a patient's words, a message may say.
Phi = Literal[
    "patient_id",
    "issuer_of_patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "study_instance_uid",
    "study_date",
    "study_description",
    "reasons",
]

_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,253}")
_LOOPBACK = r"127\.0\.0\.1|\[::1\]|localhost"
_URL = re.compile(rf"(https://[A-Za-z0-9.\-\[\]:]+|http://({_LOOPBACK})(:[0-9]{{1,5}})?)(/[A-Za-z0-9._~/%\-]*)?")
_URL_OR_PLAIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/%\-]*)?")
_MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
#: A component of an HL7 v2 field.
_HD = re.compile(r"[A-Za-z0-9 ._\-]{0,180}")


def _matching(pattern: re.Pattern[str], meant: str) -> AfterValidator:
    def check(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise ValueError(meant)
        return text

    return AfterValidator(check)


Host = Annotated[str, _matching(_HOST, "a host name or address")]
HookUrl = Annotated[
    str, _matching(_URL, "https://host/path without user, query or fragment; http:// for this machine alone")
]
PageUrl = Annotated[str, _matching(_URL_OR_PLAIN, "the address of the worklist page, without user, query or fragment")]
Mailbox = Annotated[str, _matching(_MAILBOX, "one address as reader@example.org")]
Named = Annotated[str, _matching(_HD, "letters, digits, space, dot, dash and underscore")]

#: What a worklist needs to find the study (hl7, ups); others are told nothing of the patient by default.
_PHI_OF_WORKLISTS: tuple[Phi, ...] = (
    *("patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "patient_sex"),
    *("accession_number", "study_instance_uid", "study_date", "study_description", "reasons"),
)  # fmt: skip
_WHEN: dict[str, tuple[When, ...]] = {
    "hl7": ("rank", "failed", "withdrawn"),
    "ups": ("rank", "failed", "withdrawn"),
    "webhook": ("urgent", "withdrawn"),
    "email": ("urgent", "withdrawn"),
}
_TLS_FILES = frozenset({"authorities_file", "certificate_file", "key_file"})
_OF_EACH = frozenset({"name", "kind", "when", "lanes", "score_step", "phi", "answer_s", "acknowledge"})
#: Keys that mean something for a kind, beside those of each.
KEYS_OF_KIND: dict[str, frozenset[str]] = {
    "hl7": _TLS_FILES
    | {"host", "port", "tls", "interface", "message", "template_file", "may_change_orders", "version", "character_set"}
    | {"processing_id", "sending_application", "sending_facility", "receiving_application", "receiving_facility"},
    "webhook": _TLS_FILES | {"url", "secret_file", "page"},
    "email": _TLS_FILES | {"host", "port", "tls", "login_file", "from_address", "to", "page"},
    "ups": frozenset({"host", "port", "ae_title", "calling_ae_title", "worklist_label"}),
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "hl7": ("host", "port", "interface"),
    "webhook": ("url", "secret_file"),
    "email": ("host", "port", "from_address", "to"),
    "ups": ("host", "port", "ae_title"),
}


class Route(Section):
    """[[routes]]: one receiver that is told where studies stand; who is told of what: `flags_to` of the sources."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
    kind: Kind
    #: "rank": each change of lane, of score by a step, of what was found; "urgent": changes of lane, and findings above
    #: routine; "failed": no model read; "withdrawn": what was told stands no longer; "escalation": only what a step of
    #: [acknowledge] has it told; "digest": what the night brought, in the morning. Empty: as the kind's default.
    when: tuple[When, ...] = Field(default=(), strict=False)
    #: Studies that stand in none of these, and of which nothing was told, are not told of.
    lanes: tuple[Annotated[Lane, Field(strict=False)], ...] = Field(default=tuple(Lane), strict=False)
    #: Points by which the score has to move to be told.
    score_step: Annotated[float, Field(ge=0)] = 10.0
    #: What of the patient a message may say; `None`: what the kind needs (hl7, ups), or nothing.
    phi: tuple[Phi, ...] | None = Field(default=None, strict=False)
    host: Host = ""
    port: Port | None = None
    #: "tls" from the first byte; "starttls" for e-mail alone.
    tls: Literal["none", "tls", "starttls"] = "none"
    #: Authorities of its certificate, PEM; empty: those of the operating system.
    authorities_file: OptionalFile = None
    #: Our own certificate and key, PEM, where it asks for one.
    certificate_file: OptionalFile = None
    key_file: OptionalFile = None
    #: For an acknowledgement, seconds.
    answer_s: Seconds = 30.0
    #: What models found in a study that it is told of has to be acknowledged, in whichever lane the study stands.
    acknowledge: bool = False

    #: Which interface of the receiver this is: "worklist" alone. Never one that files results into a record.
    interface: Literal["worklist", ""] = ""
    #: Which of the messages that are shipped.
    message: Literal["oru_r01", "orm_o01", "omi_o23"] = "oru_r01"
    #: The site's own message in place of it.
    template_file: OptionalFile = None
    #: ORM and OMI change orders; that is the right of whoever placed them, unless they have said otherwise.
    may_change_orders: bool = False
    version: Literal["2.3.1", "2.4", "2.5", "2.5.1"] = "2.5.1"
    #: MSH-18 (table 0211), and how the message is encoded.
    character_set: Literal["UNICODE UTF-8", "8859/1", "ASCII"] = "UNICODE UTF-8"
    #: MSH-11 (table 0103): production, training, debugging.
    processing_id: Literal["P", "T", "D"] = "P"
    sending_application: Named = "MATINS"
    sending_facility: Named = ""
    receiving_application: Named = ""
    receiving_facility: Named = ""

    url: HookUrl = ""
    #: Holds the key that requests are signed with; unreadable for others.
    secret_file: OptionalFile = None
    #: Address of the worklist page for links; it names the study by its UID. Empty: no link.
    page: PageUrl = ""

    #: Holds user and password, a line each; unreadable for others.
    login_file: OptionalFile = None
    from_address: Mailbox = ""
    to: tuple[Mailbox, ...] = Field(default=(), strict=False)

    #: The manager of Unified Procedure Steps that is asked to have each study read.
    ae_title: AeTitle | None = None
    #: By which we call it; empty: the node's own.
    calling_ae_title: AeTitle | Literal[""] = ""
    #: Worklist Label (0074,1202) of the steps.
    worklist_label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]+$")] = "READING"

    @property
    def keeps_steps(self) -> bool:
        """Whether it is a manager of steps: it has one for each study that is to be read."""
        return self.kind == "ups"

    @property
    def tells_when(self) -> tuple[When, ...]:
        """`when`, or the kind's default."""
        return self.when or _WHEN[self.kind]

    @property
    def says(self) -> frozenset[str]:
        """`phi`, or the kind's default."""
        default = _PHI_OF_WORKLISTS if self.kind in ("hl7", "ups") else ()
        return frozenset(default if self.phi is None else self.phi)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Route:
        fields = type(self).model_fields
        given = {key for key in fields if getattr(self, key) != fields[key].default}
        strange = sorted(given - _OF_EACH - KEYS_OF_KIND[self.kind])
        if strange:
            raise ValueError(f"{', '.join(strange)} means nothing for the kind {self.kind}")
        missing = [key for key in _NEEDED[self.kind] if not getattr(self, key)]
        if missing:
            raise ValueError(f"a route of the kind {self.kind} needs {', '.join(missing)}")
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file go together")
        if self.tls == "starttls" and self.kind != "email":
            raise ValueError("starttls is for e-mail; give tls")
        if "digest" in self.when and self.kind not in ("webhook", "email"):
            raise ValueError("the digest of the night goes to people: by a webhook or by e-mail")
        if self.kind == "hl7":
            self._asks_of_hl7()
        if self.kind == "ups" and "study_instance_uid" not in self.says:
            raise ValueError("a step names the study that is to be read: add study_instance_uid to phi")
        if self.kind == "email" and self.login_file and self.tls == "none":
            raise ValueError("a login is not sent in the clear: give tls or starttls")
        return self

    def _asks_of_hl7(self) -> None:
        if "accession_number" not in self.says:
            raise ValueError("an HL7 message is matched by its accession number: add it to phi")
        if self.message != "oru_r01" and not self.template_file and not self.may_change_orders:
            raise ValueError(f"{self.message} changes orders, which are the RIS's: may_change_orders has to allow it")
        if self.message == "omi_o23" and not self.template_file and self.version < "2.5":
            raise ValueError("omi_o23 exists from version 2.5 on")


#: Keys of a route that name a file.
ROUTE_FILES = ("authorities_file", "certificate_file", "key_file", "template_file", "secret_file", "login_file")


def with_files(route: Route, base: Path, ae_title: str) -> Route:
    """Return the route with its relative files taken from `base`, and with the AE title by which it is called."""
    changes: dict[str, Any] = {"calling_ae_title": route.calling_ae_title or ae_title} if route.kind == "ups" else {}
    changes |= {key: base / file for key in ROUTE_FILES if (file := getattr(route, key)) is not None}
    return route.model_copy(update=changes)
