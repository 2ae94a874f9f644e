"""Matins: a DICOM node that reads studies overnight and has the worst ones on top by dawn."""

__version__ = "0.1.0"
