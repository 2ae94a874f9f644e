"""The sections of one room each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

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


class CatalogueSettings(Section):
    """[catalogue]: where the models and rules lie."""

    models_folder: Path = Field(default=Path("models"), strict=False)
    rules_folder: Path = Field(default=Path("rules"), strict=False)


class WebSettings(Section):
    """[web]: the worklist page."""

    address: str = "127.0.0.1"
    port: Port = 8042
    #: Further names under which browsers ask for it; a request under any other name is refused.
    names: tuple[str, ...] = Field(default=(), strict=False)


class InferSettings(Section):
    """[infer]: what the models may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: Threads of one model on a CPU; 0 takes every core.
    threads: Annotated[int, Field(ge=0)] = 0
    #: Models stay loaded while their processes together stay below this, bytes.
    resident_bytes: Annotated[int, Field(ge=1 << 28)] = 8 << 30
    #: The same of the GPU's memory, bytes; 0 takes nine tenths of what it has.
    device_bytes: Annotated[int, Field(ge=0)] = 0


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
