from __future__ import annotations

from typing import Any

import pytest

from node.imaging.bundle.plan import (
    Activation,
    Blend,
    CropForeground,
    Discretisation,
    Inversion,
    Largest,
    NotUnderstood,
    Orient,
    Pad,
    Respace,
    Returned,
    Scale,
    Standardise,
    Stretch,
    Window,
    plan_of,
)

LOAD = [{"_target_": "LoadImaged", "keys": "@key"}, {"_target_": "EnsureChannelFirstd", "keys": "@key"}]
ORIENT = {"_target_": "Orientationd", "keys": "@key", "axcodes": "RAS"}
SPACE = {"_target_": "monai.transforms.Spacingd", "keys": ["@key"], "pixdim": "@spacing", "mode": ["bilinear"]}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
CUT = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.4}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "@key"}
LINEAR = {**INVERT, "nearest_interp": False, "to_tensor": True}


def bundle(before: Any = (), after: Any = (SOFTMAX, ARGMAX), **more: Any) -> dict[str, Any]:
    """A configuration with these transforms after loading, and before saving."""
    return {
        "imports": ["$import torch"],
        "key": "image",
        "spacing": "$[1.5, 1.5, 2.0] if @fine else [3.0, 3.0, 3.0]",
        "fine": True,
        "preprocessing": {"_target_": "Compose", "transforms": [*LOAD, *before]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 64], "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [*after, {"_target_": "SaveImaged", "keys": "pred"}]},
        **more,
    }


def test_an_abdomen_bundle_is_understood_from_end_to_end():
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1}
    plan = plan_of(bundle([ORIENT, SPACE, {**scale, "clip": True}], [SOFTMAX, LINEAR, ARGMAX]))
    assert plan.steps == (
        Orient(axes="RAS"),
        Respace(spacing_mm=(1.5, 1.5, 2.0)),
        Scale(low=-57, high=164, to_low=0, to_high=1, clip=True),
    )
    assert plan.window == Window(
        roi=(96, 96, 64), overlap=(0.5, 0.5, 0.5), sigma_scale=(0.125, 0.125, 0.125), batch=4, blend=Blend.CONSTANT
    )
    assert (plan.activation, plan.discretisation) == (Activation.SOFTMAX, Discretisation.ARGMAX)
    assert (plan.inversion, plan.returned) == (Inversion.LINEAR, Returned.ACTIVATIONS)
    assert (plan.axes, plan.spacing_mm) == ("RAS", (1.5, 1.5, 2.0))


def test_steps_are_read_with_their_defaults_and_in_their_order():
    before = [
        {"_target_": "EnsureTyped", "keys": "@key", "device": "$torch.device('cuda')"},
        {"_target_": "ScaleIntensityd", "keys": "@key", "_disabled_": True},
        {"_target_": "NormalizeIntensityd", "keys": "@key", "nonzero": "True"},
        {**SPACE, "pixdim": "$[1.0 / 2]", "padding_mode": "zeros", "align_corners": True},
        {"_target_": "ScaleIntensityd", "keys": "@key", "minv": -1},
        {"_target_": "CropForegroundd", "keys": "@key", "source_key": "@key", "margin": 3, "allow_smaller": True},
        {"_target_": "SpatialPadd", "keys": "@key", "spatial_size": [96, -1, 64], "method": "end"},
        {"_target_": "CastToTyped", "keys": "@key", "dtype": "$torch.float32"},
    ]
    assert plan_of(bundle(before, [INVERT, SOFTMAX, ARGMAX])).steps == (
        Standardise(nonzero=True),
        Respace(spacing_mm=(0.5, 0.5, 0.5), border=False),
        Stretch(to_low=-1.0, to_high=1.0),
        CropForeground(margin=3),
        Pad(size=(96, -1, 64), both_sides=False),
    )


def test_transforms_that_stand_in_lists_of_their_own_are_joined():
    described = bundle(first=[*LOAD, ORIENT], second=[SPACE])
    described["preprocessing"] = {"_target_": "Compose", "transforms": "$@first + @second"}
    described["postprocessing"] = {"_target_": "Compose", "transforms": [SOFTMAX, ARGMAX, INVERT]}
    plan = plan_of(described)
    assert plan.axes == "RAS"
    assert (plan.inversion, plan.returned) == (Inversion.NEAREST, Returned.LABELS)


