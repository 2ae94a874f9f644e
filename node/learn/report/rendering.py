"""Render seismometer's report of the tables in this folder as `seismometer.html`, without a browser or a notebook.

Run by a Python that has seismometer 0.5 and nothing of Matins: `python render.py [FOLDER]`; a copy of this file lies
beside the tables as `render.py`.
"""

from __future__ import annotations

import html
import json
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import yaml

mpl.use("Agg")

PAGE = "seismometer.html"
#: Where seismometer keeps what it computed.
_OUTPUT = "output"


def render(folder: Path) -> Path:
    """Write the page, and return it; the tables and settings lie in the folder, which becomes the working directory."""
    import seismometer
    from seismometer.api import plots
    from seismometer.seismogram import Seismogram

    # Paths in seismometer's settings are those of the working directory.
    os.chdir(folder)
    usage = yaml.safe_load(Path("usage_config.yml").read_text(encoding="utf-8"))["data_usage"]
    thresholds = json.loads(Path("metadata.json").read_text(encoding="utf-8"))["thresholds"]
    predictions, events = _frames(usage)
    seismometer.run_startup(
        config_path=".", output_path=_OUTPUT, predictions_frame=predictions, events_frame=events, reset=True
    )
    target, score = usage["primary_target"], usage["primary_output"]
    sections = [("Model", plots.plot_model_evaluation({}, target, score, thresholds))]
    for name, groups in Seismogram().available_cohort_groups.items():
        sections.append((f"Scores by {name}", plots.plot_cohort_group_histograms(name, groups, target, score)))
        figures = plots.plot_cohort_evaluation(name, groups, target, score, thresholds)
        sections.append((f"Figures by {name}", figures))
    page = Path(PAGE).resolve()
    page.write_text(_page(sections), encoding="utf-8")
    return page


def _frames(usage: dict[str, Any]) -> tuple[Any, Any]:
    """The tables; names are words though they should look like numbers, and times are times."""
    keys = {usage["entity_id"]: str, usage["context_id"]: str}
    words = {cohort["source"]: str for cohort in usage["cohorts"]}
    time, columns = usage["predict_time"], usage["event_table"]
    predictions = pd.read_csv("predictions.csv", dtype={**keys, **words}, keep_default_na=False, parse_dates=[time])
    events = pd.read_csv("events.csv", dtype={**keys, columns["type"]: str}, parse_dates=[columns["time"]])
    return predictions, events.rename(columns={columns["time"]: "Time"})


def _page(sections: list[tuple[str, Any]]) -> str:
    parts = "".join(f"<section><h2>{html.escape(title)}</h2>{shown.data}</section>" for title, shown in sections)
    head = '<meta charset="utf-8"><meta name="robots" content="noindex"><title>seismometer</title>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{parts}</body></html>\n'


if __name__ == "__main__":
    sys.stdout.write(f"{render(Path(sys.argv[1] if len(sys.argv) > 1 else '.'))}\n")
