"""Matins: a DICOM node that reads studies overnight and has the worst ones on top by dawn."""

__version__ = "0.1.0"
#: Implementation Version Name (0002,0013), at most 16 characters: the same wherever we write or speak.
IMPLEMENTATION_VERSION_NAME = f"MATINS_{__version__}"[:16]
