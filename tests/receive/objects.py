"""Objects to send: small MR slices in any encoding, and ways to break them."""

from __future__ import annotations

import io
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from node.config import Peer, Settings
from node.receive.part10 import head as part10_head
from tests.site import free_port

SERIES = "1.2.3.4.5"
STUDY = "1.2.3.4"
PEER = {"name": "SCANNER", "ae_title": "SCANNER1", "addresses": ["127.0.0.1/32"], "roles": ["source"], "issuer": "A"}


def mr_slice(number: int = 1, *, seed: int = 0, signed: bool = False, **changes: object) -> Dataset:
    """Slice `number` of a made-up MR series, 40 by 36 pixels, Explicit VR Little Endian."""
    dataset = Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"{SERIES}.{number}"
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = SERIES
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "P1"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "F"
    dataset.PatientAge = "045Y"
    dataset.StudyDate = "20260101"
    dataset.StudyTime = "101010"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "MR"
    dataset.Manufacturer = "ACME"
    dataset.SeriesDescription = "T1"
    dataset.SeriesNumber = 3
    dataset.InstanceNumber = number
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.FrameOfReferenceUID = "1.2.9"
    dataset.ImagePositionPatient = [0, 0, 2 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 2
    dataset.EchoTime = 2.5
    dataset.Rows, dataset.Columns = 40, 36
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = int(signed)
    low, high = (-2048, 2048) if signed else (0, 4096)
    values = np.random.default_rng(seed).integers(low, high, (40, 36), dtype=np.int16)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set alone, as it goes over the network; big endian pixels are swapped as 16-bit words."""
    plain = Dataset({element.tag: element for element in dataset})
    if syntax == ExplicitVRBigEndian and "PixelData" in plain:
        plain.add_new("PixelData", "OW", np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes())
    stream = io.BytesIO()
    if UID(syntax).is_encapsulated:
        plain["PixelData"].is_undefined_length = True
    dcmwrite(stream, plain, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian)
    return stream.getvalue()


def compressed(dataset: Dataset, syntax: str) -> Dataset:
    """The same image in a compressed transfer syntax."""
    made = deepcopy(dataset)
    made.compress(syntax, generate_instance_uid=False)
    return made


def part10(dataset: Dataset, syntax: str = "", *, sending: str = "") -> bytes:
    """A Part 10 file of the data set, in its own transfer syntax or in another native one."""
    syntax = syntax or dataset.file_meta.TransferSyntaxUID
    head = part10_head(
        sop_class_uid=dataset.get("SOPClassUID", ""),
        sop_instance_uid=dataset.get("SOPInstanceUID", ""),
        transfer_syntax_uid=syntax,
        sending=sending,
        receiving="",
    )
    return head + encoded(dataset, syntax)


def settings_for(folder: Path, *peers: dict[str, object], **sections: dict[str, object]) -> Settings:
    """Settings of a site whose one scanner is on this machine, unless `peers` says otherwise."""
    folder.mkdir(exist_ok=True)
    receive = {"artim_s": 2.0, "idle_s": 5.0, "describe_limit_s": 5.0, **sections.get("receive", {})}
    return Settings.model_validate(
        {
            "node": {"port": free_port(), **sections.get("node", {})},
            "data": {"folder": folder, "minimum_free_percent": 0.0, **sections.get("data", {})},
            "receive": receive,
            "peers": [Peer.model_validate(peer) for peer in (peers or (PEER,))],
        }
    )
