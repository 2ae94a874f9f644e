from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.apps.detection.networks import retinanet_network
from PIL import Image as Picture

from node.domain.model_card import EngineChoice, Task
from node.imaging.bundle.feature_pyramid import resnet_feature_pyramid
from node.imaging.images import Image
from node.imaging.pipelines import Given, Reading
from node.imaging.volume import Volume
from tests.imaging.bundles import ZOO, as_nifti, bundle_card, by_monai, loaded, model_folder, roles, textured, volume_of
from tests.imaging.series import Made
from tests.interop.programs import missing

CT = {"intercept": -1024.0, "origin": (-30.0, -40.0, 16.0)}
AXIAL = Made(spacing=(1.5, 1.5), step_mm=3.0, **CT)
SAGITTAL = Made(spacing=(2.0, 1.5), step_mm=2.5, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0), **CT)
FEET_FIRST = Made(spacing=(1.0, 1.25), step_mm=3.0, orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0))

#: Bundle → how the series lies, its shape, and whether it comes through without a voxel moved.
CASES: dict[str, tuple[Made, tuple[int, int, int]]] = {
    "spleen_ct": (SAGITTAL, (20, 40, 36)),
    # No voxel of the series lies half-way between two of the network's: which of them is nearer is chance.
    "whole_body_ct": (Made(spacing=(1.4, 1.4), step_mm=3.2, **CT), (14, 40, 44)),
    "prostate_mr": (FEET_FIRST, (10, 30, 28)),
    "short_axis_mr": (FEET_FIRST, (5, 52, 48)),
    "swin_abdomen_ct": (AXIAL, (16, 60, 64)),
    "template_yaml": (FEET_FIRST, (16, 32, 24)),
}


TASKS = {"inside_rgb": Task.CLASSIFICATION, "nodule_ct": Task.DETECTION}


class Zoo(dict[str, Path]):
    """Models' folders, made when they are asked for, and what their own steps give for the series of `CASES`."""

    def __init__(self, into: Path) -> None:
        super().__init__()
        self.into = into
        self.read: dict[str, tuple[Volume, Reading]] = {}

    def __missing__(self, name: str) -> Path:
        self[name] = model_folder(self.into, ZOO / name / "configs", TASKS.get(name, Task.SEGMENTATION))
        return self[name]

    def reading(self, name: str) -> tuple[Volume, Reading]:
        if name not in self.read:
            made, shape = CASES[name]
            volume = volume_of(self.into / f"dicom of {name}", shape, made)
            self.read[name] = volume, loaded(self[name], bundle_card(self[name])).run(Given(volumes={"": volume}))
        return self.read[name]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.mark.parametrize("name", CASES)
def test_an_unmodified_bundle_reads_a_dicom_series_exactly_as_monai_reads_the_same_array(
    zoo: Zoo, name: str, tmp_path: Path
):
    volume, reading = zoo.reading(name)
    assert reading.labels is not None
    assert reading.labels.shape == volume.grid.shape
    assert reading.labels.dtype == np.uint8
    assert len(np.unique(reading.labels)) > 1
    theirs = by_monai(zoo[name], [{"image": str(as_nifti(volume, tmp_path / "i.nii"))}], tmp_path / "out")[0]
    assert np.array_equal(np.rint(theirs[0].numpy().T), reading.labels)
    assert set(reading.timings) == {"prepare_s", "model_s", "finish_s"}


@pytest.mark.parametrize("name", [name for name in CASES if name != "prostate_mr"])
def test_the_planned_way_gives_what_the_bundle_s_own_steps_give(zoo: Zoo, name: str):
    volume, reading = zoo.reading(name)
    card = bundle_card(zoo[name], engine=EngineChoice.AUTO)
    planned = loaded(zoo[name], card).run(Given(volumes={"": volume}))
    assert planned.labels is not None
    assert (planned.labels == reading.labels).mean() >= 0.9995


