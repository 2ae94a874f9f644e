"""The transfer syntaxes and SOP Classes that the door takes, and which of them lose information."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary as _REGISTRY
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import PresentationContext

#: The whole data set is deflated: a kilobyte may unpack to gigabytes, and no header can be walked over. (In Deflated
#: Image Frame Compression, 1.2.840.10008.1.2.8.1, only the frames are: it is kept like any other.)
DEFLATED = frozenset(
    {
        str(DeflatedExplicitVRLittleEndian),
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
#: Where a peer offers several in one presentation context, the first of these is taken.
_PREFERRED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian))
#: Every transfer syntax that is accepted, best first; what cannot be decoded here is kept all the same.
ACCEPTED = tuple(
    dict.fromkeys(
        uid
        for uid in (*_PREFERRED, *map(str, ALL_TRANSFER_SYNTAXES), *map(str, AllTransferSyntaxes))
        if uid not in DEFLATED
    )
)

#: Always with loss (PS3.5 §A.4): JPEG, JPEG-LS near-lossless, and all video.
_LOSSY = frozenset(map(str, (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)))
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (*range(100, 109),))
#: With loss or without, as the object says; taken as lossy where it does not.
_PERHAPS_LOSSY = frozenset(
    (*map(str, (JPEG2000, JPEG2000MC, HTJ2K)), "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")
)

_STORAGE_PREFIX = "1.2.840.10008.5.1.4.1.1."
#: Verification SOP Class (PS3.4 §A.4).
VERIFICATION = "1.2.840.10008.1.1"


@lru_cache(maxsize=256)
def is_lossy(transfer_syntax_uid: str, lossy_image_compression: str) -> bool:
    """Whether pixels have lost information, by transfer syntax and Lossy Image Compression (0028,2110)."""
    base = ".".join(transfer_syntax_uid.split(".")[:8])
    if lossy_image_compression == "01" or transfer_syntax_uid in _LOSSY or base in _VIDEO:
        return True
    return transfer_syntax_uid in _PERHAPS_LOSSY and lossy_image_compression != "00"


def storage_classes() -> tuple[str, ...]:
    """Every storage SOP Class that is taken: pynetdicom's, and retired ones that old equipment still sends."""
    current = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    retired = [
        uid
        for uid, (name, kind, _, status, _) in _REGISTRY.items()
        if kind == "SOP Class" and status == "Retired" and "Storage" in name and uid.startswith(_STORAGE_PREFIX)
    ]
    return tuple(dict.fromkeys((*current, *retired)))


def supported_contexts(
    service_classes: Iterable[str] = (), *, deflated: bool = False
) -> dict[str, PresentationContext]:
    """Return what the acceptor supports, by abstract syntax: every association shares them, and only reads.

    Storage in every accepted transfer syntax, last of all in the deflated one if `deflated`; C-ECHO and
    `service_classes` in the uncompressed ones.
    """
    plain = [VERIFICATION, *service_classes]
    contexts = {uid: build_context(uid, list(_PREFERRED)) for uid in plain}
    syntaxes = [UID(uid) for uid in (*ACCEPTED, *([DeflatedExplicitVRLittleEndian] if deflated else []))]
    return contexts | {uid: build_context(uid, list(syntaxes)) for uid in storage_classes() if uid not in contexts}
