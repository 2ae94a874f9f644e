"""`matins identity`: which identifiers are one patient's, as hospital systems told it; a person may take that back."""

from __future__ import annotations

from typing import Annotated

import typer

from node.commands import options
from node.commands.options import Config, Data, Json

identity = options.family("Which identifiers are one patient's: `identity list`, `identity separate`.")


@identity.command("list")
def list_(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """Every merge that stands, with who told it and when."""
    from node.commands import identities, site

    identities.show(site.settings_from(config, data), as_json=as_json)


@identity.command("separate")
def separate(
    patient_id: Annotated[str, typer.Argument(metavar="ID", help="The Patient ID that was merged into another")],
    issuer: Annotated[str, typer.Option("--issuer", help="Its issuer")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Take a merge back: from now on the ID is a patient of its own again."""
    from node.commands import identities, site

    identities.separate(site.settings_from(config, data), patient_id, issuer)
