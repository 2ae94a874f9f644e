"""[receive.hl7]: HL7 v2 messages over MLLP, and who may send them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from node.config.security import BoundCertificate
from node.config.values import Network, Port, Seconds, Section, TimeZone

#: Where an order names its accession number.
AccessionField = Literal["IPC-1", "OBR-2", "OBR-3", "OBR-18", "OBR-19", "OBR-20", "ORC-2", "ORC-3"]
#: Table 0211; "ASCII" is what the standard takes where MSH-18 is empty.
CharacterSet = Literal[
    "ASCII", "UNICODE UTF-8", "GB 18030-2000", "KS X 1001", "BIG-5",
    "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9", "8859/15",
]  # fmt: skip
RequestedPriority = Literal["STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"]


class Hl7Sender(Section):
    """[[receive.hl7.senders]]: a system that may tell of patients, orders and reports."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}$")]
    #: MSH-3, its first component.
    application: Annotated[str, Field(min_length=1, max_length=180)]
    #: MSH-4, its first component; empty takes any.
    facility: str = ""
    #: From where it may call.
    addresses: Annotated[tuple[Network, ...], Field(strict=False, min_length=1)]
    #: The certificate that it is bound to; with TLS, a sender without one is refused.
    certificate: BoundCertificate | None = None
    #: Issuer of the identifiers that name no assigning authority; empty: these are of nobody.
    issuer: str = ""
    #: Assigning authority (CX.4: name space or universal ID) → issuer as our peers have it; others' are not ours.
    authorities: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    #: Zone of its clocks where a time names no offset; empty: the node's own.
    timezone: TimeZone = ""
    #: Of table 0211, where MSH-18 names none.
    character_set: CharacterSet = "UNICODE UTF-8"
    #: Whether AL1, DG1 and PR1 of an ADT message are all that there are, or are added to those told before.
    history: Literal["snapshot", "add"] = "snapshot"
    #: Where its orders and reports name the accession number: the first of these that is not empty.
    accession: tuple[AccessionField, ...] = Field(default=("IPC-1", "OBR-18"), strict=False)
    #: Priority as its orders write it → Requested Procedure Priority (0040,1003), beside those of table 0485.
    priorities: dict[str, RequestedPriority] = Field(default_factory=dict)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`addresses` parsed."""
        return tuple(ip_network(text) for text in self.addresses)

    @property
    def zone(self) -> ZoneInfo | None:
        """`timezone` parsed; `None` is the node's own."""
        return ZoneInfo(self.timezone) if self.timezone else None


class Hl7Settings(Section):
    """[receive.hl7]: HL7 v2 over MLLP, at [node] address; over TLS where [receive.tls] is on."""

    enabled: bool = False
    #: 2575 is registered for HL7.
    port: Port = 2575
    #: Connections at once, in all and of one sender.
    maximum_connections: Annotated[int, Field(ge=1, le=256)] = 16
    maximum_connections_per_sender: Annotated[int, Field(ge=1, le=256)] = 4
    maximum_message_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = 4 << 20
    #: A message that has begun has to be whole within this.
    message_s: Seconds = 30.0
    #: A connection without a message is closed after this; senders keep theirs open.
    idle_s: Seconds = 3600.0
    #: Messages are kept for so long, to recognise those that come again and to read back what was told.
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 30
    senders: tuple[Hl7Sender, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _senders_can_be_told_apart(self) -> Hl7Settings:
        for what, values in (
            ("name", [each.name for each in self.senders]),
            ("application and facility", [f"{each.application} {each.facility}" for each in self.senders]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two senders have the same {what}: {', '.join(twice)}")
        if self.enabled and not self.senders:
            raise ValueError("nobody may send: name one in [[receive.hl7.senders]], or set enabled to false")
        return self

    def sender_named(self, name: str) -> Hl7Sender | None:
        """The sender of that name."""
        return next((each for each in self.senders if each.name == name), None)
