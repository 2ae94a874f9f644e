"""Whether two series show things alike enough for sizes on them to be compared."""

from __future__ import annotations

from datetime import date, datetime

from node.domain.alignment import Conditions

#: Slices may lie this many times as far apart as in the other study: what small things measure follows from it.
MOST_SLICE_RATIO = 1.5
#: The same of pixels in the plane of a slice.
MOST_PIXEL_RATIO = 1.5


def why_not(now: Conditions, before: Conditions) -> str:
    """Say why sizes of the two cannot be compared; empty if nothing that the images say speaks against it.

    What only one of them says, or none, speaks against nothing, but for a contrast agent: who was given one is named.
    """
    pairs = (
        ("slices", now.slice_spacing_mm, before.slice_spacing_mm, MOST_SLICE_RATIO),
        ("slices", now.slice_thickness_mm or 0.0, before.slice_thickness_mm or 0.0, MOST_SLICE_RATIO),
        ("pixels", now.in_plane_spacing_mm, before.in_plane_spacing_mm, MOST_PIXEL_RATIO),
    )
    for what, one, other, most in pairs:
        if one > 0 and other > 0 and max(one, other) > most * min(one, other) * (1 + 1e-6):
            return f"{what} of {one:.3g} mm against {other:.3g} mm"
    kernels = [" ".join(each.kernel.casefold().split()) for each in (now, before)]
    if all(kernels) and kernels[0] != kernels[1]:
        return f"another reconstruction kernel ({_printable(now.kernel)} against {_printable(before.kernel)})"
    if bool(now.contrast_agent.strip()) is not bool(before.contrast_agent.strip()):
        return "contrast medium was given in one of the two studies alone"
    return ""


def days_between(before: str, now: str) -> int | None:
    """Days from one Study Date to the other; `None` unless both are dates, and the prior's is the earlier."""
    made = [_day(each) for each in (before, now)]
    if made[0] is None or made[1] is None:
        return None
    days = (made[1] - made[0]).days
    return days if days > 0 else None


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None


def _printable(text: str) -> str:
    """What a scanner calls its kernel, short and on one line: it gets printed and passed on."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:32].strip()
