"""Networks that MONAI does not have. A card names one by its whole name, `node.imaging.networks.NAME`."""

from __future__ import annotations

from node.imaging.networks.efficientnet_lite import EfficientNetLite

__all__ = ["EfficientNetLite"]
