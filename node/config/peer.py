"""[[peers]]: other DICOM nodes."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from node.config.security import BoundCertificate, OptionalFile, User
from node.config.values import AeTitle, Network, Port, Role, Section

_WEB_ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)?")


def _web_address(text: str) -> str:
    if text and not _WEB_ADDRESS.fullmatch(text):
        raise ValueError("an address as http://pacs.example.org:8080/dicom-web, without user, query or fragment")
    return text.rstrip("/")


class Peer(Section):
    """[[peers]]: another DICOM node that may call, or is called."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    ae_title: AeTitle
    host: str = ""
    port: Port | None = None
    #: Base address of its DICOMweb service (QIDO-RS, WADO-RS), where studies are then fetched; only for an archive.
    dicomweb: Annotated[str, AfterValidator(_web_address)] = ""
    #: From where it may call; empty for a peer that never calls.
    addresses: tuple[Network, ...] = Field(default=(), strict=False)
    #: The certificate that its AE title is bound to; with TLS, a peer without one is refused.
    certificate: BoundCertificate | None = None
    #: The user identity that it has to show; none is asked for where there is none.
    user: User | None = None
    #: Holds the bearer token (RFC 6750) that it shows when it stores over HTTP; without one it may not.
    stow_token_file: OptionalFile = None
    #: Issuer of Patient ID where its objects carry none.
    issuer: str = ""
    roles: tuple[Role, ...] = Field(default=(), strict=False)
    #: Names of the destinations that get the results of what this source sent; none by default.
    results_to: tuple[str, ...] = Field(default=(), strict=False)
    #: Classes of result that its viewers show.
    shows: tuple[Literal["SEG", "SR", "SC"], ...] = Field(default=("SEG", "SR"), strict=False)
    #: Outputs that it is sent; names of modules of `node/report/outputs`.
    outputs: tuple[str, ...] = Field(default=("seg", "measurement_sr"), strict=False)
    profile: Literal["standard"] = "standard"

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`addresses` parsed."""
        return tuple(ip_network(text) for text in self.addresses)

    @model_validator(mode="after")
    def _roles_have_what_they_need(self) -> Peer:
        if "destination" in self.roles and not (self.host and self.port):
            raise ValueError("a destination needs host and port")
        if "archive" in self.roles and not ((self.host and self.port) or self.dicomweb):
            raise ValueError("an archive needs host and port, or dicomweb")
        if "source" in self.roles and not self.addresses:
            raise ValueError("a source needs addresses, the networks from which it may call")
        if self.stow_token_file and "source" not in self.roles:
            raise ValueError("stow_token_file is for a source: what nobody may send needs no token")
        return self
