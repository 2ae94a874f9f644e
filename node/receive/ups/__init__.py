"""Unified Procedure Steps at the door: data sets in and out, and who may ask what."""
