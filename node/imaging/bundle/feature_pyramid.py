"""A residual network that gives its intermediate layers to a feature pyramid, without torchvision.

MONAI takes the part that collects the layers from torchvision. Here are the same modules under the same names, so
that published weights fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.nets.resnet import ResNet
from torch import nn

#: Channels of every level of the pyramid, as MONAI has them.
_PYRAMID_CHANNELS = 256


class Layers(nn.ModuleDict):
    """The first modules of a backbone, in order, up to the last layer that is asked for."""

    def __init__(self, backbone: nn.Module, wanted: Sequence[str]) -> None:
        modules: dict[str, nn.Module] = {}
        for name, module in backbone.named_children():
            modules[name] = module
            if set(wanted) <= modules.keys():
                break
        super().__init__(modules)
        self._wanted = {name: str(place) for place, name in enumerate(wanted)}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the output of each wanted layer, finest first, under its number."""
        found = {}
        values = images
        for name, module in self.items():
            values = module(values)
            if name in self._wanted:
                found[self._wanted[name]] = values
        return found


class Pyramid(nn.Module):
    """Backbone and feature pyramid: (batch, channel, …) → level → (batch, channels, …) features, finest first."""

    def __init__(
        self, backbone: ResNet, spatial_dims: int, returned_layers: Sequence[int], channels: int = _PYRAMID_CHANNELS
    ) -> None:
        super().__init__()
        first = backbone.in_planes // 8
        self.body = Layers(backbone, [f"layer{number}" for number in returned_layers])
        self.fpn = FeaturePyramidNetwork(
            spatial_dims=spatial_dims,
            in_channels_list=[first * 2 ** (number - 1) for number in returned_layers],
            out_channels=channels,
            extra_blocks=LastLevelMaxPool(spatial_dims),
        )
        self.out_channels = channels

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the features of every level."""
        features: dict[str, torch.Tensor] = self.fpn(self.body(images))
        return features


def resnet_feature_pyramid(
    backbone: ResNet,
    spatial_dims: int,
    pretrained_backbone: bool = False,  # noqa: ARG001 weights come from the bundle
    returned_layers: Sequence[int] = (1, 2, 3),
    trainable_backbone_layers: int | None = None,  # noqa: ARG001 nothing is trained
) -> Pyramid:
    """Take the arguments of MONAI's `resnet_fpn_feature_extractor`, and make the same network."""
    return Pyramid(backbone, spatial_dims, sorted(returned_layers))
