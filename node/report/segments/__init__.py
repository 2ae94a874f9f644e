"""Segmentations: described by highdicom, their frames and groups put together from the mask."""
