"""Volumes and models: series to volume, resampling, pipelines, masks, measurements."""
