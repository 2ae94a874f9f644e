"""Who may call: [receive.tls], and what a peer shows of itself beside its AE title and address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from node.config.values import Section


def _nothing_for_empty(value: Any) -> Any:
    return None if value == "" else value


def _sha256(text: str) -> str:
    digits = text.replace(":", "").replace(" ", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits (openssl x509 -noout -fingerprint -sha256)")
    return digits


#: A file, or nothing where the text is empty; relative ones are taken from config.toml's folder.
OptionalFile = Annotated[Annotated[Path, Field(strict=False)] | None, BeforeValidator(_nothing_for_empty)]
Fingerprint = Annotated[str, AfterValidator(_sha256)]


class TlsSettings(Section):
    """[receive.tls]: DICOM over mutual TLS (PS3.15 §B.12), on when there is a certificate."""

    #: Our certificate and the chain below its authority, PEM.
    certificate_file: OptionalFile = None
    #: Its private key, PEM without passphrase, unreadable for others.
    key_file: OptionalFile = None
    #: Authorities whose certificates peers may show, PEM.
    authorities_file: OptionalFile = None
    #: Revocation lists, one of every authority, PEM; none where empty.
    revocation_file: OptionalFile = None
    #: The plain port listens too while TLS is on.
    plain: bool = False

    @property
    def is_on(self) -> bool:
        """Whether there is a certificate."""
        return self.certificate_file is not None

    @model_validator(mode="after")
    def _whole_or_absent(self) -> TlsSettings:
        named = (self.certificate_file, self.key_file, self.authorities_file)
        if any(named) and not all(named):
            raise ValueError("TLS needs certificate_file, key_file and authorities_file: give all three, or none")
        if self.revocation_file and not self.is_on:
            raise ValueError("revocation_file means nothing without certificate_file")
        return self


class BoundCertificate(Section):
    """`certificate` of a peer: which certificate its AE title is bound to; where both are given, both must hold."""

    #: SHA-256 of the whole certificate; several while one takes the place of another.
    sha256: tuple[Fingerprint, ...] = Field(default=(), strict=False)
    #: A DNS name among its subject alternative names, or its common name where it has none.
    name: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> BoundCertificate:
        if not (self.sha256 or self.name):
            raise ValueError("a certificate is bound by sha256, by name, or by both")
        return self


class User(Section):
    """`user` of a peer: the user identity that it has to show (PS3.7 §D.3.3.7)."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    #: Hash of the passcode, as `python -m node.receive.user_identity` writes it; empty where the name is enough.
    passcode_file: OptionalFile = None


def with_files_from(section: TlsSettings | User, base: Path) -> TlsSettings | User:
    """Return the section with its relative files taken from `base`."""
    files = {key: base / value for key, value in section if isinstance(value, Path)}
    return section.model_copy(update=files)
