import pytest
from PIL import Image

from seekloop.images import files
from seekloop.images.folder import ImageFolder
from seekloop.images.part import part, within


@pytest.fixture
def album(tmp_path, save_image, monkeypatch):
    """Pictures a to e, of widths 10 to 14; boxes of x on a and c, of y on c and d. Hashes are remembered at once."""
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    for number, name in enumerate("abcde"):
        save_image(tmp_path / "album" / f"{name}.png", size=(10 + number, 10), colour=(40 * number, 0, 0))
    rows = ["a.png,x,1,1,5,5", "c.png,x,2,2,6,6", "c.png,y,3,3,6,6", "d.png,y,1,1,3,3"]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,class,x0,y0,x1,y1", *rows]))
    return ImageFolder(tmp_path / "album", boxes=tmp_path / "boxes.csv", cache=tmp_path / "cache")


def test_images_of_a_part_come_in_the_order_asked_for_with_what_belongs_to_them(album):
    """d, then a, then e: of the four boxes that of d (image 0) and that of a (image 1) remain; c is not there."""
    some = part(album, [3, 0, 4])
    assert some.paths == ("d.png", "a.png", "e.png")
    assert [some.read(image).width for image in range(3)] == [13, 10, 14]
    whole = album.contents()
    assert some.contents() == [whole[3], whole[0], whole[4]]
    found = zip(some.annotations.image.tolist(), some.annotations.label.tolist(), strict=True)
    assert sorted(found) == [(0, 1), (1, 0)]
    assert some.annotations.largest_box(0, 1).equal(album.annotations.largest_box(3, 1))
    assert some.annotations.classes == ("x", "y")


def test_a_part_is_known_by_its_own_images(album, tmp_path, save_image):
    """All of the images are the collection itself. Another image beside them changes nothing, another order does."""
    assert part(album, range(5)).fingerprint() == album.fingerprint()
    before = part(album, [0, 2]).fingerprint()
    assert part(album, [2, 0]).fingerprint() != before
    save_image(tmp_path / "album" / "b2.png")
    grown = ImageFolder(tmp_path / "album", cache=tmp_path / "cache")
    assert part(grown, [0, 3]).fingerprint() == before


def test_only_the_files_of_a_part_are_read(album, tmp_path):
    """Two are hashed; then the hashes of these two are remembered, and those of the others would have to be read."""
    whole = ImageFolder(album.root, cache=tmp_path / "other cache")
    assert whole.remembered_contents() == [None] * 5
    first, second = part(whole, [1, 4]).contents()
    assert whole.remembered_contents() == [None, first, None, None, second]
    (tmp_path / "album" / "b.png").write_bytes((tmp_path / "album" / "a.png").read_bytes())
    assert whole.remembered_contents() == [None, None, None, None, second]


def test_remembered_contents_are_contents(tmp_path, save_image, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    save_image(tmp_path / "album" / "a.png")
    for white in (None, 4095):
        album = ImageFolder(tmp_path / "album", white=white, cache=tmp_path / "cache")
        assert album.contents() == album.remembered_contents()
    assert ImageFolder(tmp_path / "album").remembered_contents() == [None]


def test_photographs_behind_links_that_lead_out_of_the_folder_are_left_out_and_counted(tmp_path):
    root, outside = tmp_path / "photos", tmp_path / "elsewhere"
    for folder in (root / "own", outside):
        folder.mkdir(parents=True)
    for file, colour in ((root / "a.png", "red"), (root / "own" / "b.png", "blue"), (outside / "c.png", "lime")):
        Image.new("RGB", (8, 8), colour).save(file)
    (root / "linked").symlink_to(outside)
    (root / "alias.png").symlink_to(outside / "c.png")
    (root / "again").symlink_to(root / "own")
    everything = ImageFolder(root)
    assert len(everything.paths) == 3
    kept = within(everything)
    assert kept.paths == ("a.png", "own/b.png")
    (told,) = [one for one in kept.problems if "serve.links" in one.what]
    assert told.count == 1
    assert within(kept) is kept
