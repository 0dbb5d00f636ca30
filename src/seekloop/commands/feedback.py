"""`seekloop search feedback=simulated`: the first images of a ranking are judged, and all are ranked again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from omegaconf import DictConfig
from torch import Tensor

from seekloop.commands.compose import choices
from seekloop.commands.extract import described, prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.reranking import refuse_reranker
from seekloop.commands.search import Settings, of_images
from seekloop.commands.task import Outcome, Run, Task
from seekloop.commands.texts import check_space, encoder_of
from seekloop.commands.whitening import refuse_whitening
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.problems import many
from seekloop.contracts.recipe import Recipe, file_hash, settings
from seekloop.extraction.plan import Extraction
from seekloop.extraction.texts import recipe_of_texts, text_vectors
from seekloop.matching.feedback import FILE, JudgedImages, open_feedback
from seekloop.matching.instance_search import Found, compare
from seekloop.protocol.feedback import FeedbackMeasures, FeedbackProtocol, said
from seekloop.protocol.kinds import FEEDBACK, JUDGED
from seekloop.store.reader import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPACE = (
    "backbone",
    "transform",
    "pooling",
    "longest",
)  # settings of descriptors that judged images and ranked ones share


def with_feedback(config: DictConfig, chosen: Settings, protocol: FeedbackProtocol) -> float:
    """Evaluate relevance feedback, or find that it was done; returns Recall@1 of the largest number of judged images.

    Raises:
        ConfigError: if choices do not fit together, or the feedback of another run does not fit these queries.
    """
    refuse_others(chosen)
    refuse_whitening(
        config, "feedback compares whole images, of one query and of the collection, as they are described"
    )
    refuse_reranker(config, "what a user has judged ranks again itself")
    instances: InstanceSearch = build(config, "instances")
    if instances.texts is not None:
        why, fix = "these queries are words, and the user's first query is an image", "Use instances=feedback_tasks."
        raise ConfigError("instances", choices().get("instances"), why, fix)
    protocol.check(instances)
    extraction = prepare(config, instances.database)
    plan = extraction.plan
    known = None if protocol.source is None else feedback_of(protocol, instances, extraction)
    asking = None if bool((instances.own >= 0).all()) else of_images(extraction, instances, chosen)
    encoder = encoder_of(config) if protocol.anchor == "text" else None
    if encoder is not None:
        check_space(encoder, plan.manifest)

    def find(run: Run) -> Outcome:
        report_collection(instances.database, run.console)
        report_problems(instances.queries.problems, run.console)
        store = described(extraction, config.grid, run.console.say)
        kept, images = own_images(instances, store) if asking is None else asking.vectors(run)
        if known is not None:
            known_rows = [row for row, query in enumerate(kept.tolist()) if key_of(instances, query) in known.queries]
            run.console.say(f"feedback is known for {len(known_rows)} of {len(kept)} queries; the others are left out")
            kept, images = kept[known_rows], images[known_rows]
        found = compare(store, images, "whole")
        judged, same = answers(known, instances, kept, found, extraction, store, max(protocol.sizes))
        anchors = images
        if encoder is not None:
            words = [instances.names[query] for query in kept.tolist()]
            anchors = text_vectors(encoder, words, config.store_dir, run.console.say)
        measures = FeedbackMeasures(protocol, instances, kept, found, images, anchors, judged, same, store)
        results = measures.results()
        run.folder.add_once({"results": results, "judged": measures.feedback()})
        judged.keep(run.folder.path, "runs_dir")
        summary = measures.summary(results)
        run.console.say(said(summary, max(protocol.sizes)))
        rows = results[results["judged"] == measures.main]

        def draw() -> "Figure":
            from seekloop.logs.figures import lines_of_run

            return lines_of_run(FEEDBACK, JUDGED, rows)

        return Outcome(summary, {"recall": draw})

    inputs = [plan.recipe(False)]
    inputs += [] if encoder is None else [recipe_of_texts(encoder, instances.names)]
    return Task(
        config,
        FEEDBACK,
        [instances.database.name, config.instances.get("task"), choices().get("classifier@feedback.classifier")],
        Recipe("run", recipe_settings(protocol, instances), tuple(inputs)),
        overview=lambda folder: folder.table("results").query("judged != 'kept'"),
        problems=[*instances.database.problems, *instances.queries.problems],
        artifacts=(plan.folder, *(() if asking is None else asking.folders)),
        returned="recall_1",
        basis=f"after {many(max(protocol.sizes), 'image', 'images')} judged",
    ).run(find)


def refuse_others(chosen: Settings) -> None:
    """Refuse settings of a search that feedback does not know: it is about whole images as they are described.

    Raises:
        ConfigError: naming the first of them.
    """
    wanted = {"query": "image", "against": "whole", "join": False}
    fix = "Say search.query=image search.against=whole search.join=false."
    for key, value in wanted.items():
        if getattr(chosen, key) != value:
            why = "feedback compares whole images, of one query and of the collection, as they are described"
            raise ConfigError(f"search.{key}", str(getattr(chosen, key)), why, fix)


def recipe_settings(protocol: FeedbackProtocol, instances: InstanceSearch) -> dict[str, object]:
    """Settings that the result depends on; of another run's feedback the content counts, not the folder."""
    source = None if protocol.source is None else file_hash(Path(protocol.source).expanduser() / FILE)
    return {
        "command": "feedback",
        "classifier": settings(protocol.classifier),
        "sizes": list(protocol.sizes),
        "with_query": protocol.with_query,
        "anchor": protocol.anchor,
        "source": source,
        "queries": instances.queries.fingerprint(),
        "names": list(instances.names),
        "wanted": settings(instances.relevant(next(iter(instances.setups)))),
    }


