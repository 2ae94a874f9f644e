"""Does a series meet what a site requires of a study; and does one look whole?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from node.domain.frames import each_slice
from node.domain.model_card import GEOMETRY_FIELDS
from node.domain.required import INSTANCE_COUNT, RequiredSeries
from node.domain.study import Instance, Series, is_image
from node.triage import series_values
from node.triage.clauses import Lookups, answer_of, keys_of
from node.triage.facts import Value


def met_by(required: RequiredSeries, series: Sequence[Series]) -> tuple[str, ...]:
    """Series Instance UIDs of those that meet it, sorted. What a series does not say, it does not meet."""
    return tuple(sorted(each.series_instance_uid for each in series if meets(required, each)))


def meets(required: RequiredSeries, series: Series) -> bool:
    """Whether one series meets every part of the clause; of several values of a field one is enough."""
    images = [instance for instance in series.instances if is_image(instance.sop_class_uid)]
    reading = Lookups({key: tuple(_values(key[0], series, images)) for key in keys_of(required.when)})
    return answer_of(required.when)(reading) is True


def why_not_whole(series: Series) -> str:
    """Say why more slices are to be expected of a series, or nothing where it looks whole.

    It looks whole where its slices lie at regular distances and its instance numbers (0020,0013), if it has them,
    leave none out. The first half of a series looks whole too: the caller lets some quiet time pass.
    """
    images = [instance for instance in series.instances if is_image(instance.sop_class_uid)]
    if len(images) < len(series.instances) or len(images) < 2:
        return f"{len(images)} of {len(series.instances)} instances are slices"
    problem = series_values.geometry_of(each_slice(images), needs_volume=True).problem
    if problem:
        return problem
    numbers = {image.instance_number for image in images if image.instance_number is not None}
    if len(numbers) == len(images) and max(numbers) - min(numbers) + 1 != len(numbers):
        return f"instance numbers from {min(numbers)} to {max(numbers)}, but {len(numbers)} instances"
    return ""


def _values(field: str, series: Series, images: Sequence[Instance]) -> Iterator[Value]:
    if field == INSTANCE_COUNT:
        yield float(len(series.instances))
        return
    measured = field in GEOMETRY_FIELDS and images
    geometry = series_values.geometry_of(each_slice(images), needs_volume=False) if measured else None
    for value in series_values.values(field, series.instances, geometry):
        if isinstance(value, tuple):
            yield from value
        else:
            yield value
