"""Ways in, one file each, found by listing this folder.

An intake is a module with

    NAME: str                                           how it is called in the log
    def start(settings: Settings, keeper: Keeper) -> Running | None

`start` opens whatever it listens on and returns what is running, or `None` where it does its work only when asked (the
folder intake) or listens on the DICOM port beside C-STORE. All of them hand what they get to the keeper.

An intake that answers DIMSE requests on the DICOM port has, besides, what `DimseService` says.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from node.config import Peer, Settings
from node.receive.keeper import Keeper


class Running(Protocol):
    """An intake at work."""

    #: Where it listens, for people.
    where: str

    def is_alive(self) -> bool:
        """Whether it still takes anybody in."""
        ...

    def stop(self, drain_s: float) -> None:
        """Take nobody new, let those inside finish for `drain_s` seconds, then close."""
        ...


class Intake(Protocol):
    """A module of this folder."""

    NAME: str

    def start(self, settings: Settings, keeper: Keeper) -> Running | None:
        """Open it.

        Raises:
            Misconfigured: it cannot listen where the settings say.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A DIMSE-N request as it came (PS3.7 §10): its data set is still encoded, at most some megabytes, unparsed."""

    #: N-CREATE, N-SET, N-GET, N-ACTION, N-DELETE or N-EVENT-REPORT.
    operation: str
    sop_class_uid: str
    #: Valid, or empty where the request has none.
    sop_instance_uid: str
    #: Action Type ID or Event Type ID, where the operation has one.
    type_id: int | None
    #: The encoded data set; empty where there is none.
    content: bytes
    transfer_syntax_uid: str
    peer: Peer
    #: AE title that a C-MOVE names; else empty.
    move_destination: str = ""
    #: Of the presentation context; the request itself may name another SOP class (PS3.4 §CC.3.1).
    abstract_syntax: str = ""
    #: Attribute Identifier List (0000,1005) of an N-GET; empty for all.
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the answers to a C-FIND or C-MOVE (PS3.7 §9.1.2, §9.1.4): pending ones, then the last."""

    #: DIMSE status; whether more follow is told by 0xFF00.
    status: int
    #: Error Comment (0000,0902) of the last one, where it is no success.
    reason: str = ""
    #: The encoded identifier: a match, or what could not be moved.
    identifier: bytes = b""
    #: Sub-operations of a C-MOVE: remaining (of a pending answer alone), completed, failed, with warnings.
    counts: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a request."""

    #: DIMSE status (PS3.7 Annex C).
    status: int
    #: Error Comment (0000,0902) where it is no success; recorded as an event too.
    reason: str = ""
    #: Error ID (0000,0903), where the SOP class gives the failure one.
    error_id: int | None = None
    #: The encoded attributes that an N-GET asked for.
    content: bytes = b""
    #: Affected SOP Instance UID, where the request had none.
    sop_instance_uid: str = ""


class DimseService(Protocol):
    """An intake that answers requests other than C-STORE and C-ECHO on the DICOM port.

    Where we are the SCU of its classes, it has `CALLER_IS_SCP = True`: nobody is accepted who does not take that role.
    """

    #: Abstract syntaxes that are accepted for it.
    SOP_CLASSES: tuple[str, ...]

    def answer(self, settings: Settings, keeper: Keeper, request: Request) -> Reply:
        """Answer one request, within a second.

        Raises:
            Refused: with the status and the reason.
            Transient: it could be answered later; the peer is told 0x0110.
        """
        ...


class QueryService(Protocol):
    """An intake that answers C-FIND and C-MOVE. Where it has an `answer` too, it is a `DimseService` besides."""

    SOP_CLASSES: tuple[str, ...]
    #: SOP Class → the operations that are offered on it, as "C-FIND"; all others are refused.
    OPERATIONS: Mapping[str, tuple[str, ...]]

    def parts(self, settings: Settings, keeper: Keeper, request: Request) -> Iterator[Part]:
        """Answer one request, part by part; a C-CANCEL is heard only after the last.

        Raises:
            Refused: with the status and the reason.
            Transient: it could be answered later; the peer is told 0x0110.
        """
        ...


def intakes() -> list[Intake]:
    """Every intake there is, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [cast("Intake", importlib.import_module(f"{__name__}.{name}")) for name in names]


def dimse_services() -> dict[str, DimseService | QueryService]:
    """The intakes that answer DIMSE requests, by abstract syntax."""
    services = [cast("DimseService | QueryService", each) for each in intakes() if hasattr(each, "SOP_CLASSES")]
    return {uid: service for service in services for uid in service.SOP_CLASSES}
