"""The site of the demo: a folder of its own, free ports, one scanner, one archive, and the node between them."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

from node.demo.sender import Address

_HOST = "127.0.0.1"
_CHECKOUT = Path(__file__).resolve().parents[2]
SCANNER = "DEMO-SCANNER"
ARCHIVE = "ARCHIVE"
NODE = "MATINS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything of one demo night lies and listens."""

    folder: Path
    node_port: int
    web_port: int

    @property
    def config(self) -> Path:
        """The node's settings."""
        return self.folder / "config.toml"

    @property
    def archive_folder(self) -> Path:
        """What the archive got."""
        return self.folder / "archive"

    @property
    def results_folder(self) -> Path:
        """Copies of the results under names for people; they stay when the demo has ended."""
        return self.folder / "results"

    @property
    def node_log(self) -> Path:
        """What the node printed and logged."""
        return self.folder / "node.log"

    @property
    def node(self) -> Address:
        """Where the node listens for studies."""
        return Address(_HOST, self.node_port, NODE)

    @property
    def page(self) -> str:
        """The worklist page."""
        return f"http://{_HOST}:{self.web_port}/"


def laid_out(folder: Path) -> Site:
    """Return a site in `folder`, on ports that nobody listens on now."""
    # Both are held at once, so that they differ.
    with socket.create_server((_HOST, 0)) as one, socket.create_server((_HOST, 0)) as other:
        return Site(folder=folder, node_port=one.getsockname()[1], web_port=other.getsockname()[1])


def write_config(site: Site, archive_port: int) -> None:
    """Write the node's `config.toml`: what the scanner sends is read, and results go to the archive alone."""
    site.config.write_text(
        f"""\
# Written by `matins demo`.
[node]
ae_title = "{NODE}"
port = {site.node_port}

[data]
folder = "var"
minimum_free_percent = 1

[catalogue]
models_folder = {_quoted(_CHECKOUT / "models")}
rules_folder = {_quoted(_CHECKOUT / "rules")}

[web]
port = {site.web_port}

[receive]
journal_ready_bytes = 67108864

# What the scanner sends was made long ago, and is to be read all the same.
[completeness.default]
max_age_days = 0

[models.brain-t1]
mode = "live"

[[peers]]
name = "{SCANNER}"
ae_title = "{SCANNER}"
addresses = ["{_HOST}/32"]
roles = ["source"]
results_to = ["{ARCHIVE}"]

[[peers]]
name = "{ARCHIVE}"
ae_title = "{ARCHIVE}"
host = "{_HOST}"
port = {archive_port}
roles = ["destination"]
""",
        encoding="utf-8",
    )


def _quoted(path: Path) -> str:
    """The path as a basic string of TOML, whose escapes are those of JSON."""
    return json.dumps(str(path), ensure_ascii=False)
