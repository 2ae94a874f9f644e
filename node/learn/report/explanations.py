"""How far a classifier's explanations are to be trusted: where they point, what they cost, what they miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.imaging.explain.faithfulness import randomisation
from node.learn.evaluate.figures import Figure
from node.learn.explained.explanations import Explanations
from node.learn.explained.measuring import CHEAP, FEW
from node.learn.explained.summary import ENOUGH, Summary, baselines, summarised
from node.learn.report.content import Block, Cell, Section, Table, Text, count, number

_NAMES = {
    "grad-cam": "Grad-CAM",
    "guided-grad-cam": "guided Grad-CAM",
    "integrated-gradients": "integrated gradients",
    "kernel-shap": "KernelSHAP",
    "lime": "LIME",
    "occlusion": "occlusion",
}
_ENDS = ("95 % from", "to")
_NONE = Figure(value=None)


@dataclass(frozen=True, slots=True)
class _Column:
    """One figure of a table, by its name and in words."""

    name: str
    words: str


def explanations(found: Explanations, *, out_of_fold: bool) -> Section:
    """All that was measured; `out_of_fold`: each case by the network that had not seen it."""
    summaries = {_NAMES.get(name, name): each for name, each in summarised(found).items()}
    blocks: list[Block] = [Text(text=_terms(found, out_of_fold=out_of_fold))]
    if not found.is_complete:
        text = f"The {found.minutes:g} minute(s) that it was given were not enough: what lacks figures was left out."
        blocks.append(Text(text=text, warns=True))
    blocks += [Text(text=f"{each}.", warns=True) for each in found.notes]
    if summaries:
        blocks += _pointing(found, summaries)
        blocks += _faithful(found, summaries)
    return Section(name="explanations", title="How far its explanations are to be trusted", blocks=tuple(blocks))


def _terms(found: Explanations, *, out_of_fold: bool) -> str:
    right = sum(each.truth == each.answer for each in found.cases)
    of_class = [sum(each.truth == place for each in found.cases) for place in range(len(found.classes))]
    classes = ", ".join(f"{many} {name}" for many, name in zip(of_class, found.classes, strict=True) if many)
    drawn = sum(each.region is not None for each in found.cases)
    whose = "each by the network that had not seen it" if out_of_fold else "by the network of the model"
    masks = f"{drawn} of them have a mask" if drawn else "none of them has a mask"
    groups = len({each.group for each in found.cases})
    return (
        f"Explained is the answer that was given to {len(found.cases)} cases ({classes}) in {groups} groups, {whose}, "
        f"shown as it is; {right} answers are right, and {masks}. Told are means of the pointing game and of the mass "
        f"inside, else medians; intervals of 95 % by bootstrap of the groups, where {ENOUGH} or more have a figure."
    )


def _pointing(found: Explanations, summaries: Mapping[str, Summary]) -> list[Block]:
    if all(each.region is None for each in found.cases):
        text = "Where maps point cannot be held against anything: no mask lies beside these pictures."
        return [Text(text=text)]
    drawn = sum(each.region is not None for each in found.cases)
    rows = [
        (
            name,
            *_cells(each.figures.get("pointing_game", _NONE)),
            number(each.pointing_right.value, 2),
            *_cells(each.figures.get("pointing_near", _NONE)),
            *_cells(each.figures.get("mass_inside", _NONE)),
            count(each.cases.get("pointing_game", 0)),
        )
        for name, each in summaries.items()
    ]
    known = baselines(found.cases)
    region, near = known["region"], known["region_near"]
    middle = (*_cells(known["centre"]), "–", *_cells(known["centre_near"]))
    rows.append(("(chance)", *_cells(region), "–", *_cells(near), *_cells(region), count(drawn)))
    rows.append(("(middle of the image)", *middle, "–", "–", "–", count(drawn)))
    headings = ("method", "in the mask", *_ENDS, "right answers", "or near it", *_ENDS, "mass inside", *_ENDS, "cases")
    text = (
        "Pointing game: whether the weightiest pixel lies in the mask (of several, the share that does), or at most "
        "15 pixels of 224 beside it, as the cells of a coarse map may; mass inside: the share of the weight for the "
        "answer that lies in the mask. Chance points at the mask's share of the image. A map may point beside it and "
        "still be right about the network: that then looks elsewhere."
    )
    return [Text(text=text), Table(caption="Where the maps point", headings=headings, rows=tuple(rows))]


def _faithful(found: Explanations, summaries: Mapping[str, Summary]) -> list[Block]:
    curves = (_Column("deletion_auc", "deletion"), _Column("insertion_auc", "insertion"))
    tellings = (_Column("infidelity", "infidelity"), _Column("max_sensitivity", "max-sensitivity"))
    like = randomisation.FIGURE
    checks = tuple(
        (name, *_cells(each.figures.get(like, _NONE)), count(each.failed), count(each.cases.get(like, 0)))
        for name, each in summaries.items()
    )
    costs = tuple(
        (
            _NAMES.get(name, name),
            count(samples),
            number(found.told_forwards[name], 1),
            *_cells(summaries[_NAMES.get(name, name)].figures.get("forwards", _NONE), 1),
        )
        for name, samples in found.samples.items()
    )
    return [
        Text(
            text="Deletion (low is good): what is left of the answer while the weightiest pixels go; insertion (high): "
            "what it has while they alone come; both 1 for the whole image and 0 for none. A network may say more with "
            "parts of the image gone than with all of it."
        ),
        _table("What the answer loses and gains", summaries, curves),
        Text(
            text="Infidelity (low): 0 tells what the answer does when parts of the image go, 1 no better than an empty "
            "map. Max-sensitivity (low): by which share of itself the map changes when the image hardly does; of "
            f"methods that take more than {CHEAP:g} forwards on {FEW} cases alone."
        ),
        _table("Whether the map tells the truth, and keeps to it", summaries, tellings),
        Text(
            text="The sanity check: a network whose weights are shuffled must give another map. Told is the rank "
            f"correlation of both, without its sign; above {randomisation.BOUND:g} the map hardly looks at the network."
        ),
        Table(
            caption="The same network with shuffled weights",
            headings=("method", "rank correlation", *_ENDS, "fails the check", "cases"),
            rows=checks,
        ),
        Table(
            caption=f"What a map costs, in forwards of the network; measured in {found.clock}",
            headings=("method", "samples", "told", "measured", *_ENDS),
            rows=costs,
        ),
    ]


def _table(caption: str, summaries: Mapping[str, Summary], columns: tuple[_Column, ...]) -> Table:
    headings = tuple(words for each in columns for words in (each.words, *_ENDS, "cases"))
    rows = tuple(
        (name, *(cell for column in columns for cell in (*_of(one, column), count(one.cases.get(column.name, 0)))))
        for name, one in summaries.items()
    )
    return Table(caption=caption, headings=("method", *headings), rows=rows)


def _of(one: Summary, column: _Column) -> tuple[Cell, ...]:
    return _cells(one.figures.get(column.name, _NONE))


def _cells(figure: Figure, digits: int = 2) -> tuple[Cell, ...]:
    return tuple(number(each, digits) for each in (figure.value, figure.low, figure.high))
