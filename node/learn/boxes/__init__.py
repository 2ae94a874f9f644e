"""Boxes on their way through a training: out of masks, through preparation, windows and augmentation; and anchors."""
