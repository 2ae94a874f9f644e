"""Certificate authorities, certificates and revocation lists for tests of TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

SCANNER_NAME = "scanner.example.org"
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Shown:
    """A certificate in the hands of a client, as files."""

    certificate: Path
    key: Path
    serial: int
    sha256: str


class Hospital:
    """An authority, our own certificate from it, and the folder where everything lies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.authority = trustme.CA(organization_name="Hospital")
        self.authorities_file = folder / "authorities.pem"
        self.authority.cert_pem.write_to_path(self.authorities_file)
        self.revocation_file = folder / "revoked.pem"
        self.own = self.issue("matins", "localhost", "127.0.0.1")

    def issue(
        self,
        label: str,
        *names: str,
        common_name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        authority: trustme.CA | None = None,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Shown:
        made = (authority or self.authority).issue_cert(
            *names, common_name=common_name, not_before=since, not_after=until, key_type=key_type
        )
        certificate, key = self.folder / f"{label}.pem", self.folder / f"{label}.key"
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.touch(0o600)
        key.write_bytes(made.private_key_pem.bytes())
        read = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
        return Shown(
            certificate=certificate, key=key, serial=read.serial_number, sha256=read.fingerprint(hashes.SHA256()).hex()
        )

    def revoke(self, *shown: Shown, until: datetime | None = None) -> Path:
        """Write a revocation list of these certificates, sound for a day or until `until`."""
        issuer = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        key = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        until = until or now() + DAY
        made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
        made = made.last_update(min(now(), until) - DAY).next_update(until)
        for each in shown:
            revoked = x509.RevokedCertificateBuilder().serial_number(each.serial).revocation_date(now() - DAY).build()
            made = made.add_revoked_certificate(revoked)
        signed = made.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        beside = self.revocation_file.with_suffix(".new")
        beside.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        beside.replace(self.revocation_file)
        return self.revocation_file

    def settings(self, **changes: object) -> dict[str, object]:
        """[receive.tls] with these files."""
        return {
            "certificate_file": str(self.own.certificate),
            "key_file": str(self.own.key),
            "authorities_file": str(self.authorities_file),
            **changes,
        }

    def client(self, shown: Shown | None) -> ssl.SSLContext:
        """The context of a client that shows this certificate, or none, and checks ours."""
        context = ssl.create_default_context(cafile=self.authorities_file)
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context
