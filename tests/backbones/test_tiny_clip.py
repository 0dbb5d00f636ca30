import json

import pytest
import torch
from safetensors.torch import save_file

from seekloop.backbones.tiny_clip import WEIGHTS, TinyClip, TinyClipText
from seekloop.backbones.towers import Towers
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone, TextEncoder
from seekloop.testing import check_backbone

ARCHITECTURE = {
    "image": {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "class_token": True,
        "reg_tokens": 2,
        "dynamic_img_size": True,
        "num_classes": 0,
        "global_pool": "",
    },
    "text": {"words": 4, "length": 5, "width": 16, "depth": 2, "heads": 2},
    "dim": 10,
}
WORDS = {"red": 1, "seven": 2, "two": 3, "and": 4, "7": 2, "a": 0}
HEADER = {"architecture": ARCHITECTURE, "words": WORDS, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.25]}


def file_of(folder, seed=0, **header):
    torch.manual_seed(seed)
    towers = Towers(**ARCHITECTURE)
    path = folder / f"{seed}.safetensors"
    save_file(towers.state_dict(), path, {key: json.dumps(value) for key, value in (HEADER | header).items()})
    return towers.eval(), str(path)


@pytest.fixture
def pair(tmp_path):
    towers, path = file_of(tmp_path)
    return towers, TinyClip(path), TinyClipText(path)


def test_the_towers_live_in_one_space_of_another_width_than_the_tokens(pair):
    """Written without the class: tokens, then a linear map each, then unit length."""
    towers, backbone, encoder = pair
    assert isinstance(backbone, Backbone)
    assert isinstance(encoder, TextEncoder)
    check_backbone(backbone)
    assert backbone.text_space == encoder.space
    assert (backbone.dim, encoder.dim, ARCHITECTURE["image"]["embed_dim"]) == (10, 10, 24)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        sequence = towers.image.trunk.forward_features(pixels)
        whole, cell = towers.image.whole(sequence[:, 0]), towers.image.dense(sequence[:, 3 + 2 * 4 + 1])
    found = backbone(pixels)
    torch.testing.assert_close(found.cls, whole / whole.norm(dim=1, keepdim=True))
    torch.testing.assert_close(found.patches[:, 2, 1], cell / cell.norm(dim=1, keepdim=True))
    torch.testing.assert_close(backbone.maps(pixels, ["tokens"], 0)["tokens"], found.patches)


def test_other_weights_are_another_space(pair, tmp_path):
    other = TinyClipText(file_of(tmp_path, seed=1)[1])
    assert other.space != pair[2].space
    assert other.weights_hash != pair[2].weights_hash


def test_other_words_are_another_encoder_of_the_same_space(pair, tmp_path):
    other = TinyClipText(file_of(tmp_path, words=WORDS | {"scarlet": 1})[1])
    assert (other.space == pair[2].space, other.weights_hash == pair[2].weights_hash) == (True, False)


def test_a_text_is_read_word_by_word_whatever_is_beside_it(pair):
    """Synonyms and case change nothing, nor words without a meaning; the order of words does."""
    _, _, encoder = pair
    rows = encoder(["a red seven", "RED 7", "seven, red", "two and a red seven"])
    torch.testing.assert_close(rows[0], rows[1])
    torch.testing.assert_close(rows[0], encoder(["red seven"])[0])
    assert not torch.allclose(rows[0], rows[2], atol=1e-3)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
    assert encoder.note("A red 7") == "'A red 7' is read as red seven"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a red bus, a seven and a car",
            r"does not know 'bus', 'car'.*It knows red, seven, two, and; .*openclip",
        ),
        ("", "0 of its words have a meaning; one to 5"),
        ("a", "0 of its words"),
        ("red red red red red red", "6 of its words have a meaning; one to 5"),
    ],
)
def test_texts_that_cannot_be_read(pair, text, message):
    for read in (pair[2], lambda texts: pair[2].note(texts[0])):
        with pytest.raises(ConfigError, match=message):
            read([text])


def test_another_size_resamples_positions(tmp_path):
    backbone = TinyClip(file_of(tmp_path)[1], [24, 40])
    assert backbone(torch.randn(1, 3, 24, 40)).patches.shape == (1, 3, 5, 10)
    with pytest.raises(ConfigError, match=r"\[32, 32\] or \[40, 40\]"):
        TinyClip(file_of(tmp_path)[1], 33)


def test_files_that_cannot_work(tmp_path):
    towers, _ = file_of(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        TinyClipText(str(tmp_path / "absent.safetensors"))
    save_file(towers.state_dict(), tmp_path / "plain.safetensors", {"mean": "[0, 0, 0]"})
    with pytest.raises(ConfigError, match=r"lacks architecture, words, std.*recipe for tiny_clip"):
        TinyClip(str(tmp_path / "plain.safetensors"))
    half = {name: value for name, value in towers.state_dict().items() if not name.startswith("text.")}
    header = {key: json.dumps(value) for key, value in HEADER.items()}
    save_file(half, tmp_path / "half.safetensors", header)
    with pytest.raises(ConfigError, match="checkpoint"):
        TinyClipText(str(tmp_path / "half.safetensors"))


def test_it_has_no_features_but_its_vectors(pair):
    assert pair[1].block(["tokens"], None) == 0
    with pytest.raises(ConfigError, match="Use feature=tokens"):
        pair[1].block(["keys"], None)
    with pytest.raises(ConfigError, match="layer=null"):
        pair[1].block(["tokens"], 1)


def test_the_packaged_weights_load_and_are_small():
    backbone, encoder = TinyClip(), TinyClipText()
    assert backbone(torch.randn(1, 3, *backbone.image_size)).patches.shape == (1, 16, 16, backbone.dim)
    assert backbone.text_space == encoder.space
    both = WEIGHTS.stat().st_size + WEIGHTS.with_name("tiny.safetensors").stat().st_size
    assert both < 20e6
