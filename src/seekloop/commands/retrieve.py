"""`seekloop retrieve`: simulated searches over a collection, from images to curves."""

import time

import torch
from omegaconf import DictConfig

from seekloop.commands import recipes
from seekloop.commands.checks import check
from seekloop.commands.compose import LoopParts, loop_parts
from seekloop.commands.extract import described, prepare, report_collection
from seekloop.commands.parts import build
from seekloop.commands.queries import Asked, asked_by_words
from seekloop.commands.reranking import reranking_of
from seekloop.commands.simulated import simulation_of, stop_rule
from seekloop.commands.task import Outcome, Run, Task, refuse
from seekloop.commands.texts import check_space
from seekloop.commands.whitening import refuse_whitening, whitening_of
from seekloop.contracts.problems import many
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.records import Annotations, Query
from seekloop.descriptors.whitening import Whitened
from seekloop.extraction.plan import Extraction
from seekloop.loop.engine import check_pool
from seekloop.protocol.kinds import SEARCHES
from seekloop.protocol.searches import Searches
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.protocol.simulation import Simulation
from seekloop.protocol.summary import per_class, where_stopped


def retrieve(config: DictConfig) -> float:
    """Run the searches of a config, or find that they are finished; returns the area under the MAP curve."""
    refuse(config)
    simulation, parts = simulation_of(config), loop_parts(config)
    rule = stop_rule(config, parts.criterion)
    extraction = prepare(config)
    collection, plan = extraction.collection, extraction.plan
    user = simulated_user(config, parts, collection.annotations)
    whitening = whitening_of(config, extraction, parts.representation.local.uses_regions)
    reranking = reranking_of(config, extraction, by_region=False)
    asked = words_of(config, parts, simulation, extraction)

    def search(run: Run) -> Outcome:
        report_collection(collection, run.console)
        check(parts, truth=plan.parts.truth)
        _announce(run)
        words = None if asked is None else asked.encoded(config.store_dir, run.console.say)
        store = described(extraction, config.grid, run.console.say)
        started = time.monotonic()
        searches = Searches(simulation, collection, store, run.console.say, words, rule)
        read: Descriptors = store if whitening is None else Whitened(store, whitening.ensure(run.console.say))
        reranker = None if reranking is None else reranking.over(read, run.console.say)
        loop = parts.loop(read, simulation.seed, run.console.say, reranker)
        run.read, run.region_box = collection.read, searches.region_box
        answering = simulated_user(config, parts, searches.annotations)
        searches.play(loop, answering, run.folder, run.log().catch_up, run.console.rounds)
        summary = searches.summary(run.folder.table("rounds"))
        if (line := where_stopped(summary)) is not None:
            run.console.say(line)
        return Outcome({**summary, "machine_seconds": round(time.monotonic() - started, 2)})

    def _announce(run: Run) -> None:
        """Find out before images are described whether anything can be searched for."""
        readable = torch.ones(len(collection.paths), dtype=torch.bool)
        queries, _ = simulation.draw(collection.annotations, readable, collection.problems)
        candidates = len(collection.paths) - 1 - simulation.negatives
        check_pool(candidates, simulation.rounds, simulation.budget, owner=simulation)
        if not plan.finished:
            size = f"{simulation.rounds} rounds x {simulation.budget}"
            run.console.say(f"{many(len(queries), 'search', 'searches')} of {size}, once images are described")

    return Task(
        config,
        SEARCHES,
        recipes.retrieval_words(parts, config, plan),
        recipes.retrieval(
            parts,
            simulation,
            user,
            plan,
            None if asked is None else asked.recipe,
            None if whitening is None else whitening.recipe,
            None if reranking is None else reranking.recipe,
            rule,
        ),
        overview=lambda folder: per_class(folder.table("rounds")),
        problems=collection.problems,
        noted={"store_key": plan.key},
        artifacts=(
            plan.folder,
            *(folder for one in (whitening, reranking) if one is not None for folder in one.folders),
        ),
    ).run(search)


def words_of(config: DictConfig, parts: LoopParts, simulation: Simulation, extraction: Extraction) -> Asked | None:
    """Words that the searches begin with, checked against the descriptors; None where they begin with a box alone.

    Raises:
        ConfigError: if there is nothing to search for, or words and descriptors cannot be compared.
    """
    collection, queries = extraction.collection, list[Query]()
    if "_target_" in config.query:
        readable = torch.ones(len(collection.paths), dtype=torch.bool)
        queries += simulation.draw(collection.annotations, readable, collection.problems)[0]
    asked = asked_by_words(config, parts.prior, queries, collection.name, collection.annotations.classes)
    if asked is not None:
        refuse_whitening(config, "words are compared with descriptors as they are")
        check_space(asked.encoder, extraction.plan.manifest)
    return asked


def simulated_user(config: DictConfig, parts: LoopParts, annotations: Annotations) -> SimulatedUser:
    """The user of a config, who draws boxes where the representation reads them."""
    draws = parts.representation.local.uses_boxes
    user: SimulatedUser = build(config, "user", annotations=annotations, seed=config.seed, draws_boxes=draws)
    return user
