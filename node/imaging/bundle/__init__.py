"""MONAI bundles: what they say, and how they are run."""
