"""MONAI's detector around a network: how its boxes are chosen, and what it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.losses.focal_loss import FocalLoss
from monai.losses.giou_loss import BoxGIoULoss
from torch import nn

from node.imaging.networks.retinanet import Retina
from node.learn.boxes.table import Detecting
from node.learn.recipe import Recipe

#: Boxes of a level that are looked at for an image.
_CANDIDATES = 1000
#: Below this the loss of an offset is square, above it straight.
_BETA = 1 / 9
#: Anchors that lie on no box and are learnt from at least.
_LEAST_NEGATIVE = 16


class Detector(RetinaNetDetector):
    """MONAI's detector, but that its matcher is not asked whether it is torchvision's, which is not installed."""

    def compute_anchor_matched_idxs(
        self,
        anchors: list[torch.Tensor],
        targets: list[dict[str, torch.Tensor]],
        num_anchor_locs_per_level: Sequence[int],
    ) -> list[torch.Tensor]:
        """Return for each image the number of the true box of each anchor; below 0: none."""
        found = []
        for places, target in zip(anchors, targets, strict=True):
            boxes = target[self.target_box_key].to(places.device)
            if len(boxes):
                _, matches = self.proposal_matcher(boxes, places, num_anchor_locs_per_level, self.num_anchors_per_loc)
            else:
                matches = torch.full((len(places),), -1, dtype=torch.int64, device=places.device)
            found.append(matches)
        return found


def detector_of(network: nn.Module, plain: Retina, recipe: Recipe) -> Any:
    """Return a detector that reads; `network` may be wrapped, `plain` is what knows its anchors."""
    said = recipe.detection
    detector = Detector(
        network,
        AnchorGeneratorWithAnchorShape(plain.scales, plain.anchors),
        spatial_dims=plain.spatial_dims,
        num_classes=plain.num_classes,
        size_divisible=plain.size_divisible,
    )
    detector.set_target_keys(box_key="box", label_key="label")
    detector.set_box_selector_parameters(**selection(said))
    if recipe.preparation is not None and recipe.preparation.patch:
        detector.set_sliding_window_inferer(**windows(recipe))
    return detector


def taught(detector: Any, said: Detecting) -> Any:
    """Give a detector what it learns by: matcher, sampler and losses."""
    detector.set_atss_matcher(num_candidates=said.candidates, center_in_gt=False)
    detector.set_hard_negative_sampler(
        batch_size_per_image=said.sampled, positive_fraction=said.positive, min_neg=_LEAST_NEGATIVE, pool_size=said.pool
    )
    detector.set_cls_loss(FocalLoss(reduction="mean", gamma=2.0))
    if said.box_loss == "smooth-l1":
        detector.set_box_regression_loss(nn.SmoothL1Loss(beta=_BETA), encode_gt=True, decode_pred=False)
    else:
        detector.set_box_regression_loss(BoxGIoULoss(reduction="mean"), encode_gt=False, decode_pred=True)
    return detector


def selection(said: Detecting) -> dict[str, Any]:
    """Arguments of MONAI's `set_box_selector_parameters`."""
    return {
        "score_thresh": said.score,
        "topk_candidates_per_level": _CANDIDATES,
        "nms_thresh": said.overlap,
        "detections_per_img": said.most,
    }


def windows(recipe: Recipe) -> dict[str, Any]:
    """Arguments of MONAI's `set_sliding_window_inferer`."""
    assert recipe.preparation is not None
    said = recipe.preparation
    return {"roi_size": list(said.patch), "sw_batch_size": said.batch, "overlap": said.overlap, "mode": said.blend}
