"""What draws images of a class: a rectified flow, from noise to image in straight lines (Liu et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.rectified_flow import RFlowScheduler
from torch import nn
from torch.nn import functional

from node.learn.fitting import random_of
from node.learn.learners import Example
from node.learn.synthetic.table import Synthetic

#: Batches after which the state is kept.
STEPS = 25
#: Sides of what is drawn are multiples of it: the network halves them twice.
_HALVED = 4
_CHANNELS, _GROUPS = (16, 32, 32), 8
#: Time runs from 0, an image, to this, noise.
_NOISE = 1000
#: Images that brightness is measured on, and that are drawn at once.
_MEASURED, _AT_ONCE = 1000, 64

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Flow:
    """Learns to draw the classes of some cases; see `Learner`."""

    def __init__(self, examples: Sequence[Example], classes: int, asked: Synthetic, seed: int) -> None:
        first = examples[0].prepared.image
        self.network: nn.Module
        torch.manual_seed(seed)
        self.network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=len(first),
            out_channels=len(first),
            num_res_blocks=1,
            channels=_CHANNELS,
            attention_levels=(False,) * len(_CHANNELS),
            norm_num_groups=_GROUPS,
            num_class_embeds=classes,
        )
        self._scheduler = RFlowScheduler(num_train_timesteps=_NOISE, use_discrete_timesteps=False)
        self._examples, self._asked = examples, asked
        self.size = size_of(first.shape[1:], asked.side)
        self._of_class = [np.flatnonzero([each.case.label == label for each in examples]) for label in range(classes)]
        measured = torch.stack([self.seen(each) for each in examples[:: -(-len(examples) // _MEASURED)]])
        axes = (0, 2, 3)
        self._mean, self._deviation = measured.mean(axes)[:, None, None], measured.std(axes)[:, None, None] + 1e-6
        self._low, self._high = measured.amin(axes)[:, None, None], measured.amax(axes)[:, None, None]

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return min(STEPS, self._asked.updates)

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        """See `Learner`."""
        return [(list(self.network.parameters()), 1.0)]

    def begin(self, epoch: int) -> None:  # noqa: ARG002 (an epoch is like another)
        """See `Learner`."""
        self.network.train()

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> Batch:  # noqa: ARG002
        """See `Learner`: (batch, channel, row, column) images and noise, their classes and times; classes alike."""
        present = [label for label, places in enumerate(self._of_class) if len(places)]
        labels = random.choice(present, self._asked.batch)
        chosen = [self._examples[int(random.choice(self._of_class[label]))] for label in labels]
        images = (torch.stack([self.seen(each) for each in chosen]) - self._mean) / self._deviation
        noise = torch.from_numpy(random.standard_normal(tuple(images.shape), dtype=np.float32))
        times = torch.from_numpy(random.uniform(0, _NOISE, len(labels)).astype(np.float32))
        return images, noise, torch.from_numpy(labels), times

    def loss(self, network: nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
        """See `Learner`: how far off the direction from noise to image is, squared."""
        images, noise, labels, times = (each.to(device) for each in batch)
        between = self._scheduler.add_noise(images, noise, times)
        return functional.mse_loss(network(between, times, class_labels=labels).float(), images - noise)

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:  # noqa: ARG002
        """See `Learner`: nothing is held back for it."""
        return {}

    def seen(self, example: Example) -> torch.Tensor:
        """Return a case as large as what is drawn."""
        image = example.prepared.image
        return image if image.shape[1:] == self.size else functional.adaptive_avg_pool2d(image, self.size)

    @torch.no_grad()
    def drawn(self, label: int, count: int, place: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Draw `count` images of a class, (count, channel, row, column) float32; `place` seeds the noise."""
        network = self.network.eval()
        noise = random_of(*place).standard_normal((count, len(self._mean), *self.size), dtype=np.float32)
        self._scheduler.set_timesteps(self._asked.steps)
        times = [float(each) for each in self._scheduler.timesteps]
        found = []
        for first in range(0, count, _AT_ONCE):
            images = torch.from_numpy(noise[first : first + _AT_ONCE]).to(device)
            labels = torch.full((len(images),), label, device=device)
            for now, then in zip(times, [*times[1:], 0.0], strict=True):
                direction = network(images, torch.full((len(images),), now, device=device), class_labels=labels)
                images = images + direction * ((now - then) / _NOISE)
            found.append(images.float().cpu() * self._deviation + self._mean)
        return torch.cat(found).clamp(self._low, self._high)


def size_of(size: Sequence[int], most: int) -> tuple[int, int]:
    """Return (row, column) of what is drawn for images of `size`: no longer than `most`, and what can be halved."""
    by = min(1.0, most / max(size))
    rows, columns = (max(2 * _HALVED, round(side * by / _HALVED) * _HALVED) for side in size)
    return rows, columns
