import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.protocols import Collection
from seekloop.images import files
from seekloop.images.files import FileCollection, load_facts, save_facts
from seekloop.images.objects import annotate

NOTHING = annotate([], ())[0]
LONG_AGO = 1_000_000_000


def collection(root, paths, cache=None):
    return FileCollection("test", root, paths, NOTHING, [], str(cache) if cache else None)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    (folder / "b").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b/a.png", "blue")):
        Image.new("RGB", (4, 3), colour).save(folder / name)
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    return folder


PATHS = ["a.png", "b/a.png"]


def test_it_is_a_collection_that_reads_by_position(root):
    images = collection(root, PATHS)
    assert isinstance(images, Collection)
    assert images.read(1).getpixel((0, 0)) == (0, 0, 255)
    assert pickle.loads(pickle.dumps(images)).read(0).getpixel((0, 0)) == (255, 0, 0)


def test_the_fingerprint_is_the_same_elsewhere_and_after_touching(root, tmp_path):
    before = collection(root, PATHS, tmp_path / "cache").fingerprint()
    os.utime(root / "a.png")
    assert collection(root, PATHS, tmp_path / "cache").fingerprint() == before
    shutil.copytree(root, tmp_path / "elsewhere")
    assert collection(tmp_path / "elsewhere", PATHS).fingerprint() == before


@pytest.mark.parametrize("restore_times", [False, True])
def test_one_changed_byte_changes_the_fingerprint(root, tmp_path, monkeypatch, restore_times):
    """Same path, same size, even the same mtime: the change of status still gives it away."""
    monkeypatch.setattr(files, "SETTLED_NS", -1)  # remember hashes at once
    before = collection(root, PATHS, tmp_path / "cache").fingerprint()
    content = bytearray((root / "a.png").read_bytes())
    content[-1] ^= 1
    (root / "a.png").write_bytes(content)
    if restore_times:
        os.utime(root / "a.png", (LONG_AGO, LONG_AGO))
    assert collection(root, PATHS, tmp_path / "cache").fingerprint() != before


def test_a_file_just_written_is_not_trusted_to_its_times(root, tmp_path):
    """Within one tick of the clock two contents can have the same times, so a fresh file is hashed every time."""
    (root / "a.png").write_bytes((root / "a.png").read_bytes())
    collection(root, PATHS, tmp_path / "cache").fingerprint()
    remembered = [load_facts(file) for file in (tmp_path / "cache").glob("*.json")]
    assert all("a.png" not in entries for entries in remembered)


def test_order_and_names_belong_to_the_fingerprint(root):
    shutil.copy(root / "a.png", root / "c.png")
    prints = {collection(root, paths).fingerprint() for paths in (["a.png"], ["c.png"], PATHS, PATHS[::-1])}
    assert len(prints) == 4


def test_remembered_files_are_not_read_again(root, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    before = collection(root, PATHS, tmp_path / "cache").fingerprint()
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *_: pytest.fail("a file was read again"))
    assert collection(root, PATHS, tmp_path / "cache").fingerprint() == before


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a.png": [1]}', "{"])
def test_a_damaged_cache_costs_time_only(root, tmp_path, monkeypatch, content):
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    before = collection(root, PATHS, tmp_path / "cache").fingerprint()
    [memory] = (tmp_path / "cache").glob("*.json")
    memory.write_text(content)
    assert collection(root, PATHS, tmp_path / "cache").fingerprint() == before
    assert set(json.loads(memory.read_text())) == set(PATHS)


def test_a_cache_that_cannot_be_written_costs_time_only(root, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert collection(root, PATHS, tmp_path / "cache").fingerprint() == collection(root, PATHS).fingerprint()


def test_readers_and_writers_at_once_see_whole_caches_only(tmp_path):
    """Many writers of different sizes and many readers: every read is a whole file, and no rest stays."""
    memory = tmp_path / "cache" / "x.json"
    versions = [{f"{i}.png": [i, 0, 0, "h"] for i in range(n)} for n in (1, 40, 900)]
    save_facts(memory, versions[0])
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(save_facts, memory, versions[n % 3]) for n in range(60)]
        reads = [pool.submit(load_facts, memory) for _ in range(60)]
        assert all(read.result() in versions for read in reads)
        assert [write.result() for write in writes] == [None] * 60
    assert [path.name for path in memory.parent.iterdir()] == ["x.json"]


def test_a_vanished_file_has_a_fingerprint_and_cannot_be_read(root):
    images = collection(root, PATHS)
    before = images.fingerprint()
    (root / "a.png").unlink()
    assert images.fingerprint() != before
    with pytest.raises(UnreadableImageError, match="no such file"):
        images.read(0)


def test_no_images_are_refused(root):
    with pytest.raises(ConfigError, match="there are no images"):
        collection(root, [])
