"""Image and text towers of open_clip: images and texts in one space, global and dense."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.backbones.preprocessing import ImageSize, Normalisation, Preprocessing, fitting_size, triple
from seekloop.backbones.readout import FeatureMaps, Readout
from seekloop.backbones.templates import read_templates
from seekloop.backbones.weights import hub
from seekloop.backbones.weights.checkpoints import tensors_hash, weights_hash
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError, require
from seekloop.contracts.records import Tokens

AT_ONCE = 256  # texts through the network
NO_RULE = "use dense=false, which gives the global embedding only, with grid=1x1 or encoding=crops"


class AlignedTokens(Readout):
    r"""An image tower of open_clip that is already there: its global embedding as class token, dense ones as patches.

    Both live in the space of the texts, and have unit length. Dense embeddings follow MaskCLIP: of the last attention,
    the value path alone, as if each token attended to itself only. With values V and output projection O, for

    - open_clip's transformers, of the last block: :math:`\\mathrm{proj}(\\mathrm{ln_{post}}(O(V(\\mathrm{ln_1}(x)))))`,
      without the block's residual connection and its MLP;
    - ResNets, of the attention pool: :math:`O(V(x))`, without its positions;
    - timm's transformers with an attention pool (SigLIP): :math:`y + \\mathrm{MLP}(\\mathrm{norm}(y))`,
      :math:`y = O(V(x))`.

    Args:
        model: a CLIP of open_clip. Its text tower is not kept.
        name: for people.
        expects: size, normalisation and interpolation of its input.
        dense: whether patches are dense embeddings; else the global embedding is the only one.

    Raises:
        ConfigError: about `dense`, if there is no rule for the tower.

    Reference:
        Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022 (MaskCLIP).
    """

    any_size = False

    def __init__(self, model: nn.Module, name: str, expects: Preprocessing, dense: bool = True) -> None:
        tower: Any = model.visual  # a module whose attributes no type knows
        self.text_space = space_of(model, name)
        super().__init__(tower, name, (f"dense={dense}",), expects)
        self.dense = dense
        rule = _rule(tower) if dense else "pooled"
        if rule is None:
            why = f"no rule for dense embeddings is known for the image tower of {name}"
            raise ConfigError("dense", dense, why, f"{NO_RULE[0].upper()}{NO_RULE[1:]}.")
        self.rule = rule
        with torch.no_grad():
            tokens = self.tokens(torch.zeros(1, 3, *expects.image_size))
        self.dim = tokens.patches.shape[-1]
        self.patch = (
            expects.image_size[0] // tokens.patches.shape[1],
            expects.image_size[1] // tokens.patches.shape[2],
        )

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """The global embedding, no registers, dense embeddings; all of unit length."""
        pixels = pixels.to(next(self.trunk.parameters()).dtype)
        whole, patches = getattr(self, f"_{self.rule}")(pixels)
        whole, patches = F.normalize(whole.float(), dim=-1), F.normalize(patches.float(), dim=-1)
        return Tokens(whole, whole.new_zeros(len(whole), 0, whole.shape[-1]), patches)

    def block(self, features: Sequence[str], layer: int | None) -> int:
        """Tokens only, of the last block."""
        other = next((feature for feature in features if feature != "tokens"), None)
        if other is not None or layer is not None:
            key, value = ("layer", layer) if other is None else ("feature", other)
            raise ConfigError(key, value, f"{self.name} gives its embeddings only", "Use feature=tokens, layer=null.")
        return 0

    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """Dense embeddings."""
        del features, block
        return {"tokens": self.tokens(pixels).patches}

    def _pooled(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        found = self.trunk(pixels)
        whole = found[0] if isinstance(found, tuple) else found
        return whole, whole[:, None, None]

    def _transformer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        tower: Any = self.trunk
        sequence = tower._embeds(pixels)
        *before, last = tower.transformer.resblocks
        for block in before:
            sequence = block(sequence)
        values = last.ls_1(value_path(last.attn, last.ln_1(sequence[:, 1:])))
        whole, _ = tower._pool(last(sequence))
        dense = tower.ln_post(values) @ tower.proj
        return whole @ tower.proj, dense.unflatten(1, tower.grid_size)

    def _resnet(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        tower: Any = self.trunk
        cells = tower.stem(pixels)
        for layer in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
            cells = layer(cells)
        pool = tower.attnpool
        return pool(cells), pool.c_proj(pool.v_proj(cells.permute(0, 2, 3, 1)))

    def _latent(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        tower: Any = self.trunk
        trunk, pool = tower.trunk, tower.trunk.attn_pool
        sequence = trunk.forward_features(pixels)
        whole = tower.head(trunk.forward_head(sequence))
        cells = sequence[:, trunk.num_prefix_tokens :]
        if pool.pos_embed is not None:
            cells = cells + pool.pos_embed[trunk.num_prefix_tokens :].to(cells)
        values = pool.proj(pool.kv(cells)[..., pool.kv.out_features // 2 :])
        values = values if pool.mlp is None else values + pool.mlp(pool.norm(values))
        dense = tower.head(trunk.head(trunk.fc_norm(values)))
        return whole, dense.unflatten(1, trunk.patch_embed.grid_size)


def value_path(attention: nn.MultiheadAttention, rows: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Output of an attention in which each row attends to itself only: values, then the output projection."""
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    values = F.linear(rows, weight.chunk(3)[2], None if bias is None else bias.chunk(3)[2])
    return attention.out_proj(values)


