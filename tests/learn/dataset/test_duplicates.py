"""What is alike is grouped, block by block, as all pairs at once would group it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from node.errors import Misconfigured
from node.learn.dataset import duplicates, open_dataset
from node.learn.dataset.duplicates import close_pairs, components, grouped, members, suggestion
from node.learn.dataset.survey import survey
from node.learn.dataset.thumbnails import averaged, thumbnail_of
from tests.learn import synthetic


def test_a_thumbnail_averages_the_area_that_each_value_covers():
    array = np.arange(12, dtype=np.uint8).reshape(2, 6)
    np.testing.assert_allclose(averaged(array, 3, 1), [[0.5, 2.5, 4.5], [6.5, 8.5, 10.5]])
    # A third value lies half under the first and half under the second.
    np.testing.assert_allclose(averaged(np.array([0.0, 3.0, 6.0]), 2, 0), [1.0, 5.0])
    np.testing.assert_allclose(averaged(np.array([1.0, 5.0]), 4, 0), [1, 1, 5, 5])


def test_thumbnails_do_not_see_brightness_contrast_and_size():
    image = synthetic.picture(3, size=(48, 48)).astype(np.float32)
    larger = np.kron(image, np.ones((2, 2), np.float32))
    small, other = (thumbnail_of(each, 12, is_volume=False) for each in (image, 0.3 * larger + 40))
    assert float(small @ other) == pytest.approx(1, abs=1e-5)
    assert not thumbnail_of(np.full((9, 9), 7, np.uint8), 12, is_volume=False).any()


def test_blocks_find_the_pairs_that_the_whole_product_has(monkeypatch):
    rng = np.random.default_rng(1)
    thumbnails = rng.normal(size=(53, 6)).astype(np.float32)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    whole = np.triu(thumbnails @ thumbnails.T > 0.8, 1)
    for block in (7, 16, 53, 100):
        monkeypatch.setattr(duplicates, "_BLOCK", block)
        found = np.zeros_like(whole)
        for low, high in close_pairs(thumbnails, 0.8):
            found[low, high] = True
        np.testing.assert_array_equal(found, whole)
        labels = components(53, close_pairs(thumbnails, 0.8))
        _, expected = connected_components(whole, directed=False)
        np.testing.assert_array_equal(labels[:, None] == labels, expected[:, None] == expected)


def test_patients_connect_what_likeness_does_not(tmp_path):
    rows = [{"image": f"images/{n:02}.png", "label": "ab"[n % 2], "patient": f"P{n // 2}" if n < 20 else ""}
            for n in range(24)]  # fmt: skip
    file = synthetic.table(tmp_path / "set", rows)
    (tmp_path / "set" / "images" / "05.png").write_bytes((tmp_path / "set" / "images" / "09.png").read_bytes())
    groups = grouped(survey(open_dataset(file)), 0.95)
    assert [keys for keys in members(groups).values() if len(keys) > 2] == [
        tuple(f"images/{n:02}.png" for n in (4, 5, 8, 9))
    ]
    assert groups["images/22.png"] == "images/22.png"


def test_a_threshold_that_makes_one_group_of_all_is_refused_with_a_better_one(tmp_path):
    rng = np.random.default_rng(5)
    body = rng.normal(120, 40, (24, 24))
    for place in range(30):
        image = np.clip(body + rng.normal(0, 8, (24, 24)), 0, 255).astype(np.uint8)
        synthetic.write_picture(tmp_path / "set" / "ab"[place % 2] / f"{place:02}.png", image)
    seen = survey(open_dataset(tmp_path / "set"), thumbnail=24)
    better = suggestion(seen.thumbnails)
    with pytest.raises(Misconfigured, match=rf"near_duplicate: at 0.9 one group holds 30 of 30.*Set it to {better}"):
        grouped(seen, 0.9)
    assert 0.95 < better < 1
    assert members(grouped(seen, better)) == {}


def test_threshold_one_looks_only_for_equal_images(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    near = synthetic.picture(5)
    near[0, 0] ^= 1
    synthetic.write_picture(root / "benign" / "near.png", near)
    (root / "benign" / "same.png").write_bytes((root / "benign" / "benign (7).png").read_bytes())
    assert list(members(grouped(survey(open_dataset(root)), 1.0)).values()) == [
        ("benign/benign (7).png", "benign/same.png")
    ]


def test_the_digest_knows_pixels_labels_and_names_but_not_the_encoding(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 3, "b": 3})
    before = survey(open_dataset(root)).digest
    file = root / "a" / "a (0).png"
    file.write_bytes(file.read_bytes() + b"trailing")
    assert survey(open_dataset(root)).digest == before
    assert survey(open_dataset(root, classes=("b", "a"))).digest != before
    image = synthetic.picture(0)
    image[0, 0] ^= 1
    synthetic.write_picture(file, image)
    assert survey(open_dataset(root)).digest != before


def test_progress_is_told_case_by_case(tmp_path):
    heard = []
    survey(
        open_dataset(synthetic.class_folders(tmp_path / "set", {"a": 2, "b": 1})), progress=lambda *at: heard.append(at)
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]
