"""MONAI's RetinaNet, made from plain arguments: residual network, feature pyramid, and the anchors it answers for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.networks.nets.resnet import ResNet

from node.imaging.bundle.feature_pyramid import Pyramid

#: Of the residual network.
_STAGES = 4


class Retina(RetinaNet):
    """A RetinaNet (Lin et al., ICCV 2017) for images or volumes; its weights have the names of MONAI's.

    It answers with "classification" and "box_regression", a list of maps each, finest level first, in single precision.
    """

    def __init__(
        self,
        spatial_dims: int,
        n_input_channels: int,
        num_classes: int,
        anchors: Sequence[Sequence[float]],
        scales: Sequence[int] = (1, 2, 4),
        stride: int = 4,
        block: str = "basic",
        layers: Sequence[int] = (1, 1, 1, 1),
        width: int = 32,
        channels: int = 64,
    ) -> None:
        """Make it; `anchors` are the sides of each shape at the finest level, and `scales` a factor for each level.

        Args:
            spatial_dims: 2 or 3.
            n_input_channels: of the image.
            num_classes: without background.
            anchors: shapes at each place, (axis, …) in voxels.
            scales: of the levels; the coarsest one is pooled from the one before.
            stride: voxels between places of the finest level, 2 or 4.
            block: "basic" or "bottleneck".
            layers: blocks of each of the four stages.
            width: channels of the first stage, a multiple of 8; each stage has twice as many as the one before.
            channels: of every level of the pyramid, a multiple of 8.

        Raises:
            ValueError: there are no levels for these scales.
        """
        stages = len(scales) - 1
        if not 1 <= stages <= _STAGES:
            raise ValueError(f"{len(scales)} scales: 2 to {_STAGES + 1} are possible")
        backbone = ResNet(
            block,
            list(layers),
            [width * 2**stage for stage in range(_STAGES)],
            spatial_dims=spatial_dims,
            n_input_channels=n_input_channels,
            conv1_t_stride=stride // 2,
            feed_forward=False,
            norm=("group", {"num_groups": 8}),
        )
        pyramid = Pyramid(backbone, spatial_dims, range(1, stages + 1), channels)
        divisible = stride * 2**stages
        super().__init__(spatial_dims, num_classes, len(anchors), pyramid, divisible)
        self.anchors = [[float(side) for side in shape] for shape in anchors]
        self.scales = list(scales)

    def forward(self, images: torch.Tensor) -> Any:
        """Return the maps of every level, whatever precision they were computed in."""
        answers = super().forward(images)
        return {key: [each.float() for each in maps] for key, maps in answers.items()}