def test_a_gpu_that_is_lost_while_it_is_built_ends_the_process(zoo: Zoo, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise torch.AcceleratorError("unspecified launch failure", 719)

    monkeypatch.setattr("node.imaging.bundle.fast.Planned", fails)
    with pytest.raises(torch.AcceleratorError):
        loaded(zoo["short_axis_mr"], bundle_card(zoo["short_axis_mr"], engine=EngineChoice.AUTO))


def test_where_the_planned_way_cannot_be_built_the_bundle_s_own_steps_are_taken_and_that_is_told(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object) -> None:
        raise RuntimeError("no kernel image is available\nCompile with ...")

    monkeypatch.setattr("node.imaging.bundle.fast.Planned", fails)
    volume, reading = zoo.reading("short_axis_mr")
    card = bundle_card(zoo["short_axis_mr"], engine=EngineChoice.AUTO)
    found = loaded(zoo["short_axis_mr"], card).run(Given(volumes={"": volume}))
    assert np.array_equal(found.labels, reading.labels)
    told = "read with the bundle's own steps: the faster way could not be built (no kernel image is available)"
    assert told in found.notes
    assert told not in reading.notes


def test_many_channels_come_back_one_by_one_and_that_is_said(zoo: Zoo):
    notes = zoo.reading("swin_abdomen_ct")[1].notes
    assert "14 channels were brought back to the series' grid one by one" in notes
    assert any("SwinUNETR without img_size" in note for note in notes)


def test_four_series_become_the_channels_in_the_order_of_the_roles(zoo: Zoo, tmp_path: Path):
    names = ("T1c", "T1", "T2", "FLAIR")
    made = Made(spacing=(1.0, 1.0), step_mm=1.0)
    volumes = {name: volume_of(tmp_path / name, (12, 40, 36), made, seed) for seed, name in enumerate(names)}
    card = bundle_card(zoo["brain_tumour_mr"], segments=3, roles=roles(*names), parameters={"labels": (1.0, 2.0, 4.0)})
    # In whatever order they come.
    shuffled = {name: volumes[name] for name in ("FLAIR", "T1", "T2", "T1c")}
    reading = loaded(zoo["brain_tumour_mr"], card).run(Given(volumes=shuffled))
    files = [str(as_nifti(volumes[name], tmp_path / f"{name}.nii")) for name in names]
    theirs = by_monai(zoo["brain_tumour_mr"], [{"image": files}], tmp_path / "out")[0][0].numpy().T
    assert reading.labels is not None
    assert set(np.unique(reading.labels)) == {0, 1, 2, 3}
    assert np.array_equal(np.array([0, 1, 2, 4])[reading.labels], theirs)
    assert not any("grid" in note for note in reading.notes)


def test_a_series_on_another_grid_is_laid_on_that_of_the_first_role_and_that_is_said(zoo: Zoo, tmp_path: Path):
    names = ("T1c", "T1", "T2", "FLAIR")
    made = Made(spacing=(1.0, 1.0), step_mm=1.0)
    volumes = {name: volume_of(tmp_path / name, (12, 40, 36), made, seed) for seed, name in enumerate(names)}
    volumes["T2"] = volume_of(tmp_path / "other", (8, 20, 18), Made(spacing=(2.0, 2.0), step_mm=1.5))
    card = bundle_card(zoo["brain_tumour_mr"], segments=3, roles=roles(*names), parameters={"labels": (1.0, 2.0, 4.0)})
    reading = loaded(zoo["brain_tumour_mr"], card).run(Given(volumes=volumes))
    assert reading.labels is not None
    assert reading.labels.shape == volumes["T1c"].grid.shape
    assert "the series for T2 was laid on the grid of the series for T1c" in reading.notes


def colours(seed: int, rows: int = 60, columns: int = 90) -> np.ndarray:
    planes = [textured((rows, columns), seed * 3 + plane, high=255) for plane in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def test_a_network_of_colour_images_reads_each_as_monai_reads_a_picture(zoo: Zoo, tmp_path: Path):
    arrays = [colours(1), colours(2)]
    images = tuple(Image(array=array, sop_instance_uid=f"1.2.{n}") for n, array in enumerate(arrays))
    reading = loaded(zoo["tool_rgb"], bundle_card(zoo["tool_rgb"])).run(Given(images=images))
    assert reading.labels is not None
    assert reading.labels.shape == (2, 60, 90)
    files = []
    for number, array in enumerate(arrays):
        Picture.fromarray(array).save(tmp_path / f"{number}.png")
        files.append({"image": str(tmp_path / f"{number}.png")})
    theirs = by_monai(zoo["tool_rgb"], files, tmp_path / "out")
    for mine, other in zip(reading.labels, theirs, strict=True):
        assert 0 < mine.sum() < mine.size
        assert np.array_equal(other[0].numpy().T, mine)


def test_a_classifier_gives_a_row_of_logits_an_image_whose_logistic_is_its_softmax(zoo: Zoo, tmp_path: Path):
    arrays = [colours(1), colours(2, rows=40)]
    images = tuple(Image(array=array, sop_instance_uid=f"1.2.{n}") for n, array in enumerate(arrays))
    folder = zoo["inside_rgb"]
    reading = loaded(folder, bundle_card(folder, Task.CLASSIFICATION)).run(Given(images=images))
    assert reading.logits is not None
    assert reading.logits.shape == (2, 2)
    assert reading.logits[0] != pytest.approx(reading.logits[1])
    shares = 1 / (1 + np.exp(-reading.logits))
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0])
    for number, array in enumerate(arrays):
        Picture.fromarray(array).save(tmp_path / f"{number}.png")
        chosen = by_monai(folder, [{"image": str(tmp_path / f"{number}.png")}], tmp_path)[0]
        assert bool(chosen[0] > 0) == bool(reading.logits[number, 1] > reading.logits[number, 0])


