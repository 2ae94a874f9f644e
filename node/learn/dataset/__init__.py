"""Data sets on disk: what layout they have, whether they are sound, and what they hold."""
