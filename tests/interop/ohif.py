"""The OHIF viewer as its readers have it: in a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # only `make interop-install` brings it
    from playwright.sync_api import Browser, Page

T = TypeVar("T")

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).with_name("out")
#: A browser that draws without a graphics card, on two busy cores.
PATIENCE_MS = 240_000

#: WebGL by software; nothing that calls home.
_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@dataclass(frozen=True)
class Row:
    """One row of a panel."""

    title: str
    #: Of its dot, RGB; empty where it has none.
    colour: tuple[int, ...]


#: OHIF's own sum over the voxels of each segment of the first segmentation, as its panels show it.
_VOLUMES = """async () => {
  const [shown] = window.services.segmentationService.getSegmentations();
  const indices = Object.keys(shown.segments).map(Number);
  const found = await window.cornerstoneTools.utilities.segmentation.getStatistics(
    { segmentationId: shown.segmentationId, segmentIndices: indices, mode: 'individual' });
  return indices.map(index => [index, found[index].volume.value, found[index].volume.unit]);
}"""
_MEAN = """name => {
  const [viewport] = window.cornerstone.getRenderingEngines()[0].getViewports();
  const volume = window.cornerstone.cache.getVolume(viewport.getAllVolumeIds().find(each => each.includes(name)));
  const values = volume.voxelManager.getCompleteScalarDataArray();
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}"""


class Viewer:
    """One tab of the browser, as large as a small screen."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        #: Exceptions that nothing in the page caught.
        self.thrown: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.thrown.append(str(error)))
        # The tour of a first visit lies over everything.
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")

    def open_study(self, study: str, series: int) -> None:
        """Open a study and wait until that many of its series are listed and the first image is drawn."""
        self.page.goto(f"{self.address}/viewer?StudyInstanceUIDs={study}")
        self.page.wait_for_function(
            "count => window.services?.displaySetService?.activeDisplaySets?.length === count", arg=series
        )
        self.page.wait_for_selector("[data-cy=viewport-pane] canvas")
        self.page.wait_for_function("() => window.cornerstone.getRenderingEngines()[0]?.getViewports().length")

    def open_series(self, number: int) -> None:
        """Open a series by its number, as its reader does: with a double click."""
        self.page.locator(f"[data-series='{number}']").dblclick()

    def of_series(self, number: int, expression: str) -> Any:
        """A JavaScript expression of `each`, OHIF's own view of a series."""
        return self.page.evaluate(
            "number => { const each = window.services.displaySetService.activeDisplaySets"
            f".find(found => found.SeriesNumber === number); return {expression}; }}",
            number,
        )

    @property
    def is_broken(self) -> bool:
        """Whether there is an error page in the place of images."""
        return self.page.get_by_text("Something went wrong").count() > 0

    def wait_for(self, what: str, check: Callable[[], T]) -> T:
        """Draw and look again until there is something to see, and return it; fail where an error page comes first."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < deadline:
            found = check()
            if found:
                return found
            assert not self.is_broken, f"an error page instead of {what}: {self.page.inner_text('body')[:2000]}"
            # Without a screen nobody asks for another frame once an image has come.
            self.page.evaluate("() => window.cornerstone.getRenderingEngines().forEach(each => each.render())")
            self.page.wait_for_timeout(250)
        self.keep("missing")
        raise AssertionError(f"{what} did not show; thrown: {self.thrown}")

    def text(self) -> str:
        """What is written over and in the viewports."""
        return " ".join(self.page.locator("[data-cy=viewport-pane]").all_text_contents())

    def pixels(self) -> NDArray[np.int16]:
        """The viewports as they are drawn, (row, column, RGB)."""
        png = self.page.locator("[data-cy=viewport-grid]").screenshot()
        return np.asarray(Image.open(BytesIO(png)).convert("RGB"), np.int16)

    def count_of(self, colour: tuple[int, int, int]) -> int:
        """How many pixels of the viewports have about this colour."""
        return int((np.abs(self.pixels() - colour).max(axis=2) < 40).sum())

    def coloured_share(self) -> float:
        """The share of the viewports' pixels that are anything but grey."""
        pixels = self.pixels()
        return float((np.ptp(pixels, axis=2) > 60).mean())

    def segmentation(self) -> bool:
        """Whether there is one in a viewport, visible."""
        return bool(
            self.page.evaluate(
                "() => window.services.segmentationService.getSegmentationRepresentations("
                "window.services.viewportGridService.getActiveViewportId()).some(each => each.visible)"
            )
        )

    def volumes_ml(self) -> dict[int, float]:
        """What OHIF measures: segment number → mL."""
        found = self.page.evaluate(_VOLUMES)
        assert all(unit == "mm³" for _, _, unit in found)
        return {int(index): float(volume) / 1000 for index, volume, _ in found}

    def mean_of_volume(self, name: str) -> float:
        """The mean of what OHIF holds of a volume, which is named by a part of its ID."""
        return float(self.page.evaluate(_MEAN, name))

    def measurements(self) -> list[dict[str, Any]]:
        """OHIF's own measurements: tool, series, and values with their units."""
        return list(
            self.page.evaluate(
                "() => window.services.measurementService.getMeasurements().map(each => ({"
                " tool: each.toolName, series: each.referenceSeriesUID,"
                " values: Object.values(each.data ?? {}).map(found => ({ value: found.length, unit: found.unit })) }))"
            )
        )

    def rows(self) -> list[Row]:
        """The rows of the panel at the right."""
        rows = []
        for each in self.page.locator("[data-cy=data-row]").all():
            dots = each.locator("[data-cy=data-row-colorhex]")
            style = str(dots.first.get_attribute("style")) if dots.count() else ""
            title = each.locator("[data-cy=data-row-title]").inner_text()
            rows.append(Row(title, tuple(map(int, re.findall(r"\d+", style)))))
        return rows

    def activate_panel(self, name: str) -> None:
        """Open one of the panels at the right by a part of its name."""
        self.page.evaluate(
            "name => { const panels = window.services.panelService;"
            " panels.activatePanel(panels.getPanels('right').find(each => each.id.includes(name)).id, true); }",
            name,
        )

    def keep(self, name: str) -> None:
        """Keep what is on the screen."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"ohif-{name}.png")


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield started
        finally:
            started.close()