def test_a_detector_s_boxes_lie_where_the_bundle_s_own_world_coordinates_say(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = zoo["nodule_ct"]
    volume = volume_of(tmp_path / "dicom", (9, 18, 20), Made(spacing=(1.25, 1.0), step_mm=2.0, **CT))
    reading = loaded(folder, bundle_card(folder, Task.DETECTION)).run(Given(volumes={"": volume}))
    assert reading.boxes
    assert any("feature pyramid" in note for note in reading.notes)
    for box in reading.boxes:
        assert all(0 <= low < high <= size for (low, high), size in zip(box.edges, volume.grid.shape, strict=True))
    monkeypatch.setattr(retinanet_network, "resnet_fpn_feature_extractor", resnet_feature_pyramid)
    theirs = world_boxes(folder, as_nifti(volume, tmp_path / "i.nii"))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    inside = 0
    for box, other in zip(sorted(reading.boxes, key=lambda box: -box.score), theirs, strict=True):
        middle = np.array([(low + high) / 2 - 0.5 for low, high in box.edges])
        place = (lps @ volume.grid.matrix @ [*middle, 1.0])[:3]
        sizes = zip(box.edges, volume.grid.shape, strict=True)
        touching = any(low <= 0.5 or high >= size - 0.5 for (low, high), size in sizes)
        # At the border MONAI cuts half a voxel (0.75 mm at most) elsewhere.
        assert (*place, box.score) == pytest.approx(other, abs=0.8 if touching else 1e-3)
        inside += not touching
    assert inside


def world_boxes(folder: Path, file: Path) -> list[tuple[float, ...]]:
    """(x, y, z, score) in RAS mm as MONAI's own steps give them, the surest first."""
    from monai.apps.detection.transforms.dictionary import AffineBoxToWorldCoordinated, ConvertBoxModed
    from monai.bundle.config_parser import ConfigParser

    parser = ConfigParser()
    parser.read_config(folder / "bundle/configs/inference.json")
    assert isinstance(parser.config, dict)
    del parser.config["preprocessing"]["transforms"][1]["reader"]
    del parser.config["preprocessing"]["transforms"][1]["affine_lps_to_ras"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for section in ("detector_ops", "network"):
            parser.get_parsed_content(section)
        detector = parser.get_parsed_content("detector").eval()
        detector.network.load_state_dict(torch.load(folder / "bundle/models/model.pt", weights_only=True))
        image = parser.get_parsed_content("preprocessing")({"image": str(file)})["image"]
        found = detector([image.as_tensor()], use_inferer=True)[0]
        boxes = {**found, "image": image}
        clip = parser.get_parsed_content("postprocessing").transforms[0]
        boxes = clip({**boxes, "label": torch.stack([boxes["label"].float(), boxes["label_scores"]], dim=-1)})
        boxes = AffineBoxToWorldCoordinated("box", box_ref_image_keys="image", affine_lps_to_ras=False)(boxes)
        boxes = ConvertBoxModed("box", src_mode="xyzxyz", dst_mode="cccwhd")(boxes)
    places = [(*map(float, box[:3]), float(label[1])) for box, label in zip(boxes["box"], boxes["label"], strict=True)]
    return sorted(places, key=lambda place: -place[3])


@pytest.mark.interop
def test_monai_s_own_bundle_run_writes_the_same_labels(zoo: Zoo, tmp_path: Path):
    """`monai.bundle.run`, what the command runs, whole: its engine, its loaders, its files."""
    if importlib.util.find_spec("ignite") is None:
        missing("MONAI's evaluator needs pytorch-ignite: make interop-install brings it")
    folder = tmp_path / "spleen_ct"
    shutil.copytree(zoo["spleen_ct"], folder)
    made, shape = CASES["spleen_ct"]
    volume = volume_of(tmp_path / "dicom", shape, made)
    (tmp_path / "data").mkdir()
    as_nifti(volume, tmp_path / "data" / "case.nii.gz")
    bundle = folder / "bundle"
    given = {
        "config_file": str(bundle / "configs/inference.json"),
        "bundle_root": str(bundle),
        "dataset_dir": str(tmp_path / "data"),
        "output_dir": str(tmp_path / "out"),
    }
    program = f"from monai.bundle import run; run(run_id='run', **{given!r})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    written = list((tmp_path / "out").rglob("*.nii.gz"))
    assert len(written) == 1, said.stderr[-3000:]
    theirs = np.asarray(nib.loadsave.load(written[0]).get_fdata())
    mine = loaded(folder, bundle_card(folder)).run(Given(volumes={"": volume})).labels
    assert mine is not None
    assert np.array_equal(theirs.squeeze().T, mine)
