"""What a MONAI bundle's files say, read and judged without running any of it."""

from __future__ import annotations

from node.catalogue.bundle.gate import complaints

__all__ = ["complaints"]
