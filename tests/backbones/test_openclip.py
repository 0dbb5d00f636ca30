"""Towers of open_clip, small and random: dense embeddings against attention written out, weights by the real path."""

import json

import pytest
import torch
from torch.nn import functional as F

from seekloop.backbones.openclip import AlignedTokens, OpenClip, OpenClipText, space_of
from seekloop.backbones.preprocessing import Preprocessing
from seekloop.backbones.templates import read_templates
from seekloop.contracts.errors import ConfigError

open_clip = pytest.importorskip("open_clip")

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VIT = {"layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 32}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "image_size": 64}


def expects(*size):
    return Preprocessing(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic")


def shaken(model):
    """Away from its start, where norms are the identity and biases zero."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=rng))
    return model.eval()


def clip(vision, **changes):
    torch.manual_seed(0)
    return shaken(open_clip.CLIP(24, {**vision, **changes}, TEXT))


def pixels(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def attention(rows, query, key, value, output, heads, seen):
    """softmax(Q K' / sqrt(d)) V for every head, where `seen` says which row may look at which; then the projection."""
    b, t, d = rows.shape

    def split(linear):
        return F.linear(rows, *linear).reshape(b, t, heads, -1).transpose(1, 2)

    weights = split(query) @ split(key).transpose(2, 3) / (d // heads) ** 0.5
    mixed = weights.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ split(value)
    return F.linear(mixed.transpose(1, 2).reshape(b, t, -1), *output)


@pytest.mark.parametrize("changes", [{}, {"ls_init_value": 0.3}, {"pool_type": "avg"}])
def test_dense_embeddings_of_a_transformer_are_attention_of_each_token_to_itself(changes):
    """The last block's attention written out head by head, every token allowed to see itself only."""
    model = clip(VIT, **changes)
    tower, images = model.visual, pixels(32, 32)
    expected_whole = F.normalize(model.encode_image(images), dim=1)
    x = tower._embeds(images)
    x = tower.transformer.resblocks[0](x)
    last = tower.transformer.resblocks[1]
    weight, bias = last.attn.in_proj_weight, last.attn.in_proj_bias
    three = [(weight[32 * k : 32 * (k + 1)], bias[32 * k : 32 * (k + 1)]) for k in range(3)]
    output = (last.attn.out_proj.weight, last.attn.out_proj.bias)
    mixed = last.ls_1(attention(last.ln_1(x), *three, output, 4, torch.eye(17, dtype=torch.bool)))
    dense = tower.ln_post(mixed[:, 1:]) @ tower.proj
    tokens = AlignedTokens(model, "small", expects(32, 32))(images)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), F.normalize(dense, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.cls, expected_whole, atol=1e-5, rtol=0)


def test_dense_embeddings_of_a_resnet_are_the_attention_pool_of_each_cell_to_itself():
    model = clip(RESNET)
    tower, images = model.visual, pixels(64, 64)
    expected_whole = F.normalize(model.encode_image(images), dim=1)
    x = tower.layer4(tower.layer3(tower.layer2(tower.layer1(tower.stem(images))))).flatten(2).transpose(1, 2)
    pool = tower.attnpool
    parts = [(one.weight, one.bias) for one in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj)]
    dense = attention(x, *parts, pool.num_heads, torch.eye(x.shape[1], dtype=torch.bool))
    tokens = AlignedTokens(model, "small", expects(64, 64))(images)
    assert tokens.patches.shape == (2, 2, 2, 24)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), F.normalize(dense, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.cls, expected_whole, atol=1e-5, rtol=0)


def siglip():
    """A small tower with SigLIP's attention pool, as open_clip wraps timm's."""
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(24, {"timm_model_name": "vit_tiny_patch16_224", "image_size": 32}, TEXT)
    from timm.models.vision_transformer import VisionTransformer

    trunk = VisionTransformer(
        32, 8, embed_dim=24, depth=1, num_heads=2, num_classes=0, global_pool="map", class_token=False
    )
    model.visual.trunk, model.visual.head = trunk, torch.nn.Sequential()
    return shaken(model)


def test_dense_embeddings_of_an_attention_pool_are_what_it_gives_for_one_token_alone():
    """A pool that is shown a single token attends to that one; the real pool is asked 16 times."""
    model, images = siglip(), pixels(32, 32)
    trunk = model.visual.trunk
    cells = trunk.forward_features(images)
    alone = torch.stack([trunk.attn_pool(cells[:, [cell]]) for cell in range(16)], dim=1)
    backbone = AlignedTokens(model, "small", expects(32, 32))
    tokens = backbone(images)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), F.normalize(alone, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.cls, F.normalize(model.encode_image(images), dim=1), atol=1e-5, rtol=0)


def test_a_tower_without_a_rule_is_refused_and_gives_its_global_embedding_if_asked():
    model, images = clip(VIT, attentional_pool=True, attn_pooler_heads=2, attn_pooler_queries=3), pixels(32, 32)
    with pytest.raises(ConfigError, match=r"no rule for dense embeddings.*dense=false.*crops"):
        AlignedTokens(model, "small", expects(32, 32))
    tokens = AlignedTokens(model, "small", expects(32, 32), dense=False)(images)
    torch.testing.assert_close(tokens.patches[:, 0, 0], tokens.cls)
    torch.testing.assert_close(tokens.cls, F.normalize(model.encode_image(images), dim=1))


