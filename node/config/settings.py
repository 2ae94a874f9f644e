"""The whole `config.toml`: read once, checked whole."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from node.config.acknowledge import AcknowledgeSettings
from node.config.completeness import QUIET_DEFAULTS, Completeness, read_required
from node.config.fhir import FhirServer, with_token_from
from node.config.night import NightSettings
from node.config.peer import Peer
from node.config.perform import PerformSettings
from node.config.receive import NodeSettings, ReceiveSettings
from node.config.retrieve import RetrieveSettings
from node.config.route import Route, with_files
from node.config.sections import (
    CatalogueSettings,
    DataSettings,
    DeliverSettings,
    InferSettings,
    ModelSettings,
    RankSettings,
    WebSettings,
)
from node.config.security import with_files_from
from node.config.ups import UpsSettings
from node.config.values import Section
from node.errors import Misconfigured


class Settings(Section):
    """The whole `config.toml`."""

    node: NodeSettings = NodeSettings()
    data: DataSettings = DataSettings()
    catalogue: CatalogueSettings = CatalogueSettings()
    web: WebSettings = WebSettings()
    receive: ReceiveSettings = ReceiveSettings()
    infer: InferSettings = InferSettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    deliver: DeliverSettings = DeliverSettings()
    rank: RankSettings = RankSettings()
    ups: UpsSettings = UpsSettings()
    perform: PerformSettings = PerformSettings()
    night: NightSettings = NightSettings()
    acknowledge: AcknowledgeSettings = AcknowledgeSettings()
    completeness: dict[str, Completeness] = Field(default_factory=dict)
    peers: tuple[Peer, ...] = Field(default=(), strict=False)
    fhir: tuple[FhirServer, ...] = Field(default=(), strict=False)
    routes: tuple[Route, ...] = Field(default=(), strict=False)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    #: `--quiet`: takes the place of every quiet time; not a key of the file.
    quiet_s: float | None = Field(default=None, exclude=True)

    @field_validator("completeness", mode="before")
    @classmethod
    def _required_is_sound(cls, sections: Any) -> Any:
        """Complain of `required` with the section's name in the key, which its own validator does not know."""
        for name, section in sections.items() if isinstance(sections, dict) else ():
            try:
                read_required(section.get("required", ()) if isinstance(section, dict) else ())
            except Misconfigured as wrong:
                key = f"completeness.{name}.{wrong.key}"
                raise Misconfigured(wrong.file, key, wrong.problem, wrong.remedy) from None
        return sections

    @model_validator(mode="after")
    def _peers_agree(self) -> Settings:
        names = [peer.name for peer in self.peers]
        titles = [peer.ae_title for peer in self.peers]
        for what, values in (("name", names), ("AE title", titles)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two peers have the same {what}: {', '.join(twice)}")
        if self.node.ae_title in titles:
            raise ValueError(f"the AE title {self.node.ae_title} is the node's own and a peer's")
        destinations = {peer.name for peer in self.peers if "destination" in peer.roles}
        for peer in self.peers:
            unknown = sorted(set(peer.results_to) - destinations)
            if unknown:
                raise ValueError(f"results_to of {peer.name} names no destination: {', '.join(unknown)}")
        self._routes_agree()
        return self

    @field_validator("fhir")
    @classmethod
    def _servers_have_names_of_their_own(cls, servers: tuple[FhirServer, ...]) -> tuple[FhirServer, ...]:
        if len({each.name for each in servers}) < len(servers):
            raise ValueError("two FHIR servers have the same name")
        return servers

    def _routes_agree(self) -> None:
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            raise ValueError(f"two routes have the same name: {', '.join(sorted(names))}")
        readers = {peer.name for peer in self.peers if "reader" in peer.roles}
        if both := readers & set(names):
            raise ValueError(f"a reader and a route have the same name: {', '.join(sorted(both))}")
        for peer in self.peers:
            unknown = sorted(set(peer.flags_to) - set(names) - readers)
            if unknown:
                raise ValueError(f"flags_to of {peer.name} names neither route nor reader: {', '.join(unknown)}")
        managers = {route.name for route in self.routes if route.keeps_steps} & self.acknowledge.routes
        if managers:
            raise ValueError(
                f"{min(managers)} is a manager of steps, which calls nobody: name another in [acknowledge]"
            )
        unknown = sorted(self.acknowledge.routes - set(names))
        if unknown:
            raise ValueError(f"an escalation of [acknowledge] names no route: {', '.join(unknown)}")

    def completeness_of(self, modality: str) -> Completeness:
        """What counts for a modality: key by key its own section, the built-in quiet time, `default`."""
        default = self.completeness.get("default", Completeness())
        own = self.completeness.get(modality, Completeness())
        changes: dict[str, Any] = {"quiet_s": QUIET_DEFAULTS.get(modality, default.quiet_s)}
        changes |= {key: getattr(own, key) for key in own.model_fields_set}
        found = default.model_copy(update=changes)
        if self.quiet_s is None:
            return found
        shorter = min(self.quiet_s, found.series_quiet_s)
        return found.model_copy(update={"quiet_s": self.quiet_s, "series_quiet_s": shorter})

    @property
    def dicom_port(self) -> int:
        """The port that others are told: [node] port, or tls_port where nothing listens on the first."""
        tls_alone = self.receive.tls.is_on and not self.receive.tls.plain
        return self.node.tls_port if tls_alone else self.node.port

    def peer_named(self, name: str) -> Peer | None:
        """The peer of that name."""
        return next((peer for peer in self.peers if peer.name == name), None)

    def route_named(self, name: str) -> Route | None:
        """The route of that name."""
        return next((route for route in self.routes if route.name == name), None)

    def peer_titled(self, ae_title: str) -> Peer | None:
        """The peer with that AE title."""
        return next((peer for peer in self.peers if peer.ae_title == ae_title), None)


def load_settings(file: Path, *, data: Path | None = None, quiet_s: float | None = None) -> Settings:
    """Read and check `file`; relative folders are taken from the file's folder.

    `data` takes the place of [data].folder and `quiet_s` that of every quiet time. The data folder is
    made if its parent exists.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except FileNotFoundError:
        raise Misconfigured(file, "", "no such file", "Give the path with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(file, "", f"not TOML: {error}", "Mend the line named") from None
    if "quiet_s" in document:
        raise Misconfigured(file, "quiet_s", "unknown key", "Set quiet_s inside [completeness.default]")
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise _misconfigured(file, error) from None
    except Misconfigured as wrong:
        raise Misconfigured(file, wrong.key, wrong.problem, wrong.remedy) from None
    if quiet_s is not None and quiet_s <= 0:
        raise Misconfigured("--quiet", "", "must be more than 0 seconds", "Give a number of seconds")
    return _with_folders(settings, file, data, quiet_s)


#: Keys of a peer that name a file or folder.
_PEER_PATHS = ("stow_token_file", "folder", "dicomweb_token_file")


def _with_folders(settings: Settings, file: Path, data: Path | None, quiet_s: float | None) -> Settings:
    base = file.resolve().parent
    folder = data.resolve() if data is not None else base / settings.data.folder
    catalogue = settings.catalogue.model_copy(
        update={
            "models_folder": base / settings.catalogue.models_folder,
            "rules_folder": base / settings.catalogue.rules_folder,
        }
    )
    for key in ("models_folder", "rules_folder"):
        if not getattr(catalogue, key).is_dir():
            problem = f"no such folder: {getattr(catalogue, key)}"
            raise Misconfigured(file, f"catalogue.{key}", problem, "Create it, or name the folder that holds them")
    if not folder.parent.is_dir():
        problem = f"the folder {folder.parent} does not exist"
        raise Misconfigured(file, "data.folder", problem, "Create it (is a disk not mounted?) or name another")
    kept = settings.data.model_copy(update={"folder": folder})
    receive = settings.receive.model_copy(update={"tls": with_files_from(settings.receive.tls, base)})
    peers = tuple(
        peer.model_copy(
            update={
                "user": with_files_from(peer.user, base) if peer.user else None,
                **{key: base / path if (path := getattr(peer, key)) else None for key in _PEER_PATHS},
            }
        )
        for peer in settings.peers
    )
    routes = tuple(with_files(route, base, settings.node.ae_title) for route in settings.routes)
    web = settings.web
    if web.token_file:
        web = web.model_copy(update={"token_file": base / web.token_file})
    folders = {"web": web, "data": kept, "catalogue": catalogue, "receive": receive, "routes": routes}
    fhir = with_token_from(settings.fhir, base)
    return settings.model_copy(update={**folders, "peers": peers, "fhir": fhir, "quiet_s": quiet_s})


_REMEDIES = {
    "extra_forbidden": "Remove it, or correct its spelling",
    "missing": "Add it",
    "float_type": "Give a plain number; the unit is in the key's name",
    "int_type": "Give a whole number; the unit is in the key's name",
    "value_error": "Correct the section named",
}


def _misconfigured(file: Path | str, error: ValidationError) -> Misconfigured:
    """Turn pydantic's first complaint into ours."""
    first: Any = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    problem = "unknown key" if first["type"] == "extra_forbidden" else str(first["msg"])
    more = error.error_count() - 1
    if more:
        problem += f" (and {more} more)"
    return Misconfigured(file, key, problem, _REMEDIES.get(first["type"], "Correct the value"))
