"""[acknowledge]: within which time somebody has to have seen an urgent finding, and who is told when nobody has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from node.config.values import Section

Minutes = Annotated[float, Field(ge=0)]


class WithinMin(Section):
    """[acknowledge.within_min]: from the finding until a reader has acknowledged it, by its lane; 0 sets no time."""

    STAT: Minutes = 15.0
    URGENT: Minutes = 60.0
    #: Of findings that a route asks for, in studies that stand in no higher lane.
    ROUTINE: Minutes = 240.0


class EscalationStep(Section):
    """One step: after so many minutes in which nobody has seen to it, this route is told, once."""

    after_min: Annotated[float, Field(gt=0)]
    route: Annotated[str, Field(min_length=1)]


class AcknowledgeSettings(Section):
    """[acknowledge]: who has to have seen what, and by when."""

    within_min: WithinMin = WithinMin()
    #: In the order in which they are told; the reading list first, whoever ordered the study last if at all.
    escalation: tuple[EscalationStep, ...] = Field(default=(), strict=False)
    #: Who sees to findings that come after the report, where no person is known to have reported: a login.
    owner: Annotated[str, Field(max_length=64)] = ""
    #: Time for a discrepancy to be closed, minutes; 0 sets none.
    discrepancy_min: Minutes = 60.0
    #: Who is told of a discrepancy that nobody has closed.
    discrepancy_escalation: tuple[EscalationStep, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _steps_come_one_after_the_other(self) -> AcknowledgeSettings:
        for name in ("escalation", "discrepancy_escalation"):
            minutes = [step.after_min for step in getattr(self, name)]
            if minutes != sorted(minutes):
                raise ValueError(f"the steps of {name} come in the order of after_min")
        return self

    @property
    def routes(self) -> frozenset[str]:
        """Names of the routes that any step tells."""
        return frozenset(step.route for step in (*self.escalation, *self.discrepancy_escalation))
