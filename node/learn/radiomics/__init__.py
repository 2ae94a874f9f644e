"""The two-stage path: a region, its features, those that say something, and a classifier small enough to be read."""
