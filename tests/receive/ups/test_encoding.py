"""What a stranger writes into a step is read or refused, never more; what is read is written again as it was."""

from __future__ import annotations

import random

import pytest
from pydicom import Dataset
from pydicom.config import IGNORE, settings
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.domain.dicom_json import texts
from node.errors import Refused
from node.receive.ups import encoding
from tests.receive.objects import encoded
from tests.receive.ups.conftest import code, creation, done, made

SYNTAXES = [str(uid) for uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)]


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the port reads."""
    monkeypatch.setattr(settings, "reading_validation_mode", IGNORE)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_data_set_comes_back_as_it_was(syntax: str) -> None:
    dataset = creation(UnifiedProcedureStepPerformedProcedureSequence=done(), PatientWeight="70.5")
    read = encoding.read(encoded(dataset, syntax), syntax)
    assert texts(read, "00100010") == ["Müller^Jörg"]
    assert "00080005" not in read
    written = encoding.written(read, syntax)
    assert encoding.read(written, syntax) == read


def test_an_empty_data_set_says_nothing() -> None:
    assert encoding.read(b"", SYNTAXES[0]) == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_whatever_comes_is_read_or_refused(syntax: str) -> None:
    sound = bytearray(encoded(creation(UnifiedProcedureStepPerformedProcedureSequence=done()), syntax))
    chance = random.Random(7)
    statuses = []
    for _ in range(300):
        broken = bytearray(sound)
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            read = encoding.read(bytes(broken[: chance.randint(1, len(broken))]), syntax)
            encoding.written(read, syntax)
        except Refused as error:
            statuses.append(error.status)
    assert len(statuses) > 100
    assert set(statuses) <= {0x0110, 0x0106, 0x0213}


def test_depth_and_size_are_bounded() -> None:
    deep = made(ScheduledWorkitemCodeSequence=[code()])
    for _ in range(40):
        deep = made(ScheduledWorkitemCodeSequence=[deep])
    with pytest.raises(Refused, match="nested"):
        encoding.read(encoded(deep), SYNTAXES[0])
    large = Dataset()
    large.add_new(0x00091001, "UN", bytes(2 << 20))
    with pytest.raises(Refused) as caught:
        encoding.read(encoded(large), SYNTAXES[0])
    assert caught.value.status == 0x0213


def test_a_value_that_its_vr_cannot_have_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        encoding.read(b"\x28\x00\x10\x00DS\x04\x00nono", SYNTAXES[0])
    assert caught.value.status == 0x0106


@pytest.mark.filterwarnings("ignore")
def test_no_value_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        encoding.read(encoded(creation()).replace(b"ISO_IR 100", b"ISO_IR X^Y"), SYNTAXES[0])
    assert "X^Y" not in caplog.text