def own_images(instances: InstanceSearch, store: Store) -> tuple[Int[Tensor, " q"], Float[Tensor, "q d"]]:
    """Queries that are images of the database, where these could be read, and their descriptors there."""
    kept = store.readable[instances.own].nonzero()[:, 0]
    if not len(kept):
        why, fix = "no query image could be read", "Check the files named above."
        raise ConfigError("instances", instances.queries.name, why, fix)
    return kept, store.read(instances.own[kept], local=False).global_.float()


def key_of(instances: InstanceSearch, query: int) -> tuple[str, str]:
    """The path of a query's image, and the words for what is wanted: what feedback is found by."""
    return instances.queries.paths[query], instances.names[query]


def space_of(extraction: Extraction) -> str:
    """Settings of descriptors that can be compared, as text."""
    known = extraction.plan.manifest.recipe.settings
    return json.dumps({name: known.get(name) for name in SPACE}, sort_keys=True)


def feedback_of(protocol: FeedbackProtocol, instances: InstanceSearch, extraction: Extraction) -> JudgedImages:
    """Feedback of another run.

    Raises:
        ConfigError: if there is none, of other descriptors, with too few answers, or about none of the queries.
    """
    fix = (
        "Give the folder of a finished run of `seekloop search feedback=simulated`, with the same backbone and queries."
    )
    got = str(protocol.source)
    try:
        known = open_feedback(Path(protocol.source or "").expanduser())
    except StoreError as error:
        raise ConfigError("source", got, f"it holds no feedback ({error})", fix, protocol).located(
            "feedback"
        ) from error
    why = ""
    if known.space != space_of(extraction):
        why = "its descriptors are of another backbone, size of images or pooling"
    elif known.index.shape[1] < max(protocol.sizes):
        most = known.index.shape[1]
        why = f"at most {most} images were judged there, and feedback.sizes asks for {max(protocol.sizes)}"
    elif not {key_of(instances, query) for query in range(len(instances.names))} & set(known.queries):
        why = "it is about none of these queries"
    if why:
        raise ConfigError("source", got, why, fix, protocol).located("feedback")
    return known


def answers(
    known: JudgedImages | None,
    instances: InstanceSearch,
    kept: Int[Tensor, " q"],
    found: Found,
    extraction: Extraction,
    store: Store,
    most: int,
) -> tuple[JudgedImages, bool]:
    """Feedback of the queries that are kept, and whether it is about the images that are ranked."""
    queries = [key_of(instances, query) for query in kept.tolist()]
    own = instances.database.fingerprint()
    if known is not None:
        position = {query: row for row, query in enumerate(known.queries)}
        return known.select(torch.tensor([position[query] for query in queries])), known.collection == own
    setup = next(iter(instances.setups))
    ranking = found.ranking(instances.ignored(setup)[kept] | ~store.readable, most)
    relevant = instances.relevant(setup)[kept]
    paths, space = instances.database.paths, space_of(extraction)
    return JudgedImages.of_ranking(queries, ranking, relevant, own, space, paths, store), True