def test_what_moves_no_voxel_needs_nothing_brought_back():
    scale = {"_target_": "ScaleIntensityd", "keys": "@key"}
    for after in ([SOFTMAX, ARGMAX], [SOFTMAX, LINEAR, ARGMAX]):
        assert plan_of(bundle([scale], after)).inversion is Inversion.NONE


def test_inferers_over_slices_and_over_the_whole_volume_are_told_apart():
    assert plan_of(bundle(inferer={"_target_": "SimpleInferer"})).window == Window()
    slices = {"_target_": "SliceInferer", "roi_size": [256, 256], "spatial_dim": 2, "mode": "gaussian"}
    window = plan_of(bundle(inferer=slices)).window
    assert (window.roi, window.slice_axis, window.blend) == ((256, 256), 2, Blend.GAUSSIAN)
    assert window.overlap == (0.25, 0.25)


def test_channels_cut_at_a_threshold_are_merged_in_the_order_that_the_bundle_says():
    merge = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    plan = plan_of(bundle([], [SIGMOID, CUT, {"_target_": "Lambdad", "keys": "pred", "func": merge}]))
    assert plan.merge == ((2, 4), (0, 1), (1, 2))
    assert (plan.activation, plan.threshold) == (Activation.SIGMOID, 0.4)


def test_the_largest_component_is_taken_where_the_bundle_takes_it():
    keep = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]}
    before = plan_of(bundle([ORIENT], [ARGMAX, keep, INVERT])).largest
    after = plan_of(bundle([ORIENT], [ARGMAX, INVERT, {**keep, "connectivity": 1, "independent": False}])).largest
    assert before == Largest(labels=(1, 2), at_source=False)
    assert after == Largest(labels=(1, 2), independent=False, connectivity=1)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([{"_target_": "RandFlipd", "keys": "image"}], [ARGMAX], "RandFlipd is not known"),
        ([{"_target_": "scripts.mine.Merge", "keys": "image"}], [ARGMAX], "the bundle's own code"),
        ([{"_target_": "os.system", "command": "true"}], [ARGMAX], "the bundle's own code"),
        ([{**SPACE, "diagonal": True}], [INVERT, ARGMAX], "Spacingd with diagonal = True"),
        ([{**SPACE, "mode": 3}], [INVERT, ARGMAX], "Spacingd with 3"),
        ([{**SPACE, "pixdim": "$open('x').read()"}], [INVERT, ARGMAX], "is more than a constant"),
        ([{**SPACE, "pixdim": "@nowhere"}], [INVERT, ARGMAX], "@nowhere refers to nothing"),
        ([{**SPACE, "surprise": 1}], [INVERT, ARGMAX], "Spacingd with surprise"),
        ([SPACE, SPACE], [INVERT, ARGMAX], "resampled more than once"),
        ([{"_target_": "CropForegroundd", "keys": "image"}, SPACE], [INVERT, ARGMAX], "cropped or padded before"),
        ([{**ORIENT, "keys": ["artery", "vein"]}], [INVERT, ARGMAX], "works on"),
        ([ORIENT], [SOFTMAX, ARGMAX], "nothing brings the result back"),
        ([SPACE], [ARGMAX, LINEAR], "labels are brought back by linear interpolation"),
        ([], [SOFTMAX], "no labels are made"),
        ([], [{**ARGMAX, "to_onehot": 3}], "AsDiscreted with to_onehot = 3"),
        ([ORIENT], [{**INVERT, "transform": "@other"}, ARGMAX], "is not the preprocessing"),
        ([], [SIGMOID, CUT, {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x[1:]"}], "not understood"),
    ],
)
def test_what_has_no_place_in_a_plan_is_named(before: Any, after: Any, reason: str):
    with pytest.raises(NotUnderstood, match=reason):
        plan_of(bundle(before, after))


def test_references_that_go_round_in_a_circle_are_no_plan():
    with pytest.raises(NotUnderstood, match="circle"):
        plan_of(bundle([SPACE], [INVERT, ARGMAX], spacing="@fine", fine="@spacing"))
