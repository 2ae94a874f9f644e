"""A reading explained as its card asks, once its findings are known. It can cost the maps, never the findings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from node.domain.model_card import ModelCard
from node.errors import MatinsError
from node.imaging import saliency
from node.imaging.explain import explainable_of
from node.imaging.explain.study import Explanations, Wish, explain
from node.imaging.pipelines import Given, Pulse, Reading, Runner
from node.infer.findings import Conclusion, Content


def explained(
    concluded: Conclusion, card: ModelCard, given: Given, reading: Reading, runner: Runner, pulse: Pulse
) -> Conclusion:
    """Return the conclusion with maps of what spoke for it, and with what is to be said of them."""
    wish = Wish(card=card, explanation=card.explanation, findings=concluded.findings)
    try:
        made = explain(explainable_of(runner), given, reading, wish, pulse=pulse)
    except MatinsError as problem:
        made = Explanations(notes=(f"nothing is explained: {problem}",))
    return replace(
        concluded,
        files=(*concluded.files, *(content_of(each) for each in made.maps)),
        notes=(*concluded.notes, *made.notes),
    )


def content_of(found: saliency.Saliency) -> Content:
    """A map as a file that is to be kept."""
    account = found.account
    return Content(
        kind=saliency.KIND,
        encode=partial(saliency.to_bytes, found),
        profile=account.profile if account else "",
        account=account.text if account else "",
    )
