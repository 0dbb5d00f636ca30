import pickle
import pickletools
from collections import Counter

import numpy as np
import pytest

from seekloop.images.plain_pickle import read_plain

PLAIN = {
    "names": ["a", "b"],
    "boxes": np.array([1.5, 2.0]),
    "one": np.float32(3),
    "some": ({1, 2}, None, True, b"\xff"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(tmp_path, protocol):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(PLAIN, protocol=protocol))
    back = read_plain(tmp_path / "x.pkl")
    assert back["boxes"].tolist() == [1.5, 2.0]
    assert {**back, "boxes": None} == {**PLAIN, "boxes": None}


def test_arrays_of_other_versions_of_numpy_come_back(tmp_path):
    """The module was called numpy.core before it was called numpy._core; the names are as long as the bytes say."""
    now = pickle.dumps(np.arange(3), protocol=2)
    old = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert any(b"numpy.core" in str(part[1]).encode() for part in pickletools.genops(old))
    (tmp_path / "x.pkl").write_bytes(old)
    assert read_plain(tmp_path / "x.pkl").tolist() == [0, 1, 2]


class Mischief:
    def __init__(self, run, *arguments):
        self.run, self.arguments = run, arguments

    def __reduce__(self):
        return self.run, self.arguments


@pytest.mark.parametrize(
    "bad", [Mischief(print, "gotcha"), Mischief(eval, "1"), Counter("a"), len, np.random.default_rng]
)
def test_anything_else_is_refused_before_it_runs(tmp_path, capsys, bad):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"imlist": [bad]}))
    with pytest.raises(ValueError, match="which is no plain data"):
        read_plain(tmp_path / "x.pkl")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2])[:-3]])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_plain(tmp_path / "x.pkl")
