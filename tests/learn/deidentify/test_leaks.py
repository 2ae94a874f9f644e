"""What a folder tells of people: each kind is found in each form in which it may lie there, and none is repeated."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from node.errors import Failed
from node.learn.deidentify.identities import Identity, Kind, Sought
from node.learn.deidentify.leaks import identities, leaks
from node.store.database import open_database
from tests.fakes import FakeClock, arrive, slice_of

UID = "1.2.826.0.1.3680043.8.498.4711"
WHO = Identity(
    names=frozenset({"Müstermann^Erika^^Dr"}),
    patient_ids=frozenset({"KH-4711x", "17"}),
    birth_dates=frozenset({"19700312"}),
    accession_numbers=frozenset({"2025004711"}),
    uids=frozenset({UID}),
)
SOUGHT = Sought([WHO])
NAME, BORN = {Kind.NAME}, {Kind.BIRTH_DATE}


def found(folder: Path) -> dict[str, set[Kind]]:
    return {leak.file: set(leak.kinds) for leak in leaks(folder, SOUGHT)}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("seen by Müstermann today", NAME),
        ("MUESTERMANN", NAME),
        ("mustermann_erika", NAME),
        ("caseMustermann1234", NAME),
        ("ID: KH-4711X.", {Kind.PATIENT_ID}),
        ("kh 4711x", {Kind.PATIENT_ID}),
        ("order 2025004711", {Kind.ACCESSION}),
        ("19700312", BORN),
        ("1970-03-12T00:00", BORN),
        ("12.03.1970", BORN),
        ("3/12/1970", BORN),
        ("12 Mar 1970", BORN),
        ("March 12, 1970", BORN),
        (f"uid={UID}", {Kind.UID}),
        ("", set()),
        ("erik a mann", set()),
        ("KH-4711", set()),
        ("loss 0.2025004711", set()),
        (f"{UID}.5 and 9{UID}", set()),
        ("1.2.840.19700312.7", set()),
        ("patient 17 of 20", set()),
    ],
)
def test_a_text_tells_what_it_tells_and_no_more(text: str, kinds: set[Kind]) -> None:
    assert SOUGHT.in_text(text) == kinds


def test_a_name_that_is_a_common_word_is_found_only_beside_its_other_part() -> None:
    sought = Sought([Identity(names=frozenset({"White^Mask"}))])
    assert sought.in_text("a white background, no mask: the network, the image, White matter") == frozenset()
    assert sought.in_text("white, mask") == sought.in_text("Mask_Anna_WHITE") == NAME
    assert Sought([Identity(names=frozenset({"White^Mask"}))], strict=True).in_text("T1 white matter") == NAME


def test_names_in_other_scripts_are_found_without_spaces_around_them() -> None:
    sought = Sought([Identity(names=frozenset({"Yamada^Tarou=山田^太郎=やまだ^たろう", "Иванов^Пётр"}))])
    assert sought.in_text("患者山田太郎様") == NAME
    assert sought.in_text("ИВАНОВ") == NAME
    assert sought.in_text("山 and 川") == frozenset()


def test_nobody_is_not_looked_for() -> None:
    sought = Sought([Identity(names=frozenset({"UNKNOWN^MALE", "", "Nepomuk^X"}))])
    assert sought.in_text("unknown male, X") == frozenset()
    assert sought.in_text("Nepomuk") == NAME


def png(text: str) -> bytes:
    described = PngInfo()
    described.add_text("Comment", text, zip=True)
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, "png", pnginfo=described)
    return stream.getvalue()


def pdf(text: str, *, subset: bool) -> bytes:
    stream = io.BytesIO()
    drawn = Canvas(stream, pageCompression=1)
    if subset:
        pdfmetrics.registerFont(TTFont("Vera", "Vera.ttf"))
    drawn.setFont("Vera" if subset else "Helvetica", 12)
    drawn.drawString(50, 500, text)
    drawn.save()
    return stream.getvalue()


def dicom(syntax: str = ExplicitVRLittleEndian, **values: object) -> bytes:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, "2.25.1"
    made.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def private(text: str) -> bytes:
    inner = Dataset()
    inner.private_block(0x0099, "ACME", create=True).add_new(1, "OB", text.encode("utf-8"))
    return dicom(ReferencedSeriesSequence=[inner])


def zipped(text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("deep/notes.json", json.dumps({"text": text}))
    return stream.getvalue()


FORMS: dict[str, Callable[[str], bytes]] = {
    "utf-8": lambda text: text.encode(),
    "latin-1": lambda text: b"\x01\xfe\x00" + text.encode("latin-1"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 in numbers": lambda text: bytes(range(256)) + b"\0" + text.encode("utf-16-le") + bytes(9),
    "big utf-16": lambda text: text.encode("utf-16-be"),
    "json": lambda text: json.dumps({"who": text}).encode(),
    "html": lambda text: f"<p>{text}</p>".encode("ascii", "xmlcharrefreplace"),
    "picture in html": lambda text: b'<img src="data:image/png;base64,' + base64.b64encode(png(text)) + b'">',
    "compressed text of a PNG": png,
    "pdf": lambda text: pdf(text, subset=False),
    "pdf with its own font": lambda text: pdf(text, subset=True),
    "gzip": lambda text: gzip.compress(text.encode()),
    "zip": zipped,
    "safetensors": lambda text: len(text.encode()).to_bytes(8, "little") + text.encode() + bytes(range(256)),
    "dicom": lambda text: dicom(ImageComments=text),
    "deflated dicom": lambda text: dicom(DeflatedExplicitVRLittleEndian, ImageComments=text),
    "private value in a sequence": private,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_is_found_in_every_form(tmp_path: Path, form: str) -> None:
    whole = f"Müstermann, KH-4711x, 1970-03-12, 2025004711, {UID}"
    if form == "pdf with its own font":
        # Letters beyond ASCII have numbers of the font's own.
        whole = whole.replace("Müstermann", "Muestermann Erika")
    (tmp_path / "some.file").write_bytes(FORMS[form](whole))
    (tmp_path / "clean.file").write_bytes(FORMS[form]("nobody, 0815, 2001-01-01, 1.2.3.4.5"))
    assert found(tmp_path) == {"some.file": set(Kind)}


def test_a_name_of_a_file_tells_too_and_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "Muestermann^Erika").mkdir()
    (tmp_path / "Muestermann^Erika" / "a.dcm").write_bytes(b"x")
    (leak,) = leaks(tmp_path, SOUGHT)
    assert leak.kinds == (Kind.NAME,)
    assert "muestermann" not in leak.file.lower()
    assert leak.file.endswith("].dcm") or "its name tells it" in leak.file


def test_an_id_too_short_for_running_text_is_found_where_an_identifier_stands(tmp_path: Path) -> None:
    (tmp_path / "told.dcm").write_bytes(dicom(PatientID="17"))
    (tmp_path / "other.dcm").write_bytes(dicom(ImageComments="17 of 20"))
    assert found(tmp_path) == {"told.dcm": {Kind.PATIENT_ID}}


def test_numbers_of_a_network_are_no_leak(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "weights.safetensors").write_bytes(random.bytes(1 << 19))
    (tmp_path / "deflated.bin").write_bytes(zlib.compress(random.bytes(1 << 16)))
    assert found(tmp_path) == {}


def test_what_is_held_is_what_is_looked_for(tmp_path: Path) -> None:
    db, clock = open_database(tmp_path / "var", "test"), FakeClock()
    try:
        arrive(db, clock.now(), slice_of(1))
        sought = Sought(identities(db))
    finally:
        db.close()
    assert sought.in_text("Doe, Jane") == NAME
    assert sought.in_text("1 Jan 1970") == BORN
    assert sought.in_text("1.2.3.1.1.1 and 1.2.3.1.1") == {Kind.UID}
    assert sought.in_identifier("P1") == {Kind.PATIENT_ID}


def test_a_folder_that_is_not_there_is_no_clean_one(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="not there"):
        leaks(tmp_path / "nowhere", SOUGHT)
