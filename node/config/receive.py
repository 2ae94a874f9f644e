"""[node] and [receive]: how the listener is called, where it listens, and its limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node.config.hl7 import Hl7Settings
from node.config.security import TlsSettings
from node.config.values import AeTitle, Port, Seconds, Section


class NodeSettings(Section):
    """[node]: how the listener is called and where it listens."""

    ae_title: AeTitle = "MATINS"
    port: Port = 11112
    #: For DICOM over TLS (PS3.15 §B.12): listens when [receive.tls] names a certificate.
    tls_port: Port = 2762
    address: str = "127.0.0.1"


class StowSettings(Section):
    """[receive.stow]: objects over HTTP (STOW-RS, PS3.18 §10.5), at [node] address; over TLS where [receive.tls] is."""

    enabled: bool = False
    port: Port = 8043
    #: Further names under which it is called; a request under any other name is refused.
    names: tuple[str, ...] = Field(default=(), strict=False)
    #: Requests at once, in all.
    maximum_requests: Annotated[int, Field(ge=1, le=256)] = 16
    #: Instances of one request.
    maximum_parts: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    #: A body that comes more slowly than this, bytes per second, is broken off.
    minimum_bytes_per_s: Annotated[int, Field(ge=1)] = 10_000


class ReceiveSettings(Section):
    """[receive]: limits at the door."""

    stow: StowSettings = StowSettings()
    hl7: Hl7Settings = Hl7Settings()
    tls: TlsSettings = TlsSettings()
    #: Associations at once, in all and from one peer.
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 64
    maximum_associations_per_peer: Annotated[int, Field(ge=1, le=1000)] = 16
    #: Maximum Length offered (PS3.8 §D.1), bytes.
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1048576)] = 131072
    #: Largest object accepted, bytes.
    maximum_object_bytes: Annotated[int, Field(ge=1 << 20)] = 4 << 30
    #: Disk that the journal keeps written ahead, bytes: a burst up to this size is synced at the disk's best.
    journal_ready_bytes: Annotated[int, Field(ge=64 << 20, le=64 << 30)] = 512 << 20
    #: Associations that are served at once share one processor; off: their threads run anywhere.
    one_processor: bool = True
    #: Size to which a deflated object may inflate (Deflated Explicit VR Little Endian, PS3.5 §A.5), bytes; 0: none is
    #: taken.
    deflated_maximum_bytes: Annotated[int, Field(ge=0)] = 0
    #: ARTIM, PS3.8 §9.1.5.
    artim_s: Seconds = 10.0
    #: An association without a PDU for this long is aborted.
    idle_s: Seconds = 60.0
    #: Memory of the child that parses headers and decodes pixels (RLIMIT_DATA).
    describe_memory_bytes: Annotated[int, Field(ge=128 << 20)] = 256 << 20
    #: Seconds that one header may take.
    describe_limit_s: Seconds = 30.0
