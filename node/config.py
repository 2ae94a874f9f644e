"""Settings: `config.toml`, read once, checked whole, frozen, and passed down in slices."""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from node.domain.model_card import Mode
from node.errors import Misconfigured

#: AE title, PS3.5 §6.2: 1 to 16 characters, no backslash, no control character, not only spaces.
_AE_TITLE = r"^[^\\\x00-\x1f\x7f]{1,16}$"


def _ae_title(text: str) -> str:
    if text != text.strip() or not text.isascii():
        raise ValueError("an AE title is ASCII without spaces at its ends")
    return text


def _network(text: str) -> str:
    ip_network(text)
    return text


AeTitle = Annotated[str, Field(pattern=_AE_TITLE), AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Role = Literal["source", "destination", "archive"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NodeSettings(_Section):
    """[node]: how the listener is called and where it listens."""

    ae_title: AeTitle = "MATINS"
    port: Port = 11112
    #: Reserved for DICOM over TLS (PS3.15 §B.12); nothing listens there yet.
    tls_port: Port = 2762
    address: str = "127.0.0.1"


class DataSettings(_Section):
    """[data]: where everything that Matins keeps lies."""

    folder: Path = Field(default=Path("var"), strict=False)
    #: Below this share of free disk, associations are rejected (RJ 2/3/1) before the disk is full.
    minimum_free_percent: Annotated[float, Field(ge=0, lt=100)] = 10.0


class CatalogueSettings(_Section):
    """[catalogue]: where the models and rules lie."""

    models_folder: Path = Field(default=Path("models"), strict=False)
    rules_folder: Path = Field(default=Path("rules"), strict=False)


class WebSettings(_Section):
    """[web]: the worklist page."""

    address: str = "127.0.0.1"
    port: Port = 8042
    #: Further names under which browsers ask for it; a request under any other name is refused.
    names: tuple[str, ...] = Field(default=(), strict=False)


class StowSettings(_Section):
    """[receive.stow]: reserved for STOW-RS; nothing listens there yet."""

    port: Port = 8043


class ReceiveSettings(_Section):
    """[receive]: limits at the door."""

    stow: StowSettings = StowSettings()
    #: Associations at once, in all and from one peer.
    maximum_associations: Annotated[int, Field(ge=1, le=1000)] = 64
    maximum_associations_per_peer: Annotated[int, Field(ge=1, le=1000)] = 16
    #: Maximum Length offered (PS3.8 §D.1), bytes.
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1048576)] = 131072
    #: Largest object accepted, bytes.
    maximum_object_bytes: Annotated[int, Field(ge=1 << 20)] = 4 << 30
    #: ARTIM, PS3.8 §9.1.5.
    artim_s: Seconds = 10.0
    #: An association without a PDU for this long is aborted.
    idle_s: Seconds = 60.0
    #: Address space of the child that parses headers and decodes pixels.
    describe_memory_bytes: Annotated[int, Field(ge=256 << 20)] = 2 << 30
    #: Seconds that one header may take.
    describe_limit_s: Seconds = 30.0


class InferSettings(_Section):
    """[infer]: what the models may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: Threads of one model on a CPU; 0 takes every core.
    threads: Annotated[int, Field(ge=0)] = 0
    #: Models stay loaded while their processes together stay below this, bytes.
    resident_bytes: Annotated[int, Field(ge=1 << 28)] = 8 << 30


class DeliverSettings(_Section):
    """[deliver]: patience with destinations."""

    connect_s: Seconds = 10.0
    dimse_s: Seconds = 60.0
    #: First wait after a failure; doubles, with jitter, up to `backoff_maximum_s`.
    backoff_s: Seconds = 5.0
    backoff_maximum_s: Seconds = 300.0


class RankSettings(_Section):
    """[rank]: how waiting counts."""

    #: Points that one minute of waiting is worth inside a lane.
    points_per_minute: Annotated[float, Field(ge=0)] = 0.1


class Completeness(_Section):
    """[completeness.<MODALITY>]: when a study is taken as complete."""

    #: Seconds without a new instance, over all associations.
    quiet_s: Seconds = 60.0
    #: Seconds after the first instance at which the study is closed in any case.
    forced_s: Seconds = 3600.0


class ModelSettings(_Section):
    """[models.<name>]: how far the model may speak."""

    mode: Mode = Field(default=Mode.OFF, strict=False)


class Peer(_Section):
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


_QUIET_DEFAULTS = {"CR": 30.0, "DX": 30.0, "CT": 120.0, "MR": 600.0}


class Settings(_Section):
    """The whole `config.toml`."""

    node: NodeSettings = NodeSettings()
    data: DataSettings = DataSettings()
    catalogue: CatalogueSettings = CatalogueSettings()
    web: WebSettings = WebSettings()
    receive: ReceiveSettings = ReceiveSettings()
    infer: InferSettings = InferSettings()
    deliver: DeliverSettings = DeliverSettings()
    rank: RankSettings = RankSettings()
    completeness: dict[str, Completeness] = {}
    peers: tuple[Peer, ...] = Field(default=(), strict=False)
    models: dict[str, ModelSettings] = {}
    #: `--quiet`: takes the place of every quiet time; not a key of the file.
    quiet_s: float | None = Field(default=None, exclude=True)

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
        return self

    def completeness_of(self, modality: str) -> Completeness:
        """Quiet and forced time of a modality: its own section, else `default`, else built in."""
        default = self.completeness.get("default", Completeness())
        found = self.completeness.get(modality)
        if found is None and modality in _QUIET_DEFAULTS:
            found = Completeness(quiet_s=_QUIET_DEFAULTS[modality], forced_s=default.forced_s)
        found = found or default
        return found if self.quiet_s is None else Completeness(quiet_s=self.quiet_s, forced_s=found.forced_s)

    def peer_named(self, name: str) -> Peer | None:
        """The peer of that name."""
        return next((peer for peer in self.peers if peer.name == name), None)

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
    if quiet_s is not None and quiet_s <= 0:
        raise Misconfigured("--quiet", "", "must be more than 0 seconds", "Give a number of seconds")
    return _with_folders(settings, file, data, quiet_s)


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
    return settings.model_copy(update={"data": kept, "catalogue": catalogue, "quiet_s": quiet_s})


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
