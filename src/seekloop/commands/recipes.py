"""Recipes of runs: what the result of each command depends on, asked of the parts that were built."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from omegaconf import DictConfig

from seekloop.commands.compose import LoopParts, choices, plain
from seekloop.contracts.grids import write_grid
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Collection, KnowsAbsent, KnowsFrequency
from seekloop.contracts.recipe import Json, Recipe, settings
from seekloop.extraction.plan import Plan
from seekloop.loop.stopping import Rule
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.protocol.simulation import Simulation
from seekloop.regions.parts import Parts

HASH = 10  # letters of a recipe's key in a run's name


def named(words: Sequence[object], recipe: Recipe) -> str:
    """Name of a run: what people look for first, then a hash of its recipe."""
    shown = [str(word).replace("+", "_") for word in words if word]
    return "-".join([*shown, recipe.key[:HASH]])


def retrieval(
    parts: LoopParts,
    simulation: Simulation,
    user: SimulatedUser,
    descriptors: Plan,
    words: tuple[Json, Recipe] | None = None,
    whitening: Recipe | None = None,
    reranking: Recipe | None = None,
    rule: Rule | None = None,
) -> Recipe:
    """Recipe of simulated searches. A grid is a part of it where the representation reads regions.

    With words that searches begin with: how they begin, and the recipe of the words' vectors.
    """
    local = parts.representation.local.uses_regions
    known: dict[str, Json] = {
        "command": "retrieve",
        "representation": settings(parts.representation),
        "classifier": settings(parts.classifier),
        "criterion": settings(parts.criterion),
        "user": settings(user),
        "simulation": settings(simulation),
        "engine": settings(parts.engine),
        "grid": write_grid(descriptors.parts.asked) if local and descriptors.parts.asked else None,
    }
    if parts.prior is not None:
        known["prior"] = settings(parts.prior)
    if parts.index is not None:
        known["index"] = {**parts.index.identity(), **settings(parts.shortlist)}
    if rule is not None:
        known["stop"] = settings(rule)
    inputs = [one for one in (descriptors.recipe(local), whitening, reranking) if one is not None]
    if words is None:
        return Recipe("run", known, tuple(inputs))
    return Recipe("run", {**known, "query": words[0]}, (*inputs, words[1]))


def retrieval_words(parts: LoopParts, config: DictConfig, descriptors: Plan) -> list[object]:
    """Local strategy, fusion, regions where they are read, criterion, prior, words and rule if there are any, seed."""
    chosen = choices()
    words: list[object] = [chosen.get("local"), chosen.get("fusion")]
    if parts.representation.local.uses_regions:
        words.append(write_grid(descriptors.parts.asked) if descriptors.parts.asked else chosen.get("regions"))
    prior = chosen.get("prior", "none") if parts.prior is not None else None
    begun = chosen.get("query") if "_target_" in config.query else None
    whitening = chosen.get("whitening") if "_target_" in config.whitening else None
    reranker = chosen.get("reranker") if "_target_" in config.reranker else None
    rule = chosen.get("loop/stop") if "_target_" in config.loop.get("stop", {}) else None
    return [*words, whitening, chosen.get("criterion"), prior, begun, reranker, rule, f"s{config.seed}"]


def instance_search(
    config: DictConfig,
    instances: InstanceSearch,
    descriptors: Plan,
    whitening: Recipe | None = None,
    texts: Recipe | None = None,
    reranking: Recipe | None = None,
) -> Recipe:
    """Recipe of an instance search; of what teaches a whitening the content counts, not the folder.

    With the recipe of texts, of one by words: right are images of the database, whose annotations then count.
    """
    asked = instances.queries if texts is None else instances.database
    local = config.search.against != "whole"
    known: dict[str, Json] = {
        "command": "search",
        "search": _measured(config.search),
        "queries": asked.fingerprint(),
        "annotations": asked.annotations.fingerprint(),
        "grid": write_grid(descriptors.parts.asked) if local and descriptors.parts.asked else None,
    }
    if texts is not None and isinstance(instances.database, KnowsAbsent):
        known["absent"] = _hash({name: list(images) for name, images in instances.database.absent().items()})
    if texts is not None and isinstance(instances.database, KnowsFrequency):
        known["frequency"] = _hash(instances.database.frequency())
    made_from = [descriptors.recipe(local or (texts is None and config.search.query != "image"))]
    made_from += [one for one in (texts, whitening, reranking) if one is not None]
    return Recipe("run", known, tuple(made_from))


def _hash(by_class: Mapping[str, Json]) -> str:
    """Hash of what is known of each class; their order is no part of it."""
    return hashlib.blake2b(json.dumps(dict(sorted(by_class.items()))).encode(), digest_size=16).hexdigest()


def _measured(section: DictConfig) -> dict[str, Json]:
    """A section without the number of pictures, which are only drawn, and without words and `join` where unused."""
    values = {key: value for key, value in plain(section).items() if key != "shown"}
    return {key: value for key, value in values.items() if key not in ("words", "join") or value not in (None, False)}


def detection(config: DictConfig, collection: Collection, regions: Parts) -> Recipe:
    """Recipe of the measures of regions."""
    known = {
        "command": "detect",
        "detect": _measured(config.detect),
        "collection": collection.fingerprint(),
        "annotations": collection.annotations.fingerprint(),
    }
    return Recipe("run", known, (regions.recipe,))
