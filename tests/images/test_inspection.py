import shutil

import numpy as np
import pytest
from PIL import Image

from seekloop.contracts.problems import ProblemKind
from seekloop.images.folder import ImageFolder
from seekloop.images.inspection import inspect


@pytest.fixture
def photographs(tmp_path):
    """Six noisy pictures, no two alike."""
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((80, 60)).save(tmp_path / f"{number}.jpg", quality=92)
    return tmp_path


def look(folder, decode=True, boxes=None):
    return inspect(ImageFolder(str(folder), boxes, False, None, 1, None), decode)


def test_nothing_is_found_where_nothing_is_wrong(photographs):
    found = look(photographs)
    assert found.problems == ()
    assert set(found.sizes.values()) == {(80, 60)}
    assert found.orientations == found.unreadable == {}


def test_copies_are_found_by_content_and_by_looks(photographs):
    shutil.copy(photographs / "1.jpg", photographs / "copy.jpg")
    Image.open(photographs / "2.jpg").resize((60, 45)).save(photographs / "saved.png")
    found = look(photographs)
    assert [(problem.where, problem.what) for problem in found.problems] == [
        ("1.jpg", "the same file as copy.jpg"),
        ("2.jpg", "looks the same as saved.png"),
    ]
    assert [problem.what for problem in look(photographs, decode=False).problems] == ["the same file as copy.jpg"]


def test_damaged_pictures_are_found_by_decoding(photographs):
    (photographs / "3.jpg").write_bytes((photographs / "3.jpg").read_bytes()[:-600])
    (photographs / "4.jpg").write_bytes(b"")
    assert set(look(photographs, decode=False).unreadable) == {4}
    found = look(photographs)
    assert set(found.unreadable) == {3, 4}
    assert [problem.where for problem in found.problems if problem.kind is ProblemKind.FILE] == ["3.jpg", "4.jpg"]


@pytest.mark.parametrize(("orientation", "doubtful"), [(3, 1), (6, 0), (9, 0)])
def test_orientations_whose_boxes_cannot_be_judged_are_told(photographs, orientation, doubtful):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.open(photographs / "5.jpg")
    picture.load()
    picture.save(photographs / "5.jpg", exif=exif)
    (photographs / "boxes.csv").write_text("image,class,x0,y0,x1,y1\n5.jpg,cat,0,0,0.5,0.5\n")
    found = look(photographs, boxes="boxes.csv")
    assert found.orientations == ({5: orientation} if orientation < 9 else {})
    assert sum("orientation of 2, 3 or 4" in problem.what for problem in found.problems) == doubtful


def test_progress_counts_every_picture(photographs):
    seen = []
    inspect(ImageFolder(str(photographs), None, False, None, 1, None), True, seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]
