"""Settings: `config.toml`, read once, checked whole, frozen, and passed down in slices."""

from __future__ import annotations

from node.config.completeness import Completeness
from node.config.fhir import FhirServer
from node.config.peer import Peer
from node.config.receive import NodeSettings, ReceiveSettings
from node.config.retrieve import RetrieveSettings
from node.config.route import Route
from node.config.sections import DataSettings, DeliverSettings, InferSettings, WebSettings
from node.config.security import BoundCertificate, TlsSettings, User
from node.config.settings import Settings, load_settings

__all__ = [
    "BoundCertificate",
    "Completeness",
    "DataSettings",
    "DeliverSettings",
    "FhirServer",
    "InferSettings",
    "NodeSettings",
    "Peer",
    "ReceiveSettings",
    "RetrieveSettings",
    "Route",
    "Settings",
    "TlsSettings",
    "User",
    "WebSettings",
    "load_settings",
]
