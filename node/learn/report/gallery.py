"""The cases that were read worst, with what was seen of them and why. Their pictures are kept, and not made twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from node.errors import Failed, Misconfigured, Unsuitable
from node.learn.evaluate.evaluation import Failure
from node.learn.report import overlaying
from node.learn.report.content import Block, Gallery, Picture, Section, Table, Text, count, number
from node.learn.report.looking import EXPLAINED, Looker, Seen
from node.learn.report.told import Told

#: Folder beside the report.
FOLDER = "gallery"
#: Cases of which pictures are shown; all are in the table.
_MOST = 12
#: Keywords of a PNG's texts (PNG specification 11.3.3.2).
_TITLE, _DESCRIPTION = "Title", "Description"


def gallery(told: Told, looker: Looker | None, folder: Path) -> Section | None:
    """The worst cases in a table, and the first of them in pictures; `None` where every case was read without fault.

    Raises:
        OSError: a picture cannot be kept.
    """
    worst = told.evaluation.worst
    if not worst:
        return None
    rows = tuple(
        (told.name_of(each.key), count(each.seed), count(each.fold + 1), each.why, number(each.badness))
        for each in worst
    )
    headings = ("case", "seed", "fold", "what went wrong", "how badly")
    blocks: list[Block] = [Text(text=_legend(told)), *_shown(told, looker, folder)]
    if told.private:
        blocks.insert(
            0, Text(text="These are pixels of patients: keep the report as you keep their studies.", warns=True)
        )
    blocks.append(Table(caption="The worst cases, the worst first", headings=headings, rows=rows, numbers_from=4))
    return Section(name="failures", title="What it reads worst", blocks=tuple(blocks))


def _legend(told: Told) -> str:
    if told.evaluation.classification is not None:
        return (
            "Red marks what spoke for the answer that was given: by Grad-CAM, coarse, from a late layer of the network;"
            " by LIME from a linear stand-in, fitted to what the network says with parts of the image left out."
            " Such maps show where it looked, not whether it looked at the right thing."
        )
    return "Blue is what is true, orange what was answered."


def _shown(told: Told, looker: Looker | None, folder: Path) -> Iterator[Block]:
    missing = 0
    for place, failure in enumerate(told.evaluation.worst[:_MOST], 1):
        try:
            pictures = _pictures(told, failure, looker, folder)
        except (Failed, Misconfigured, Unsuitable) as error:
            # Its words may name the case.
            words = "" if told.private else f": {error}"
            yield Text(text=f"{place}. {told.name_of(failure.key)} cannot be shown{words}", warns=True)
            continue
        missing += not pictures
        if pictures:
            seed = f"seed {failure.seed}, fold {failure.fold + 1}"
            yield Gallery(
                heading=f"{place}. {told.name_of(failure.key)}",
                text=f"{_sentence(failure)} ({seed}).",
                pictures=pictures,
            )
    if missing:
        yield Text(text=f"{missing} cases are told in the table alone: the data set is not at hand.")


def _sentence(failure: Failure) -> str:
    return f"It {failure.why}" if failure.answer else failure.why


def _pictures(told: Told, failure: Failure, looker: Looker | None, folder: Path) -> tuple[Picture, ...]:
    """Those that were kept; else made, where somebody can look, and kept."""
    name = _name(told, failure)
    kept = sorted(folder.glob(f"{name}-*.png"))
    if kept:
        return tuple(_read(file) for file in kept)
    seen = looker.look(failure) if looker is not None else None
    if seen is None:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, each in enumerate(_drawn(seen, failure)):
        files.append(folder / f"{name}-{place}.png")
        _keep(files[-1], each)
    return tuple(_read(file) for file in files)


def _name(told: Told, failure: Failure) -> str:
    """Another one as soon as the case is read otherwise; it tells nothing of the case."""
    digest = told.split.dataset_digest if told.split else ""
    text = json.dumps([digest, failure.key, failure.seed, failure.fold, failure.why, failure.badness])
    return sha256(text.encode()).hexdigest()[:16]


def _drawn(seen: Seen, failure: Failure) -> Iterator[Picture]:
    where = f", {seen.where}" if seen.where else ""
    truth = f" of a case that {failure.why}" if failure.answer else ""
    notes = "".join(f" {each}." for each in seen.notes)
    plain = overlaying.overlay(seen)
    yield Picture(alt=f"The image{where}{truth}.", caption=f"The image{where}.{notes}", png=plain)
    for name, title in EXPLAINED.items():
        if name in seen.maps:
            said = f"{title}: what spoke for {failure.answer}"
            alt = f"The same image; red where, by {title}, it spoke for {failure.answer}{where}."
            yield Picture(alt=alt, caption=f"{said}.", png=overlaying.overlay(seen, seen.maps[name]))
    if seen.truth is not None:
        alt = f"The same image with contours, blue of the truth and orange of the answer{where}: {failure.why}."
        yield Picture(alt=alt, caption="Truth (blue) and answer (orange).", png=overlaying.outlined(seen))
    elif not failure.answer:
        alt = f"The same image with boxes, blue of the truth and orange of what was seen{where}: {failure.why}."
        yield Picture(alt=alt, caption="True boxes (blue), and seen (orange) with scores.", png=overlaying.framed(seen))


def _keep(file: Path, picture: Picture) -> None:
    texts = PngInfo()
    texts.add_itxt(_TITLE, picture.caption)
    texts.add_itxt(_DESCRIPTION, picture.alt)
    with Image.open(BytesIO(picture.png)) as opened:
        opened.save(file, format="PNG", optimize=True, pnginfo=texts)


def _read(file: Path) -> Picture:
    content = file.read_bytes()
    with Image.open(BytesIO(content)) as opened:
        texts = {key: str(value) for key, value in opened.info.items() if key in (_TITLE, _DESCRIPTION)}
    return Picture(alt=texts.get(_DESCRIPTION, ""), caption=texts.get(_TITLE, ""), png=content)
