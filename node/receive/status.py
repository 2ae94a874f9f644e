"""DIMSE statuses of our responses: PS3.4 §B.2.3 for C-STORE, and PS3.7 Annex C for the general ones."""

from __future__ import annotations

SUCCESS = 0x0000

#: PS3.4 Table B.2-1: refused, the peer may try again.
OUT_OF_RESOURCES = 0xA700
#: PS3.4 Table B.2-1: the data set is not what the command says.
DOES_NOT_MATCH = 0xA900
#: PS3.4 Table B.2-1: it cannot be read, or says too little to be filed.
CANNOT_UNDERSTAND = 0xC000

#: PS3.4 Tables C.4-1, C.4-2: an answer, or how far it is; more follow.
PENDING = 0xFF00
#: PS3.4 Table C.4-1: more matches than are told at once. It has the value of `OUT_OF_RESOURCES`.
TOO_MANY_MATCHES = 0xA700
#: PS3.4 Table C.4-2: nobody is known by that AE title.
MOVE_DESTINATION_UNKNOWN = 0xA801
#: PS3.4 Tables C.4-1, C.4-2: no level of the model, or a unique key is missing. It has the value of `DOES_NOT_MATCH`.
IDENTIFIER_DOES_NOT_MATCH = 0xA900
#: PS3.4 Tables C.4-1, C.4-2: it asks for what is not answered.
UNABLE_TO_PROCESS = 0xC001
#: PS3.4 Table C.4-2: sub-operations are complete, and some failed.
SOME_FAILED = 0xB000

#: PS3.7 Annex C: an attribute has a value that it cannot have.
INVALID_ATTRIBUTE_VALUE = 0x0106
#: PS3.7 Annex C: a fault of our own.
PROCESSING_FAILURE = 0x0110
#: PS3.7 Annex C: the instance that is to be created exists.
DUPLICATE_SOP_INSTANCE = 0x0111
#: PS3.7 Annex C: the instance that is asked about does not exist.
NO_SUCH_SOP_INSTANCE = 0x0112
#: PS3.7 Annex C: the SOP Class has no event of this type.
NO_SUCH_EVENT_TYPE = 0x0113
#: PS3.7 Annex C: the SOP Instance UID is none.
INVALID_OBJECT_INSTANCE = 0x0117
#: PS3.7 Annex C: a required attribute is not there.
MISSING_ATTRIBUTE = 0x0120
#: PS3.7 Annex C: a required attribute is there and empty.
MISSING_ATTRIBUTE_VALUE = 0x0121
#: PS3.7 Annex C: not the SOP Class of the presentation context, or none that is stored.
SOP_CLASS_NOT_SUPPORTED = 0x0122
#: PS3.7 Annex C: this peer may not store.
NOT_AUTHORISED = 0x0124
#: PS3.7 Annex C: an operation that is not offered on this presentation context.
UNRECOGNISED_OPERATION = 0x0211
#: PS3.7 Annex C: more than is taken at once.
RESOURCE_LIMITATION = 0x0213
