"""[[peers]]: other DICOM nodes."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import Field, model_validator

from node.config.values import AeTitle, Network, Port, Role, Section


class Peer(Section):
    """[[peers]]: another DICOM node that may call, or is called."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    ae_title: AeTitle
    host: str = ""
    port: Port | None = None
    #: From where it may call; empty for a peer that never calls.
    addresses: tuple[Network, ...] = Field(default=(), strict=False)
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
        if {"destination", "archive"} & set(self.roles) and not (self.host and self.port):
            raise ValueError("a destination or archive needs host and port")
        if "source" in self.roles and not self.addresses:
            raise ValueError("a source needs addresses, the networks from which it may call")
        return self
