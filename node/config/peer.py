"""[[peers]]: other DICOM nodes."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from node.config.security import BoundCertificate, OptionalFile, User
from node.config.values import AeTitle, Network, Port, Role, Section, TimeZone

_WEB_ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)?")


def _web_address(text: str) -> str:
    if text and not _WEB_ADDRESS.fullmatch(text):
        raise ValueError("an address as http://pacs.example.org:8080/dicom-web, without user, query or fragment")
    return text.rstrip("/")


#: Base address of a service, or empty.
WebAddress = Annotated[str, AfterValidator(_web_address)]

#: What a viewer shows: Segmentations, reports, Secondary Captures, presentation states, key objects, parametric maps,
#: RT structure sets, documents.
Shown = Literal["SEG", "SR", "SC", "PR", "KO", "PM", "RTSTRUCT", "DOC"]


class Peer(Section):
    """[[peers]]: another DICOM node that may call, or is called."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    ae_title: AeTitle
    host: str = ""
    port: Port | None = None
    #: Base address of its DICOMweb service (QIDO-RS, WADO-RS), where studies are then fetched; only for an archive.
    dicomweb: WebAddress = ""
    #: From where it may call; empty for a peer that never calls.
    addresses: tuple[Network, ...] = Field(default=(), strict=False)
    #: The certificate that its AE title is bound to; with TLS, a peer without one is refused.
    certificate: BoundCertificate | None = None
    #: The user identity that it has to show; none is asked for where there is none.
    user: User | None = None
    #: Holds the bearer token (RFC 6750) that it shows when it stores over HTTP or works on steps; else it may not.
    stow_token_file: OptionalFile = None
    #: Issuer of Patient ID where its objects carry none.
    issuer: str = ""
    roles: tuple[Role, ...] = Field(default=(), strict=False)
    #: Names of the destinations that get the results of what this source sent; none by default.
    results_to: tuple[str, ...] = Field(default=(), strict=False)
    #: Names of the routes that are told where the studies of this source stand, and of the readers that see
    #: the steps to read them; none by default.
    flags_to: tuple[str, ...] = Field(default=(), strict=False)
    #: How results reach it: C-STORE to host and port, STOW-RS to `dicomweb`, or files in `folder`.
    send_by: Literal["dicom", "stow", "folder"] = "dicom"
    #: Where files for it are put; relative paths from config.toml's folder.
    folder: OptionalFile = None
    #: Holds the bearer token (RFC 6750) that we show at its DICOMweb service.
    dicomweb_token_file: OptionalFile = None
    #: Classes of result that its viewers show; what it only stores is shown once more as a Secondary Capture.
    shows: tuple[Shown, ...] = Field(default=("SEG", "SR"), strict=False)
    #: Outputs that it is sent; names of modules of `node/report/outputs`.
    outputs: tuple[str, ...] = Field(default=("seg", "measurement_sr", "classification_sr"), strict=False)
    #: What takes the place of an output that it does not store: the first of these that can, in this order.
    fallback: tuple[str, ...] = Field(
        default=("labelmap_seg", "presentation_state", "secondary_capture", "encapsulated_pdf"), strict=False
    )
    #: "ohif": measurements that OHIF takes into its list; one archive never gets both.
    profile: Literal["standard", "ohif"] = "standard"
    #: Zone of its clocks, as "Europe/Berlin", where its objects name no offset (0008,0201).
    timezone: TimeZone = ""
    #: "ask" for storage commitment, "query" back what was sent, "auto" the first that it offers, or "none".
    confirm: Literal["auto", "ask", "query", "none"] = "auto"
    #: Whether its own patient and study are asked for (C-FIND) before anything of the study is sent there.
    reconcile: bool = False
    #: Title of the rejection notes that withdraw results there (PS3.16 CID 7010): 113001, 113037, or none are sent.
    rejection: Literal["", "113001", "113037"] = ""
    #: Whether data sets are deflated where it accepts that.
    compress: bool = False

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`addresses` parsed."""
        return tuple(ip_network(text) for text in self.addresses)

    @model_validator(mode="after")
    def _roles_have_what_they_need(self) -> Peer:
        self._can_be_sent_to()
        if "archive" in self.roles and not ((self.host and self.port) or self.dicomweb):
            raise ValueError("an archive needs host and port, or dicomweb")
        if "modality_worklist" in self.roles and not (self.host and self.port):
            raise ValueError("a modality_worklist needs host and port, where it is asked")
        if "ups_manager" in self.roles and not (self.host and self.port):
            raise ValueError("an ups_manager needs host and port, where its steps are asked for")
        if "source" in self.roles and not self.addresses:
            raise ValueError("a source needs addresses, the networks from which it may call")
        asks = {"performer", "reader", "requester"} & set(self.roles)
        if asks and not self.addresses:
            raise ValueError("a performer, reader or requester needs addresses, the networks from which it may call")
        if self.stow_token_file and not asks and "source" not in self.roles:
            raise ValueError(
                "stow_token_file is for a source, performer, reader or requester: others ask nothing over HTTP"
            )
        return self

    def _can_be_sent_to(self) -> None:
        if self.send_by == "stow" and not self.dicomweb:
            raise ValueError("send_by stow needs dicomweb")
        if self.send_by == "folder" and not self.folder:
            raise ValueError("send_by folder needs folder")
        if self.reconcile and not (self.host and self.port):
            raise ValueError("reconcile needs host and port, where the study is asked for")
        if "worklist" in self.roles and "destination" not in self.roles:
            raise ValueError("a worklist is a destination: add that role")
        if "destination" in self.roles and self.send_by == "dicom" and not (self.host and self.port):
            raise ValueError("a destination needs host and port")