def _rule(tower: Any) -> str | None:  # noqa: ANN401
    """The method that gives a tower's dense embeddings; None where there is no rule."""
    if hasattr(tower, "attnpool") and hasattr(tower, "stem"):
        return "resnet"
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", [None])
    plain = isinstance(getattr(blocks[-1], "attn", None), nn.MultiheadAttention) and hasattr(blocks[-1], "ls_1")
    if plain and tower.attn_pool is None and tower.pool_type != "none" and tower.proj is not None:
        return "transformer"
    trunk = getattr(tower, "trunk", None)
    pool = getattr(trunk, "attn_pool", None)
    return "latent" if type(pool).__name__ == "AttentionPoolLatent" and hasattr(trunk, "patch_embed") else None


class OpenClip(AlignedTokens):
    """A published model of open_clip as a backbone, with weights by its tag or from a file.

    Args:
        model: open_clip's name, such as `ViT-B-32` or OpenAI's `ViT-B/32`; `local-dir:<folder>` or `hf-hub:<name>`.
        pretrained: tag of the weights, such as `openai`: where they are downloaded from, and how images are normalised.
        checkpoint: file with the weights of both towers, in open_clip's names; None: the hub.
        image_size: side, or (height, width); None: that of the model. Positions of transformers are resampled.
        normalisation: `mean` and `std` per channel; None: those of the weights.
        dense: whether patches are dense embeddings; false: one cell, the global embedding, for towers without a rule.

    Raises:
        ConfigError: if there is no such model, tag or file, or the tower has no rule for dense embeddings.
        MissingExtraError: if open_clip is not installed.
    """

    @declared
    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = "openai",
        checkpoint: str | None = None,
        image_size: ImageSize = None,
        normalisation: Normalisation = None,
        dense: bool = True,
    ) -> None:
        built = load(model, pretrained, checkpoint, image_size)
        known: Mapping[str, Any] = built.visual.preprocess_cfg
        given = known if normalisation is None else normalisation
        size = known["size"]
        sides = (size, size) if isinstance(size, int) else tuple(size)
        bilinear = known["interpolation"] == "bilinear"
        expects = Preprocessing(
            sides, triple(given["mean"]), triple(given["std"]), "bilinear" if bilinear else "bicubic"
        )
        super().__init__(built, label(model, pretrained), expects, dense)


