"""Synthetic augmentation: training images drawn by a small generative model that saw the training part alone."""
