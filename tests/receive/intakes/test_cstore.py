from __future__ import annotations

import shutil
import subprocess
import threading
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

from node.config import Settings
from node.errors import Misconfigured
from node.receive.intakes import cstore, intakes
from node.receive.keeper import Keeper
from node.receive.part10 import read_meta
from node.receive.syntaxes import ACCEPTED, DEFLATED, storage_classes
from node.store import instances
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import compressed, encoded, mr_slice
from tests.receive.peer import calling, connect, store, store_dataset

ULTRASOUND_RETIRED = "1.2.840.10008.5.1.4.1.1.6"


def test_every_intake_is_found_and_says_what_it_is():
    found = {intake.NAME: intake for intake in intakes()}
    assert {"cstore", "folder"} <= set(found)
    assert all(callable(intake.start) for intake in found.values())


@pytest.mark.parametrize("syntax", sorted(set(ALL_TRANSFER_SYNTAXES) | set(ACCEPTED)))
def test_every_transfer_syntax_is_accepted_but_the_deflated_ones(door: cstore.Acceptor, syntax: str):
    with calling(door.port, syntaxes=(syntax,), classes=(MRImageStorage,)) as association:
        accepted = [context.transfer_syntax for context in association.accepted_contexts]
    assert accepted == ([] if syntax in DEFLATED else [[syntax]])


def test_every_storage_class_is_accepted_also_retired_ones(door: cstore.Acceptor):
    classes = storage_classes()
    assert len(classes) > 180
    assert ULTRASOUND_RETIRED in classes
    for start in range(0, len(classes), 120):
        some = classes[start : start + 120]
        with calling(door.port, classes=some) as association:
            assert {context.abstract_syntax for context in association.accepted_contexts} == set(some)


def test_a_private_class_is_not_accepted(door: cstore.Acceptor):
    with calling(door.port, classes=("1.2.3.4", MRImageStorage)) as association:
        assert [context.abstract_syntax for context in association.rejected_contexts] == ["1.2.3.4"]


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless]
)
def test_the_bytes_are_kept_as_they_came(
    door: cstore.Acceptor, keeper: Keeper, db: Database, spool: Spool, syntax: UID
):
    dataset = mr_slice()
    dataset = compressed(dataset, syntax) if syntax.is_encapsulated else dataset
    content = encoded(dataset, syntax)
    with calling(door.port, syntaxes=(syntax,)) as association:
        assert store(association, content, syntax=syntax).Status == 0x0000
    assert keeper.settle()
    [held] = instances.of_study(db)
    whole = spool.read(held.path)
    meta = read_meta(whole)
    assert whole[meta.dataset_offset :] == content
    assert (held.transfer_syntax_uid, meta.transfer_syntax_uid) == (syntax, syntax)
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("SCANNER1", "MATINS")
    assert dcmread(BytesIO(whole)).PatientName == "Doe^Jane"


def test_two_associations_that_send_one_object_at_once_both_succeed(
    door: cstore.Acceptor, keeper: Keeper, db: Database
):
    together, answers = threading.Barrier(2), []

    def send() -> None:
        with calling(door.port) as association:
            for number in range(1, 11):
                together.wait(20)
                answers.append(store_dataset(association, mr_slice(number)))

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert answers == [0x0000] * 20
    assert keeper.settle()
    assert len(instances.of_study(db, current_only=False)) == 10


def test_the_same_again_and_another_version_are_both_successes(door: cstore.Acceptor, keeper: Keeper, db: Database):
    with calling(door.port) as association:
        assert store_dataset(association, mr_slice()) == 0x0000
        assert store_dataset(association, mr_slice()) == 0x0000
        assert store_dataset(association, mr_slice(PatientID="P2")) == 0x0000
    assert keeper.settle()
    assert [each.current for each in instances.of_study(db, current_only=False)] == [False, True]


def test_a_port_that_is_taken_is_named(settings: Settings, keeper: Keeper, door: cstore.Acceptor):
    with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1:{settings.node.port}"):
        cstore.start(settings, keeper)


def test_stopping_waits_for_who_is_inside_and_takes_nobody_new(door: cstore.Acceptor):
    with calling(door.port) as association:
        stopper = threading.Thread(target=door.stop, args=(20.0,))
        stopper.start()
        while door.is_alive():
            pass
        assert store_dataset(association, mr_slice()) == 0x0000
        with pytest.raises(ConnectionRefusedError):
            connect(door.port)
        assert stopper.is_alive()
    stopper.join(20)
    assert not stopper.is_alive()


def test_each_odd_object_is_kept_or_refused_with_a_reason(
    door: cstore.Acceptor, keeper: Keeper, db: Database, test_data: Path
):
    odd = sorted((test_data / "dicom" / "pydicom-data").glob("*.dcm"))
    assert odd
    answers: dict[str, tuple[int, str]] = {}
    for file in odd:
        whole = file.read_bytes()
        meta = read_meta(whole)
        dataset = dcmread(file, stop_before_pixels=True, force=True)
        with calling(door.port, classes=(dataset.SOPClassUID,), syntaxes=(meta.transfer_syntax_uid,)) as association:
            answer = store(
                association,
                whole[meta.dataset_offset :],
                sop_class=dataset.SOPClassUID,
                sop_instance=dataset.get("SOPInstanceUID") or "1.2.3",
                syntax=meta.transfer_syntax_uid,
            )
        answers[file.name] = (answer.Status, answer.ErrorComment)
    refused = {name: answer for name, answer in answers.items() if answer[0] != 0x0000}
    assert all(status in (0xC000, 0x0117) and reason for status, reason in refused.values())
    assert keeper.settle()
    assert len(answers) - len(refused) == len(instances.of_study(db, current_only=False))
    assert len(refused) <= 10


def test_slices_without_uids_are_refused_by_name(door: cstore.Acceptor, db: Database, test_data: Path):
    file = min((test_data / "dicom" / "totalseg_ct20").iterdir())
    whole = file.read_bytes()
    meta = read_meta(whole)
    ct, syntax = "1.2.840.10008.5.1.4.1.1.2", meta.transfer_syntax_uid
    with calling(door.port, classes=(ct,), syntaxes=(syntax,)) as association:
        answer = store(association, whole[meta.dataset_offset :], sop_class=ct, syntax=syntax)
    assert answer.Status == 0xC000
    assert answer.ErrorComment.startswith("missing or empty: SOP Class UID, SOP Instance UID, Study Inst")
    assert instances.of_study(db) == []


@pytest.mark.interop
def test_dcmtk_stores_and_echoes(door: cstore.Acceptor, keeper: Keeper, db: Database, test_data: Path):
    if not shutil.which("storescu"):
        pytest.skip("DCMTK's storescu is not installed")
    peer = ["-aet", "SCANNER1", "-aec", "MATINS", "127.0.0.1", str(door.port)]
    subprocess.run(["echoscu", *peer], check=True, timeout=30)
    folder = test_data / "dicom" / "brain_tumor_progression_Study1"
    subprocess.run(["storescu", "+sd", "+r", *peer, str(folder)], check=True, timeout=60)
    assert keeper.settle()
    assert len(instances.of_study(db)) == 76
    refused = subprocess.run(["echoscu", "-aet", "NOBODY", *peer[2:]], capture_output=True, text=True, timeout=30)
    assert "Calling AE Title Not Recognized" in refused.stdout + refused.stderr
