"""Growing parts of a collection: each holds the one before, no image is described twice, and the end is the same."""

from itertools import pairwise

import pytest

from seekloop.extraction import growing
from seekloop.extraction.growing import MARK, divided, spread, steps
from seekloop.images import files
from seekloop.images.folder import ImageFolder
from seekloop.regions.annotated import AnnotatedBoxes
from tests.commands.runs import photograph
from tests.extraction.extractions import contents, extract, staged
from tests.extraction.fakes import Noise, Patches


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that are decoded, in this order; hashes of files are remembered at once."""
    read, names = files.read_rgb, []

    def watched(path, white):
        names.append(path.name)
        return read(path, white)

    monkeypatch.setattr(files, "read_rgb", watched)
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    return names


def pictures(root, numbers):
    for number in numbers:
        photograph(root / f"{number:03d}.png", number)
    return root


def stage(folder, root, **chosen):
    """Batches of two images, so that the first part has 16."""
    collection = ImageFolder(root, cache=folder / ".hashes")
    return staged(folder, collection, chosen={"backbone": Patches(), **chosen})


def grown(folder, root, said=None):
    """All stores in turn, each told when it is there; what they supersede goes, as the server lets it go."""
    stores = []
    for store in divided(stage(folder, root)).stores((said if said is not None else []).append):
        stores.append(store)
        growing.remove(store.superseded)
    return stores


def numbered(store):
    return [int(path.removesuffix(".png")) for path in store.paths]


def test_blocks_are_spread_by_halves_and_quarters_by_hand():
    """Twenty blocks of two: 0, 16, 8, 4, 12, then those between: 2, 18, 10. The last image of 39 has a block alone."""
    order = spread(39, 2, ())
    assert [position // 2 for position in order[:16:2]] == [0, 16, 8, 4, 12, 2, 18, 10]
    assert order[:4] == [0, 1, 32, 33]
    assert sorted(order) == list(range(39))
    assert spread(6, 2, [5, 1]) == [1, 5, 0, 4, 2, 3]


def test_sizes_of_parts_by_hand():
    """Batches of two: 16 images, then 64, if a quarter is left after it. What is known goes first."""

    def sizes(images, known=0):
        return [len(one) for one in steps(images, range(known), 2)]

    assert sizes(21) == [21]
    assert sizes(22) == [16, 22]
    assert sizes(85) == [16, 85]
    assert sizes(86) == [16, 64, 86]
    assert sizes(86, known=3) == [3, 16, 64, 86]
    assert sizes(86, known=9) == [9, 64, 86]
    assert sizes(86, known=85) == [85, 86]
    assert sizes(86, known=86) == [86]


def test_parts_no_larger_than_what_is_searched_already_are_left_out(tmp_path):
    """Of 40 images in batches of 2: 16, then all; a folder that has shrunk is one part."""
    folder, root = tmp_path / "stores", pictures(tmp_path / "album", range(40))
    sizes = {n: [len(one.collection.paths) for one in divided(stage(folder, root), n).parts] for n in (0, 15, 16, 60)}
    assert sizes == {0: [16, 40], 15: [16, 40], 16: [40], 60: [40]}


def test_every_part_holds_the_one_before_and_the_known_ones():
    parts = steps(86, [7, 70, 71], 2)
    assert parts[0] == [7, 70, 71]
    for smaller, larger in pairwise(parts):
        assert set(smaller) < set(larger)
        assert larger == sorted(larger)


def test_no_image_is_described_twice_and_the_end_is_that_of_one_go(tmp_path, decoded):
    root = pictures(tmp_path / "album", range(40))
    first, last = grown(tmp_path / "stores", root)
    blocks = (0, 2, 4, 8, 10, 12, 16, 18)
    assert numbered(first) == [2 * block + one for block in blocks for one in (0, 1)]
    assert numbered(last) == list(range(40))
    assert (first.whole, last.whole) == (False, True)
    assert sorted(decoded) == [f"{number:03d}.png" for number in range(40)]
    assert last.superseded == (first.folder,)
    assert not first.folder.exists()
    straight = contents(extract(tmp_path / "straight", ImageFolder(root)))
    whole = contents(last.folder)
    assert {name: whole[name] for name in straight if name.endswith(".npy")} == {
        name: content for name, content in straight.items() if name.endswith(".npy")
    }


def test_what_is_there_is_found_at_once(tmp_path, decoded):
    root = pictures(tmp_path / "album", range(40))
    folder = extract(tmp_path / "stores", ImageFolder(root, cache=tmp_path / "stores" / ".hashes"))
    decoded.clear()
    (store,) = grown(tmp_path / "stores", root)
    assert (store.folder, store.whole, store.superseded, decoded) == (folder, True, (), [])


def test_new_pictures_alone_are_described_and_search_goes_on_meanwhile(tmp_path, decoded):
    root = pictures(tmp_path / "album", range(40))
    *_, before = grown(tmp_path / "stores", root)
    decoded.clear()
    pictures(root, [40, 41, 42])
    (root / "007.png").rename(root / "907.png")
    (root / "008.png").unlink()
    known, after = grown(tmp_path / "stores", root)
    assert len(known.paths) == 38  # the renamed one is only known once it is read, for the store of all
    assert not known.whole
    assert sorted(decoded) == ["040.png", "041.png", "042.png"]
    assert len(after.paths) == 42
    assert not before.folder.exists()
    decoded.clear()
    pictures(root, [43])
    same, _ = grown(tmp_path / "stores", root)
    assert same.folder == after.folder  # nothing is copied where all that is known is one store
    assert decoded == ["043.png"]


def test_a_smaller_folder_leaves_no_larger_store_behind(tmp_path, decoded):
    root = pictures(tmp_path / "album", range(24))
    *_, before = grown(tmp_path / "stores", root)
    decoded.clear()
    for number in range(20):
        (root / f"{number:03d}.png").unlink()
    (after,) = grown(tmp_path / "stores", root)
    assert numbered(after) == [20, 21, 22, 23]
    assert decoded == []
    assert not before.folder.exists()


def test_after_a_kill_it_goes_on_with_what_is_kept(tmp_path, decoded, monkeypatch):
    """It dies at the 11th image of the second part, in its sixth batch: ten are kept, and the 16 of the first part."""
    root = pictures(tmp_path / "album", range(40))
    read = files.read_rgb

    def dies(path, white):
        if len(decoded) == 26:
            raise KeyboardInterrupt
        return read(path, white)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_rgb", dies)
        with pytest.raises(KeyboardInterrupt):
            grown(tmp_path / "stores", root)
    kept = list(decoded)
    decoded.clear()
    first, last = grown(tmp_path / "stores", root)
    assert len(first.paths) == 16
    assert len(last.paths) == 40
    assert len(decoded) == 14
    assert sorted([*kept, *decoded]) == [f"{number:03d}.png" for number in range(40)]


def test_only_its_own_stores_of_the_same_pictures_go(tmp_path, decoded):
    """Of another recipe, of another folder, and made by `extract`: these stay."""
    root, other = pictures(tmp_path / "album", range(24)), pictures(tmp_path / "other", range(50, 53))
    stores = tmp_path / "stores"
    (elsewhere,) = grown(stores, other)
    extracted = extract(stores, ImageFolder(other, cache=stores / ".hashes"), dtype="float32")
    list(divided(stage(stores, root, backbone=Patches(scale=2.0))).stores(lambda _: None))
    *_, last = grown(stores, root)
    assert elsewhere.folder.exists()
    assert extracted.exists()
    marked = sorted(path.parent for path in stores.glob(f"*/{MARK}"))
    assert len(marked) == 4  # both parts of the other network, the other folder's, and the last
    assert last.folder in marked
    assert decoded


def test_a_store_that_was_made_otherwise_is_kept_when_the_folder_grows(tmp_path, decoded):
    root = pictures(tmp_path / "album", range(5))
    folder = extract(tmp_path / "stores", ImageFolder(root, cache=tmp_path / "stores" / ".hashes"))
    pictures(root, [5])
    *_, last = grown(tmp_path / "stores", root)
    assert last.superseded == ()
    assert folder.exists()
    assert len(decoded) == 6


def test_what_cannot_be_taken_over_is_described_in_one_go(tmp_path):
    """A collection without files, and regions that belong to images: each has one part, the whole."""
    root = pictures(tmp_path / "album", range(40))
    for one in (staged(tmp_path, Noise(40)), stage(tmp_path, root, regions=AnnotatedBoxes())):
        parts = divided(one)
        assert parts.parts == (one,)
        assert parts.known == 0
