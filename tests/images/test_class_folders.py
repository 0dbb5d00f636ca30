from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from seekloop.commands.configs import load_entry
from seekloop.contracts.errors import ConfigError
from seekloop.images.class_folders import ClassFolders, squared

CONF = Path(__file__).parents[2] / "conf" / "dataset" / "folder.yaml"


def source(root, **keys):
    given = {
        **load_entry(CONF),
        "root": root and str(root),
        "cache": None,
        "size": 8,
        "shift": 1,
        **keys,
    }
    del given["_target_"]
    return ClassFolders(**given)


@pytest.fixture
def flat(tmp_path, save_image):
    for name, colour in (("blue", "blue"), ("red", "red")):
        for number in range(5):
            save_image(tmp_path / name / f"{number}.png", (10, 8), colour)
    (tmp_path / "notes.txt").write_text("no image")
    save_image(tmp_path / "loose.png")
    return tmp_path


def test_folders_become_classes_and_a_share_is_held_out(flat):
    pool = source(flat, test=0.4).load()
    assert pool.classes == ("blue", "red")
    assert (len(pool.train), len(pool.test)) == (6, 4)
    for part in (pool.train, pool.test):
        red = part.images[:, 0, 0, 0] == 255
        assert red.tolist() == (part.labels == 1).tolist()
    assert torch.bincount(pool.test.labels).tolist() == [2, 2]


def test_a_path_serves_as_a_text_does(flat):
    given = replace(source(flat), root=flat, cache=flat.parent / "cache")
    assert given.root == flat
    assert given.fingerprint() == source(flat).fingerprint()


def test_train_and_test_folders_are_kept_apart(tmp_path, save_image):
    for part, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            for number in range(count):
                save_image(tmp_path / part / name / "deeper" / f"{number}.jpg")
    pool = source(tmp_path).load()
    assert (len(pool.train), len(pool.test), pool.classes) == (6, 4, ("a", "b"))


def test_a_square_is_cut_from_the_middle():
    """Red, green and blue thirds of a 12x4 picture: its middle is green."""
    image = Image.new("RGB", (12, 4), "red")
    image.paste("lime", (4, 0, 8, 4))
    image.paste("blue", (8, 0, 12, 4))
    assert squared(image, 4).flatten(1).amin(dim=1).tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "red" / "0.png").write_bytes(b"x"), "1 images cannot be decoded.*0.png"),
        (lambda root: [path.unlink() for path in (root / "red").iterdir()], "has 1 folders with images"),
    ],
)
def test_folders_that_cannot_work_are_refused(flat, change, message):
    change(flat)
    with pytest.raises(ConfigError, match=f"root=.*{message}"):
        source(flat).load()


def test_parts_with_other_classes_are_refused(tmp_path, save_image):
    for path in ("train/a", "train/b", "test/a", "test/c"):
        save_image(tmp_path / path / "0.png")
    with pytest.raises(ConfigError, match="has the classes c, and train has not"):
        source(tmp_path).load()
    (tmp_path / "test" / "c" / "0.png").unlink()
    with pytest.raises(ConfigError, match="has no images of b"):
        source(tmp_path).load()


def test_keys_that_cannot_work_are_refused(flat):
    for keys, message in (({"size": 0}, "size=0"), ({"test": 0.0}, "test=0.0")):
        with pytest.raises(ConfigError, match=message):
            source(flat, **keys).load()
    with pytest.raises(ConfigError, match=r"root=.*no such folder"):
        source(flat / "nowhere").load()
    with pytest.raises(ConfigError, match=r"root=None .*needs a folder"):
        source(None).load()


def test_the_fingerprint_knows_names_and_contents(flat, save_image):
    before = source(flat).fingerprint()
    assert source(flat).fingerprint() == before != source(flat, size=16).fingerprint()
    save_image(flat / "red" / "0.png", (10, 8), "green")
    assert source(flat).fingerprint() != before
