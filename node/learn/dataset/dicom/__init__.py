"""DICOM objects in a folder: what their headers say, and which Segmentation is drawn on which series."""