class OpenClipText(nn.Module):
    """The text tower of a model of open_clip, with its tokenizer and prompt templates.

    A text's vector is the mean of the unit vectors of all templates that it is put into, brought to unit length.

    Args:
        model: as in `OpenClip`.
        pretrained: as in `OpenClip`.
        checkpoint: as in `OpenClip`.
        templates: `one` ("a photo of a {}."), `seven` or `eighty` (those of CLIP's notebook on ImageNet), `none` (the
            text as it is), or a file with one template a line, {} where the text goes.

    Raises:
        ConfigError: as `OpenClip`, and if there are no such templates.
        MissingExtraError: if open_clip, or what its tokenizer needs, is not installed.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, 3.1.4.
    """

    @declared
    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = "openai",
        checkpoint: str | None = None,
        templates: str = "one",
    ) -> None:
        super().__init__()
        self.templates = read_templates(templates)
        built = load(model, pretrained, checkpoint, None)
        self._set_up(built, tokenizer_of(model), label(model, pretrained))

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Any, name: str, templates: Sequence[str]) -> "OpenClipText":  # noqa: ANN401
        """The text tower of a model that is already there."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.templates = tuple(templates)
        made._set_up(model, tokenizer, name)
        return made

    def _set_up(self, model: Any, tokenizer: Any, name: str) -> None:  # noqa: ANN401
        self.space = space_of(model, name)
        self.name, self.tokenizer = name, tokenizer
        self.model = model.eval().requires_grad_(False)
        del self.model.visual  # open_clip keeps both towers in one module
        self.weights_hash = weights_hash(self.model, name, *self.templates)
        self.dim = self(["a"]).shape[1]

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """One vector of unit length for each text; what is longer than the context of the tower is cut off."""
        for text in texts:
            if not text.strip():
                raise ConfigError("words", text, "it is empty", "Say what to search for.")
        prompts = [template.replace("{}", text) for text in texts for template in self.templates]
        vectors = [
            F.normalize(self.model.encode_text(self.tokenizer(prompts[start : start + AT_ONCE])).float(), dim=-1)
            for start in range(0, len(prompts), AT_ONCE)
        ]
        return F.normalize(torch.cat(vectors).reshape(len(texts), len(self.templates), -1).mean(dim=1), dim=-1)


def space_of(model: nn.Module, name: str) -> str:
    """Name of the space of a model's vectors: both towers have it in common, and no other model.

    The hash is of the text tower and of what both share, since images of another size have other positions.
    """
    own = {key: value for key, value in model.named_parameters() if not key.startswith("visual.")}
    return f"{name}-{tensors_hash(own)[:12]}"


def label(model: str, pretrained: str | None) -> str:
    """Name of a model for people."""
    name = model.rsplit("/", 1)[-1] if ":" in model else model.replace("/", "-")
    return f"{name}.{pretrained}" if pretrained else name


def load(model: str, pretrained: str | None, checkpoint: str | None, image_size: ImageSize) -> Any:  # noqa: ANN401
    """Build a model with its weights: every parameter, or an error.

    Raises:
        ConfigError: about `model`, `pretrained`, `checkpoint` or `image_size`.
        MissingExtraError: if open_clip is not installed.
    """
    clip: Any = require("open_clip", "clip")
    if ":" in model:
        with hub.without_waiting():
            return _created(clip, model, None, image_size, {}, "model", model)
    name = model.replace("/", "-")
    if name not in clip.list_models():
        near = difflib.get_close_matches(name, clip.list_models(), n=5, cutoff=0.5)
        raise ConfigError("model", model, "open_clip has no such model", f"Similar: {', '.join(near) or 'none'}.")
    tag = clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    if pretrained and not tag:
        known = ", ".join(clip.list_pretrained_tags_by_model(name)) or "none"
        raise ConfigError("pretrained", pretrained, f"open_clip has no such weights of {name}", f"It has: {known}.")
    if checkpoint is None and not pretrained:
        why = "no weights are named, and a network without them says nothing"
        raise ConfigError("pretrained", None, why, "Give a tag, such as openai, or a file with checkpoint=<path>.")
    if checkpoint is not None and not Path(checkpoint).expanduser().is_file():
        raise ConfigError("checkpoint", checkpoint, "there is no such file", "Give the path of open_clip's weights.")
    weights = pretrained if checkpoint is None else str(Path(checkpoint).expanduser())
    expected = {key: tag[key] for key in ("mean", "std", "interpolation") if key in tag}
    options: dict[str, Any] = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
    options |= {"force_preprocess_cfg": expected} if expected else {}
    key, value = ("pretrained", pretrained) if checkpoint is None else ("checkpoint", checkpoint)
    if checkpoint is not None:
        return _created(clip, name, weights, image_size, options, key, value)
    if tag.get("url") and not tag.get("hf_hub"):
        hub.refuse_url(name, tag["url"], Path("~/.cache/clip").expanduser() / tag["url"].rsplit("/", 1)[-1])
    with hub.without_waiting():
        return _created(clip, name, weights, image_size, options, key, value)


def _created(
    clip: Any,  # noqa: ANN401
    name: str,
    weights: str | None,
    image_size: ImageSize,
    options: Mapping[str, Any],
    key: str,
    value: str | None,
) -> Any:  # noqa: ANN401
    sides, vision = None, (clip.get_model_config(name) or {}).get("vision_cfg", {})
    if image_size is not None:
        step = vision.get("patch_size") or 32  # ResNets, and timm's towers, which check it themselves
        sides = fitting_size(image_size, (step, step) if isinstance(step, int) else tuple(step))
        if isinstance(vision.get("layers"), list) and sides != (vision["image_size"],) * 2:
            why = f"the attention pool of {name} has positions for {vision['image_size']} pixels only"
            raise ConfigError("image_size", list(sides), why, "Use image_size=null.")
    try:
        if sides is None or "patch_size" not in vision:
            return clip.create_model(name, weights, force_image_size=sides, require_pretrained=True, **options)
        trained = clip.create_model(name, weights, require_pretrained=True, **options).state_dict()
        options = {**options, "force_image_size": sides, "load_weights": False, "pretrained_text": False}
        model = clip.create_model(name, weights, **options)
        clip.model.resize_pos_embed(trained, model)  # by itself open_clip does so in the file's precision, or fails
        model.load_state_dict(trained)
        return model
    except ImportError:
        raise
    except Exception as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = (
            "Give a file of this model's weights, in open_clip's names, with checkpoint=<path>; or choose another tag."
        )
        if key == "pretrained":
            way = hub.remedy()
            fix = f"{way[0].upper()}{way[1:]}. {fix}"
        raise ConfigError(key, value, f"the weights of {name} cannot be had ({cause[:300]})", fix) from error


def tokenizer_of(model: str) -> Any:  # noqa: ANN401
    """The tokenizer that belongs to a model.

    Raises:
        ConfigError: if it cannot be had.
    """
    clip: Any = require("open_clip", "clip")
    try:
        return clip.get_tokenizer(model if ":" in model else model.replace("/", "-"))
    except Exception as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "Some models need a tokenizer of transformers (pip install transformers sentencepiece), from the hub."
        raise ConfigError("model", model, f"its tokenizer cannot be had ({cause[:300]})", fix) from error
