"""What MONAI's own transforms make of a volume, to be compared with; each step of a plan as the transform it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import monai.transforms as mt
import numpy as np
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from node.imaging.bundle import plan as terms
from node.imaging.volume import Volume
from tests.imaging.series import grid_of

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def volume(
    shape: tuple[int, int, int] = (14, 29, 23),
    step_mm: tuple[float, float, float] = (2.9, 0.83, 0.71),
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    axes: tuple[int, int, int] = (0, 1, 2),
    seed: int = 0,
    dtype: Any = np.int16,
) -> Volume:
    """Noise on a grid of which the axes are `axes` of the patient, turned by Euler angles in degrees."""
    noise = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(step_mm))[:, list(axes)]
    affine[:3, 3] = noise.normal(size=3) * 50
    array = (noise.normal(size=shape) * 300).astype(dtype)
    array.flags.writeable = False
    return Volume(array, grid_of(shape, affine), ())


def loaded(volumes: Sequence[Volume]) -> MetaTensor:
    """The volumes as MONAI would read them from NIfTI files: (channel, column, row, slice), RAS."""
    affine = LPS @ volumes[0].grid.matrix[:, [2, 1, 0, 3]]
    arrays = np.stack([each.array.transpose(2, 1, 0) for each in volumes]).astype(np.float32)
    return MetaTensor(torch.from_numpy(arrays), affine=torch.from_numpy(affine))


def _transform(step: terms.Step) -> mt.MapTransform:
    match step:
        case terms.Orient():
            return mt.Orientationd("image", axcodes=step.axes, labels=(("L", "R"), ("P", "A"), ("I", "S")))
        case terms.Respace():
            mode, padding = "nearest" if step.nearest else "bilinear", "border" if step.border else "zeros"
            return mt.Spacingd("image", pixdim=step.spacing_mm, mode=mode, padding_mode=padding)
        case terms.Scale():
            ends = {"a_min": step.low, "a_max": step.high, "b_min": step.to_low, "b_max": step.to_high}
            return mt.ScaleIntensityRanged("image", **ends, clip=step.clip)
        case terms.Stretch():
            return mt.ScaleIntensityd("image", minv=step.to_low, maxv=step.to_high, channel_wise=step.channel_wise)
        case terms.Standardise():
            return mt.NormalizeIntensityd("image", nonzero=step.nonzero, channel_wise=step.channel_wise)
        case terms.CropForeground():
            return mt.CropForegroundd("image", source_key="image", margin=step.margin, allow_smaller=True)
        case terms.Pad():
            method = "symmetric" if step.both_sides else "end"
            return mt.SpatialPadd("image", spatial_size=step.size, method=method, value=step.value)


def before(steps: Sequence[terms.Step]) -> mt.Compose:
    """The preprocessing of a bundle with these steps."""
    return mt.Compose([_transform(step) for step in steps])


def after(plan: terms.Plan, preprocessing: mt.Compose) -> mt.Compose:
    """The postprocessing of a bundle with this plan."""
    active = mt.Activationsd("pred", **{} if plan.activation == "none" else {str(plan.activation): True})
    threshold = plan.threshold if plan.discretisation == "threshold" else None
    discrete = mt.AsDiscreted("pred", argmax=plan.discretisation == "argmax", threshold=threshold)
    back = mt.Invertd("pred", preprocessing, orig_keys="image", nearest_interp=plan.inversion == "nearest")
    order = {"logits": [back, active, discrete], "activations": [active, back, discrete]}
    return mt.Compose(order.get(str(plan.returned), [active, discrete, back]))


def at_source(plan: terms.Plan, given: Volume, scores: torch.Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """What a bundle makes of its network's (class, …) answer: (channel, slice, row, column)."""
    preprocessing = before(plan.steps)
    image = preprocessing({"image": loaded([given])})["image"]
    found = after(plan, preprocessing)({"image": image, "pred": MetaTensor(scores.clone(), affine=image.affine)})
    return np.asarray(found["pred"].numpy().transpose(0, 3, 2, 1))
