"""Reports and segmentations of ours and of others, read back: in a process that may die of them."""
