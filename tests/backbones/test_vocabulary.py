import numpy as np
import pytest
import torch

from seekloop.backbones.vocabulary import Vocabulary
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import TextEncoder

NAMES = ["teddy bear", "bus,coach", "Hunde", "красный автобус"]
VECTORS = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]], dtype=np.float16)


def file_of(folder, **arrays):
    path = folder / "small.npz"
    np.savez(path, **{"names": np.array(NAMES), "vectors": VECTORS, **arrays})
    return str(path)


@pytest.fixture
def vocabulary(tmp_path):
    return Vocabulary(file_of(tmp_path))


def test_names_and_synonyms_have_their_vectors_at_unit_length(vocabulary):
    assert isinstance(vocabulary, TextEncoder)
    found = vocabulary(["coach", " Teddy  BEAR ", "teddy_bear", "КРАСНЫЙ автобус"])
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.6, 0.8], [0.6, 0.8], [-1.0, 0.0]]))


def test_a_text_near_a_name_is_taken_for_it_and_the_similarity_said_by_hand():
    """hunde and hund share 4 letters of 9: 8/9. hun: 6/8, below 0.8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seekloop.backbones.vocabulary.read", lambda *_: (NAMES, VECTORS))
        vocabulary = Vocabulary("any.npz")
        assert vocabulary.nearest("hund") == (2, ("Hunde",), pytest.approx(8 / 9))
        assert vocabulary.note("coach") == "'coach' is taken for bus, coach (similarity 1.00)"
        with pytest.raises(ConfigError, match=r"words='hun' .*Nearest: Hunde \(0.75\)"):
            vocabulary.nearest("hun")
        assert Vocabulary("any.npz", nearest=0.75).nearest("hun").entry == 2


def test_an_unknown_phrase_is_answered_with_the_names_among_its_words_first(vocabulary):
    with pytest.raises(ConfigError, match=r"none of the 4 names of small, nor near one. Nearest: bus, coach \(0.50\)"):
        vocabulary(["a red bus"])
    with pytest.raises(ConfigError, match="Nearest: none"):
        vocabulary(["赤いバス"])


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_text_is_refused(vocabulary, text):
    with pytest.raises(ConfigError, match="it is empty"):
        vocabulary([text])


def test_ten_thousand_letters_are_refused_in_few_words(vocabulary):
    with pytest.raises(ConfigError, match="words=") as refused:
        vocabulary(["bus " * 2500])
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"names": np.array(NAMES[:3])}, r"vectors in .* is float16 of shape \(4, 2\), for 3 names"),
        ({"names": np.arange(4)}, "names in .* is int64 of shape"),
        ({"vectors": np.array([[1.0, 0], [0, 0], [1, 0], [0, 1]])}, "that of 'bus,coach' .* is zero or not finite"),
        ({"vectors": np.array([[1.0, 0], [1, 0], [np.inf, 0], [0, 1]])}, "that of 'Hunde' .* is zero or not finite"),
        ({"names": np.array(NAMES, dtype=object)}, "it is no vocabulary .*pickle"),
    ],
)
def test_a_file_of_other_arrays_is_refused(tmp_path, arrays, message):
    with pytest.raises(ConfigError, match=message):
        Vocabulary(file_of(tmp_path, **arrays))


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path):
    path = tmp_path / "words.npz"
    for content in (b"", b"a bus\na coach\n", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"file=.* it is no vocabulary"):
            Vocabulary(str(path))
    np.save(tmp_path / "one.npy", VECTORS)
    with pytest.raises(ConfigError, match="it is no vocabulary"):
        Vocabulary(str(tmp_path / "one.npy"))
    with pytest.raises(ConfigError, match="it has no default"):
        Vocabulary()
    with pytest.raises(ConfigError, match=r"names='coco_names' .*It has: names, vectors"):
        Vocabulary(file_of(tmp_path), names="coco_names")
