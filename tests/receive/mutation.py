"""What a peer says on the wire, recorded as PDUs, and seeded ways to spoil it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from tests.receive.objects import compressed, encoded, mr_slice
from tests.receive.peer import VERIFICATION, command_set, echo_command, p_data, store_command

MPPS = "1.2.840.10008.3.1.2.3.3"
RELEASE_RQ = struct.pack(">BxI4x", 5, 4)
ABORT = struct.pack(">BxIxxBB", 7, 4, 0, 0)
#: Context ID of each transfer syntax of MR images, and of the services.
MR_CONTEXTS = {
    str(uid): 2 * number + 1
    for number, uid in enumerate((ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless))
}
ECHO_CONTEXT, MPPS_CONTEXT = 9, 11
_LIES = (0, 1, 2, 6, 7, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_N_CREATE = 0x0140


def request(title: str = "SCANNER1") -> bytes:
    """An A-ASSOCIATE-RQ PDU for MR images in four encodings, C-ECHO and MPPS."""
    contexts = [build_context(MRImageStorage, syntax) for syntax in MR_CONTEXTS]
    contexts += [build_context(VERIFICATION), build_context(MPPS)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = title, "MATINS"
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def image(number: int) -> Dataset:
    """A small MR slice with sequences of undefined length."""
    dataset = mr_slice(number, Rows=8, Columns=8, PixelData=bytes(128))
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "one"
    step = Dataset()
    step.ScheduledProtocolCodeSequence = Sequence([code])
    step["ScheduledProtocolCodeSequence"].is_undefined_length = True
    step.is_undefined_length_sequence_item = True
    dataset.RequestAttributesSequence = Sequence([step])
    dataset["RequestAttributesSequence"].is_undefined_length = True
    return dataset


def data_sets() -> list[tuple[str, bytes]]:
    """(transfer syntax, encoded data set), one of each encoding."""
    made = []
    for number, syntax in enumerate(MR_CONTEXTS, start=1):
        dataset = compressed(image(number), syntax) if UID(syntax).is_encapsulated else image(number)
        made.append((syntax, encoded(dataset, syntax)))
    return made


def recordings(title: str = "SCANNER1") -> list[list[bytes]]:
    """Associations of well-behaved peers, each a list of PDUs."""
    start, end = request(title), RELEASE_RQ
    echo = p_data(ECHO_CONTEXT, 3, echo_command())
    stores = [
        _store(MR_CONTEXTS[syntax], f"1.2.3.4.5.{number}", content, fragment_bytes)
        for (number, (syntax, content)), fragment_bytes in zip(
            enumerate(data_sets(), start=1), (300, 5000, 64, 1000), strict=True
        )
    ]
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    scheduled = Dataset()
    scheduled.StudyInstanceUID = "1.2.3.4"
    step.ScheduledStepAttributesSequence = Sequence([scheduled])
    step.PerformedSeriesSequence = Sequence([])
    elements = [(0x0002, MPPS.encode()), (0x1000, b"1.2.7.1")]
    create = [
        p_data(MPPS_CONTEXT, 3, command_set(_N_CREATE, elements, data_set=True)),
        p_data(MPPS_CONTEXT, 2, encoded(step, ImplicitVRLittleEndian)),
    ]
    return [
        [start, *stores[0], end],
        [start, *stores[1], *stores[2], end],
        [start, echo, *stores[3], echo, end],
        [start, *create, *stores[0], end],
        [start, echo, ABORT],
    ]


def large_recording(title: str = "SCANNER1") -> list[bytes]:
    """A good peer's association with an object that has a file of its own, in fragments that are received into it."""
    content = encoded(mr_slice(9, Rows=800, Columns=800, PixelData=bytes(range(256)) * 5000))
    return [
        request(title),
        *_store(MR_CONTEXTS[str(ExplicitVRLittleEndian)], "1.2.3.4.5.9", content, 100_000),
        RELEASE_RQ,
    ]


