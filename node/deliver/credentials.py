"""What a route shows and believes: secrets from files that others may not read, and TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from node.config import Route
from node.deliver.carriage import Unreachable

_OTHERS = 0o077
_LONGEST = 4096


def secret_lines(file: Path | None, key: str) -> list[str]:
    """The lines of a file of secrets.

    Raises:
        Unreachable: there is none, others may read it, or nothing stands in it.
    """
    if file is None:
        raise Unreachable(f"{key} is not given", by_configuration=True)
    try:
        if file.stat().st_mode & _OTHERS:
            raise Unreachable(f"{key} may be read by others: chmod 600", by_configuration=True)
        lines = file.read_text("utf-8")[:_LONGEST].split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreachable(f"{key} cannot be read", by_configuration=True) from error
    found = [line.strip() for line in lines if line.strip()]
    if not found or not all(line.isprintable() for line in found):
        raise Unreachable(f"{key} holds no secret", by_configuration=True)
    return found


def tls_context(route: Route) -> ssl.SSLContext:
    """How a route's receiver is believed: by the site's own authorities, or the operating system's; always by name.

    Raises:
        Unreachable: a file cannot be read, or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=route.authorities_file)
        if route.certificate_file and route.key_file:
            context.load_cert_chain(route.certificate_file, route.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise Unreachable(f"the certificates of {route.name} cannot be read", by_configuration=True) from error
    return context
