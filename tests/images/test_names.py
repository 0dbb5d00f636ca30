import unicodedata

import pytest

from seekloop.contracts.problems import ProblemKind
from seekloop.images.names import ImageNames

NAMES = ImageNames(["a/x.jpg", "b/x.jpg", "b/only one.jpg", "ü/é.png"])


@pytest.mark.parametrize(
    ("name", "found"),
    [("a/x.jpg", 0), ("b\\x.jpg", 1), ("./b/x.jpg", 1), ("only one.jpg", 2), (" b/only one.jpg ", 2), ("é.png", 3)],
)
def test_images_are_found_by_path_or_by_a_name_that_is_unique(name, found):
    assert NAMES.find(name) == found
    assert NAMES.find(unicodedata.normalize("NFD", name)) == found


def test_names_that_fit_two_images_or_none_say_so():
    assert "2 images are meant by 'x.jpg'" in NAMES.find("x.jpg")
    assert NAMES.find("c/x.jpg") == "no image 'c/x.jpg' in the collection"
    assert NAMES.find("") == "no image '' in the collection"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/data/files/7/a/x.jpg", 0),  # the longest end that is unique: "a/x.jpg", not "x.jpg"
        ("C:\\photos\\b\\x.jpg", 1),
        ("https://example.org/up/only%20one.jpg?size=2#here", 2),
        ("b/ONLY ONE.JPG", 2),  # another case
        ("only one.HEIC", 2),  # converted
        ("only one", 2),  # written without its ending
        ("../b/only one.jpg", 2),
    ],
)
def test_names_from_elsewhere_are_matched_by_their_ends_and_told(name, found):
    matched, inexact = NAMES.match([name], "boxes.csv")
    assert matched[name] == found
    (note,) = inexact
    assert (note.where, note.kind, note.count) == ("boxes.csv", ProblemKind.NOTE, 1)
    assert repr(name) in note.what


def test_an_end_that_fits_two_images_is_not_taken():
    matched, inexact = NAMES.match(["/elsewhere/x.jpg"], "boxes.csv")
    assert "2 images are meant by '/elsewhere/x.jpg'" in matched["/elsewhere/x.jpg"]
    assert inexact == []


def test_an_end_is_not_taken_for_an_image_that_has_a_name_of_its_own_in_the_file():
    """Else an entry of another folder would add its boxes to the photograph that happens to have its name."""
    matched, _ = NAMES.match(["b/only one.jpg", "c/only one.jpg"], "boxes.csv")
    assert matched["b/only one.jpg"] == 2
    assert "of the same name is meant by another entry" in matched["c/only one.jpg"]
    both, _ = NAMES.match(["c/only one.jpg", "d/only one.jpg"], "boxes.csv")
    assert all(isinstance(why, str) for why in both.values())


def test_a_name_that_is_not_there_gets_the_most_similar_one_with_the_same_number():
    names = ImageNames(["img_07.jpg", "img_08.jpg"])
    assert names.match(["image_07.jpg"], "x")[0]["image_07.jpg"].endswith("there is 'img_07.jpg'")
    assert names.match(["img_09.jpg"], "x")[0]["img_09.jpg"] == "no image 'img_09.jpg' in the collection"


def test_a_path_that_is_spelled_exactly_is_meant():
    composed, apart = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    names = ImageNames([composed, apart])
    assert (names.find(composed), names.find(apart)) == (0, 1)


def test_two_paths_of_one_spelling_are_both_meant():
    assert "2 images are meant by 'a'" in ImageNames(["a", "a"]).find("a")


def test_what_is_no_address_after_all_is_a_path():
    assert NAMES.match(["http://[b/only one.jpg"], "f")[0]["http://[b/only one.jpg"] == 2