def test_both_towers_name_one_space_and_other_weights_another():
    model = clip(VIT)
    image = AlignedTokens(model, "small", expects(32, 32))
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    text = OpenClipText.of(clip(VIT), tokenizer, "small", ("{}",))
    other = clip(VIT)
    with torch.no_grad():
        other.text_projection += 1
    assert image.text_space == text.space != space_of(other, "small")


def test_a_text_is_the_mean_of_its_templates_by_hand():
    model, tokenizer = clip(VIT), open_clip.SimpleTokenizer(context_length=16)
    each = F.normalize(model.encode_text(tokenizer(["a photo of a bus.", "art of a bus."])), dim=1)
    encoder = OpenClipText.of(clip(VIT), tokenizer, "small", ("a photo of a {}.", "art of a {}."))
    torch.testing.assert_close(encoder(["bus"]), F.normalize(each.sum(dim=0), dim=0)[None])
    assert not encoder(["bus", "car"])[0].allclose(encoder(["car"])[0])
    assert encoder(["x" * 10_000, "красный автобус", "赤いバス", "🚌"]).norm(dim=1).allclose(torch.ones(4))
    with pytest.raises(ConfigError, match="words='  ' cannot work: it is empty"):
        encoder(["  "])


def test_templates_by_name_and_from_a_file(tmp_path):
    assert [len(read_templates(name)) for name in ("none", "one", "seven", "eighty")] == [1, 1, 7, 80]
    assert all(line.count("{}") == 1 for name in ("seven", "eighty") for line in read_templates(name))
    assert len(set(read_templates("eighty"))) == 80
    file = tmp_path / "mine.txt"
    file.write_text("a sketch of a {}\n\n{} at night\n")
    assert read_templates(str(file)) == ("a sketch of a {}", "{} at night")
    file.write_text("a sketch\n")
    with pytest.raises(ConfigError, match=r"a line has no {}: 'a sketch'"):
        read_templates(str(file))
    with pytest.raises(ConfigError, match="no templates of this name"):
        read_templates("ninety")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights of OpenAI's ViT-B/32 in open_clip's names, half precision."""
    torch.manual_seed(3)
    model = open_clip.create_model("ViT-B-32-quickgelu")
    path = tmp_path_factory.mktemp("weights") / "ViT-B-32.pt"
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)
    return path


def test_openais_name_and_size_load_from_a_local_file(checkpoint):
    """512 numbers, 7 x 7 tokens of 32 pixels, CLIP's normalisation, and the quick GELU that OpenAI's weights want."""
    backbone = OpenClip("ViT-B/32", "openai", str(checkpoint))
    assert (backbone.dim, backbone.image_size, backbone.patch) == (512, (224, 224), (32, 32))
    assert backbone.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert type(backbone.trunk.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    saved = torch.load(checkpoint, weights_only=True)
    torch.testing.assert_close(backbone.trunk.proj, saved["visual.proj"].float())
    larger = OpenClip("ViT-B/32", "openai", str(checkpoint), image_size=[256, 320])
    assert larger(torch.zeros(1, 3, 256, 320)).patches.shape == (1, 8, 10, 512)
    text = OpenClipText("ViT-B/32", "openai", str(checkpoint))
    assert text.space == backbone.text_space == larger.text_space
    assert larger.weights_hash != backbone.weights_hash
    assert text(["a bus"]).shape == (1, 512)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "ViT-B-33"}, "open_clip has no such model. Similar: ViT-B-32"),
        ({"pretrained": "openia"}, "no such weights of ViT-B-32. It has: openai"),
        ({"checkpoint": "nowhere.pt"}, "there is no such file"),
        ({"model": "ViT-B-16"}, "checkpoint=.*the weights of ViT-B-16 cannot be had"),
        ({"image_size": 225}, r"image_size=\[225, 225\].*multiples of 32"),
        ({"pretrained": None, "checkpoint": None}, "a network without them says nothing"),
        ({"model": "RN50", "image_size": 256}, "positions for 224 pixels only"),
    ],
)
def test_what_cannot_be_had_is_said(checkpoint, change, message):
    with pytest.raises(ConfigError, match=message):
        OpenClip(**{"model": "ViT-B-32", "pretrained": "openai", "checkpoint": str(checkpoint), **change})


def test_a_folder_with_its_own_config_loads(tmp_path):
    """open_clip's local folders: the config beside the weights."""
    config = {
        "model_cfg": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
        "preprocess_cfg": {"mean": [0.1] * 3},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(clip(VIT).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    backbone = OpenClip(f"local-dir:{tmp_path}", None)
    assert (backbone.dim, backbone.image_size, backbone.mean) == (24, (32, 32), (0.1, 0.1, 0.1))
    assert OpenClipText(f"local-dir:{tmp_path}", None).space == backbone.text_space
