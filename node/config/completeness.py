"""[completeness.<MODALITY>]: when a study is taken as complete."""

from __future__ import annotations

from node.config.values import Seconds, Section


class Completeness(Section):
    """[completeness.<MODALITY>]: when a study is taken as complete."""

    #: Seconds without a new instance, over all associations.
    quiet_s: Seconds = 60.0
    #: Seconds after the first instance at which the study is closed in any case.
    forced_s: Seconds = 3600.0


#: Quiet times that are built in, seconds, by modality.
QUIET_DEFAULTS = {"CR": 30.0, "DX": 30.0, "CT": 120.0, "MR": 600.0}
