"""What a model is given of a study, read from its files; and whether there is memory to read it ahead."""

from __future__ import annotations

from pathlib import Path

from node.domain.model_card import ModelCard
from node.domain.study import Instance
from node.imaging.images import read_images
from node.imaging.pipelines import Given
from node.imaging.volume import read_volume
from node.infer.messages import Job
from node.triage.roles import card_of
from node.triage.suitability import slices_of

#: A volume is held as it is read, and once more while it is resampled.
_BYTES_PER_PIXEL = 8
#: This much stays free for what runs.
_RESERVE_BYTES = 1 << 30
#: Of several that are read ahead the pixels take no more together.
_TOGETHER_BYTES = 1 << 29
_MEMORY = Path("/proc/meminfo")


def given_of(job: Job, card: ModelCard) -> Given:
    """Read what the model is given: a volume a role in the card's order, or the images where it wants no volume.

    Raises:
        Unsuitable, Failed: as `imaging.volume.read_volume` and `imaging.images.read_images`.
    """
    roles = [each.name for each in card.roles] or [""]
    first, *others = (_files(job, card, role) for role in roles)
    described = tuple(instance for _, instance in first)
    if not card.needs_volume:
        images = read_images(first, intensity=card.intensity, colour=card.colour)
        return Given(images=images, instances=described)
    volumes = (read_volume(each, intensity=card.intensity) for each in (first, *others))
    return Given(volumes=dict(zip(roles, volumes, strict=True)), instances=described)


def _files(job: Job, card: ModelCard, role: str) -> list[tuple[Path, Instance]]:
    """What is read for a role: each slice, and the file that it lies in."""
    paths = {each.instance.sop_instance_uid: Path(each.path) for each in job.slices}
    of_role = [each.instance for each in job.slices if each.role == role]
    return [(paths[each.sop_instance_uid], each) for each in slices_of(of_role, card_of(card, role))]


def fits_ahead(job: Job, beside: int = 0) -> bool:
    """Whether the study can lie in memory beside the one that is read now and `beside` bytes that are read ahead."""
    if beside and beside + expected_bytes(job) > _TOGETHER_BYTES:
        return False
    return expected_bytes(job) + beside + _RESERVE_BYTES <= available_bytes()


def expected_bytes(job: Job) -> int:
    """What the pixels of a study take once they are read, about."""
    described = [each.instance.pixels for each in job.slices if each.instance.pixels is not None]
    return _BYTES_PER_PIXEL * sum(each.rows * each.columns * max(1, each.number_of_frames) for each in described)


def available_bytes() -> int:
    """What the kernel says can be had without swapping (proc(5)); 0 where it does not say."""
    try:
        lines = _MEMORY.read_text().splitlines()
    except OSError:
        return 0
    found = next((line.split() for line in lines if line.startswith("MemAvailable:")), None)
    return int(found[1]) * 1024 if found else 0
