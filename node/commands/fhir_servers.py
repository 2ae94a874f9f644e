"""Whether the FHIR servers answer: what each says of itself, and whether it lets us search for a patient nobody is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.commands.check import Check
from node.config import FhirServer, Settings
from node.domain.uid import derived_uid
from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.fhir.exchange import CapabilityQuery
from node.retrieve.histories import call_of

_REMEDY = "Start it, correct base, or give the token that it asks for in token_file"


def fhir_servers(settings: Settings, file: Path) -> Iterator[Check]:
    """Yield what was found, a server at a time."""
    for index, server in enumerate(settings.fhir):
        yield _one(server, file, f"fhir[{index}]")
        if server.token_file and server.base.startswith("http:"):
            problem = "the token and patients travel in the clear"
            yield _failed(server, file, f"fhir[{index}].base", problem, "Use https, unless the line is protected")


def _one(server: FhirServer, file: Path, key: str) -> Check:
    query = CapabilityQuery.model_validate(
        call_of(server)
        | {
            "longest_s": 2 * server.answer_s,
            "system": next(iter(server.identifiers.values())),
            "nobody": derived_uid("a patient that nobody is"),
            "resources": server.resources,
            "post": server.search_by == "post",
        }
    )
    try:
        found = ask(CHILD, query, Stop(), lambda: None).capability
    except (Failed, Transient) as error:
        return _failed(server, file, f"{key}.base", str(error), _REMEDY)
    if found is None:
        return _failed(server, file, f"{key}.base", "the process that asks gave no answer", _REMEDY)
    missing = f"; does not list {', '.join(found.missing)}" if found.missing else ""
    told = " ".join(part for part in ("FHIR", found.version, found.software) if part)
    return Check(about="fhir", subject=_subject(server), ok=True, found=f"{told}, answers searches{missing}")


def _failed(server: FhirServer, file: Path, key: str, problem: str, remedy: str) -> Check:
    return Check(
        about="fhir", subject=_subject(server), ok=False, file=str(file), key=key, problem=problem, remedy=remedy
    )


def _subject(server: FhirServer) -> str:
    return f"{server.name} ({server.base})"