def spoiled(recording: list[bytes], others: list[list[bytes]], chance: random.Random) -> bytes:
    """The stream of a recording with one to four faults in it; mostly behind the association request."""
    pdus = [bytearray(pdu) for pdu in recording]
    for _ in range(chance.randint(1, 4)):
        first = 0 if chance.random() < 0.15 else 1
        if len(pdus) <= first:
            break
        chance.choice(_FAULTS)(pdus, chance.randrange(first, len(pdus)), others, chance)
    return b"".join(pdus)


def mangled(content: bytes, chance: random.Random) -> bytes:
    """Bytes with one to six faults in them: flipped bits, lying numbers, pieces cut out or doubled."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        if not made:
            break
        at = chance.randrange(len(made))
        match chance.randrange(5):
            case 0:
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                size, order = chance.choice((2, 4)), chance.choice(("little", "big"))
                made[at : at + size] = (chance.choice(_LIES) & (256**size - 1)).to_bytes(size, order)
            case 2:
                del made[at : at + chance.randrange(1, 64)]
            case 3:
                made[at:at] = made[chance.randrange(len(made)) :][: chance.randrange(1, 64)]
            case _:
                del made[at:]
    return bytes(made)


_Fault = Callable[[list[bytearray], int, list[list[bytes]], random.Random], None]


def _store(context_id: int, sop_instance: str, content: bytes, fragment_bytes: int) -> list[bytes]:
    made = [p_data(context_id, 3, store_command(sop_instance=sop_instance))]
    for start in range(0, len(content), fragment_bytes):
        last = start + fragment_bytes >= len(content)
        made.append(p_data(context_id, 2 if last else 0, content[start : start + fragment_bytes]))
    return made


def _flip(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    if pdus[at]:
        pdus[at][chance.randrange(len(pdus[at]))] ^= 1 << chance.randrange(8)


def _mangle(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    """Behind the headers, which stay right: it gets further."""
    start = 12 if pdus[at][:1] == b"\4" else 6
    inside = mangled(bytes(pdus[at][start:]), chance)
    pdus[at][start:] = inside
    if len(pdus[at]) >= start:
        pdus[at][2:6] = struct.pack(">I", len(pdus[at]) - 6)
        if start == 12:
            pdus[at][6:10] = struct.pack(">I", len(pdus[at]) - 10)


def _lie(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    """About the length of the PDU, of the PDV, or of some element."""
    place = chance.choice((2, 6, 16, chance.randrange(max(1, len(pdus[at])))))
    order = "<" if place > 11 else ">"
    length = len(pdus[at]) + chance.choice((-7, -6, -5, 1, 2)) if chance.random() < 0.5 else chance.choice(_LIES)
    pdus[at][place : place + 4] = struct.pack(f"{order}I", max(0, length) & 0xFFFFFFFF)


def _cut(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    del pdus[at][chance.randrange(len(pdus[at]) + 1) :]


def _end(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    del pdus[at + 1 :]
    del pdus[at][chance.randrange(len(pdus[at]) + 1) :]


def _swap(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    other = chance.randrange(len(pdus))
    pdus[at], pdus[other] = pdus[other], pdus[at]


def _double(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    pdus.insert(chance.randrange(len(pdus) + 1), bytearray(pdus[at]))


def _splice(pdus: list[bytearray], at: int, others: list[list[bytes]], chance: random.Random) -> None:
    pdus[at:at] = [bytearray(pdu) for pdu in chance.choice(others)[chance.randrange(2) :]]


def _drop(pdus: list[bytearray], at: int, _others: list[list[bytes]], _chance: random.Random) -> None:
    del pdus[at]


def _retype(pdus: list[bytearray], at: int, _others: list[list[bytes]], chance: random.Random) -> None:
    """Another PDU type, context ID or control header."""
    if len(pdus[at]) > 11:
        pdus[at][chance.choice((0, 10, 11))] = chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 255))


_FAULTS: tuple[_Fault, ...] = (
    *(_flip, _mangle, _mangle, _mangle, _lie, _cut, _end, _swap, _double, _splice, _drop, _retype),
)
