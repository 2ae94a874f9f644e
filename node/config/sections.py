"""The sections of one room each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from node.config.security import OptionalFile
from node.config.values import Port, Seconds, Section
from node.domain.model_card import Mode


class DataSettings(Section):
    """[data]: where everything that Matins keeps lies."""

    folder: Path = Field(default=Path("var"), strict=False)
    #: Below this share of free disk, associations are rejected (RJ 2/3/1) before the disk is full.
    minimum_free_percent: Annotated[float, Field(ge=0, lt=100)] = 10.0
    #: After so many days without anything new of a study its files are freed, if all that was made of it is kept where
    #: it was sent, and an archive lists every instance. 0 keeps them for ever.
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    #: After so many days rows on which nothing rests are forgotten: superseded facts, notices before the last that was
    #: acknowledged, questions to FHIR servers, steps of others that are over, orders of which no study came, how recent
    #: words on unknown patients were. Events stay: they are the audit trail. 0 keeps them for ever.
    forget_days: Annotated[int, Field(ge=0, le=36_500)] = 400


class CatalogueSettings(Section):
    """[catalogue]: where the models and rules lie."""

    models_folder: Path = Field(default=Path("models"), strict=False)
    rules_folder: Path = Field(default=Path("rules"), strict=False)


#: What of a patient, or in words about a patient, pages and JSON may show.
Shown = Literal[
    "patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "patient_age",
    "accession_number",
    "study_date",
    "study_description",
    "reasons",
    "history",
]


class WebSettings(Section):
    """[web]: the worklist page."""

    address: str = "127.0.0.1"
    port: Port = 8042
    #: Further names under which browsers ask for it; a request under any other name is refused.
    names: tuple[str, ...] = Field(default=(), strict=False)
    #: When a login, or a program's token, is asked for before anything is shown: "outside", where `address` is not this
    #: machine's own; "always".
    login: Literal["outside", "always"] = "outside"
    #: Holds the token of programs that read the list; unreadable for others. Empty: programs need none, or log in.
    token_file: OptionalFile = None
    #: A login that is not used for so long ends, seconds; and every login after `session_s`.
    session_idle_s: Seconds = 3600.0
    session_s: Seconds = 43_200.0
    #: Pages and programs that may listen to changes at once.
    listeners: Annotated[int, Field(ge=1, le=1000)] = 32
    #: What of patients pages and JSON show.
    shows: tuple[Shown, ...] = Field(default=get_args(Shown), strict=False)


class InferSettings(Section):
    """[infer]: what the models may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: Threads of one model on a CPU; 0 takes every core.
    threads: Annotated[int, Field(ge=0)] = 0
    #: Models stay loaded while their processes together stay below this, bytes.
    resident_bytes: Annotated[int, Field(ge=1 << 28)] = 8 << 30
    #: The same of the GPU's memory, bytes; 0 takes nine tenths of what it has.
    device_bytes: Annotated[int, Field(ge=0)] = 0
    #: So many waiting studies of one image each go through a quick network in one pass at most; 1: each alone.
    together: Annotated[int, Field(ge=1, le=64)] = 16


class DeliverSettings(Section):
    """[deliver]: patience with destinations."""

    connect_s: Seconds = 10.0
    dimse_s: Seconds = 60.0
    #: First wait after a failure; doubles, with jitter, up to `backoff_maximum_s`.
    backoff_s: Seconds = 5.0
    backoff_maximum_s: Seconds = 300.0
    #: A destination that was asked for storage commitment and has reported nothing for so long is asked again.
    commitment_s: Seconds = 86_400.0


Minutes = Annotated[float, Field(ge=0)]


class LongestWait(Section):
    """[rank.longest_wait_min]: after how many minutes an unread study of the lane is marked; 0 marks none."""

    STAT: Minutes = 60.0
    URGENT: Minutes = 240.0
    ROUTINE: Minutes = 1440.0


class RankSettings(Section):
    """[rank]: how waiting counts."""

    #: Points that one minute of waiting is worth inside a lane.
    points_per_minute: Annotated[float, Field(ge=0)] = 0.1
    #: The most points that all findings of a study add; an order for STAT or URGENT adds as many.
    findings_maximum: Annotated[float, Field(ge=0)] = 100.0
    longest_wait_min: LongestWait = LongestWait()


class ModelSettings(Section):
    """[models.<name>]: how far the model may speak."""

    mode: Mode = Field(default=Mode.OFF, strict=False)
    #: Read a whole series that suits before its study is complete. A better series, or more slices, that come
    #: later replace the result, so this is for a site that knows in which order its scanners send.
    early: bool = False
