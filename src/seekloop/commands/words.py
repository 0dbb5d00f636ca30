"""`seekloop search "a red bus"`: a collection ranked by words, with the regions that answer."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from seekloop.commands.compose import plain
from seekloop.commands.extract import described, prepare, report_problems
from seekloop.commands.reranking import reranking_of
from seekloop.commands.task import Outcome, Run, Task
from seekloop.commands.texts import check_space, encoder_of
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.grids import write_grid
from seekloop.contracts.protocols import TextEncoder
from seekloop.contracts.recipe import Recipe, file_hash
from seekloop.contracts.records import Example, Regions
from seekloop.extraction.describe import global_descriptor
from seekloop.extraction.plan import Extraction
from seekloop.extraction.texts import recipe_of_texts, text_vectors
from seekloop.images.decoding import read_rgb, suffixes
from seekloop.logs.console import Console
from seekloop.matching.expression import Term, joined, parse
from seekloop.matching.instance_search import GLOBAL, Against, compare
from seekloop.protocol.kinds import WORDS
from seekloop.store.reader import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRINTED = 10  # images of the ranking on the console
SLUG = 32  # letters of the query in the run's name


def by_words(config: DictConfig, against: Against, kept: int, shown: int) -> float:
    """Rank a collection by a query of words and pictures, or find that it was done; returns the highest score."""
    try:
        return _by_words(config, against, kept, shown)
    except ConfigError as error:
        raise (error.located("search") if error.key == "words" else error) from error


def _by_words(config: DictConfig, against: Against, kept: int, shown: int) -> float:
    parse(str(config.search.words), lambda _: False)  # a mistake is told before networks are loaded
    extraction = prepare(config)
    collection, plan = extraction.collection, extraction.plan
    paths = list(collection.paths)
    encoder = encoder_of(config)
    check_space(encoder, plan.manifest)
    terms = parse(str(config.search.words), lambda term: is_image(term, extraction))
    texts = [term.content for term in terms if not term.image]
    for text in texts:
        note(encoder, text, Console())  # an unknown word is refused now
    pictures = {term.content: picture_hash(term.content, extraction) for term in terms if term.image}
    local = against != "whole"
    asked = {
        "command": "words",
        "terms": [[term.weight, pictures.get(term.content, term.content), term.image] for term in terms],
        "against": against,
        "kept": kept,
        "grid": write_grid(plan.parts.asked) if local and plan.parts.asked else None,
    }
    reranking = reranking_of(config, extraction, local)
    inputs = [plan.recipe(local or bool(pictures)), *([recipe_of_texts(encoder, texts)] if texts else [])]
    inputs += [] if reranking is None else [reranking.recipe]

    def find(run: Run) -> Outcome:
        report_problems(collection.problems, run.console)
        store = described(extraction, config.grid, run.console.say)
        query = joined(terms, vectors_of(terms, encoder, extraction, store, run))
        found = compare(store, query[None], against)
        if reranking is not None:
            examples = tuple(Example(paths.index(term.content)) for term in terms if is_example(term, paths))
            found = reranking.found(found, store, [query[None]], [examples], run.console.say).found
        images = found.ranking(~store.readable[None], kept)
        images = images[images >= 0][None]
        boxes = found.boxes(store, images)[0]
        table = pd.DataFrame({"rank": range(1, images.shape[1] + 1), "image": images[0].numpy()})
        table["path"] = [collection.paths[image] for image in images[0].tolist()]
        table["score"] = found.scores[0, images[0]].double().numpy()
        table["region"] = found.region[0, images[0]].numpy()
        table[["x0", "y0", "x1", "y1"]] = boxes.double().numpy()
        run.folder.add_once({"ranking": table})
        for row in table.head(PRINTED).itertuples():
            box = "" if row.region == GLOBAL else f"  ({row.x0:.2f}, {row.y0:.2f}, {row.x1:.2f}, {row.y1:.2f})"
            run.console.say(f"{row.rank:4d}  {row.score:+.3g}  {row.path}{box}")
        regions = plan.located(run.console.say).regions

        def draw() -> "Figure":
            from seekloop.logs.pictures import answers_of_words

            return answers_of_words(
                table, collection.read, lambda image, region: mask_of(regions, image, region), shown
            )

        summary = {"best_score": float(table["score"].max()), "images": int(store.readable.sum())}
        return Outcome(summary, {"answers": draw} if shown else {})

    slug = "".join(letter if letter.isalnum() else "_" for letter in plain(config)["search"]["words"])[:SLUG].strip("_")
    return Task(
        config,
        WORDS,
        [collection.name, slug or "words", against],
        Recipe("run", asked, tuple(inputs)),
        overview=lambda folder: folder.table("ranking"),
        problems=collection.problems,
        artifacts=(plan.folder, *(() if reranking is None else reranking.folders)),
    ).run(find)


def note(encoder: TextEncoder, text: str, console: Console) -> None:
    """Say how an encoder reads a text, if it can say so."""
    explain = getattr(encoder, "note", None)
    if callable(explain):
        console.say(explain(text))


def is_image(term: str, extraction: Extraction) -> bool:
    """Whether a term is the path of an image: of the collection, or of a file, there or not."""
    return term in extraction.collection.paths or PurePath(term).suffix.lower() in suffixes()


def is_example(term: Term, paths: Sequence[str]) -> bool:
    """Whether a term is an image of the collection that shows what is searched for."""
    return term.image and term.weight > 0 and term.content in paths


def picture_hash(term: str, extraction: Extraction) -> str:
    """Identity of an image of a query: its path in the collection, or the hash of its file.

    Raises:
        ConfigError: if it is neither.
    """
    if term in extraction.collection.paths:
        return term
    file = Path(term).expanduser()
    if not file.is_file():
        why = f"it is neither one of the images of {extraction.collection.name} nor a file"
        fix = 'Give the path from the collection\'s folder, or that of a file; words with a dot in quotes: "node.js".'
        raise ConfigError("words", term, why, fix)
    return file_hash(file)


def vectors_of(
    terms: tuple[Term, ...], encoder: TextEncoder, extraction: Extraction, store: Store, run: Run
) -> Float[Tensor, "t d"]:
    """A vector of unit length for each term: of its words, or the global descriptor of its image.

    Raises:
        ConfigError: if an image cannot be read.
    """
    texts = [term.content for term in terms if not term.image]
    rows = iter(text_vectors(encoder, texts, extraction.store_dir, run.console.say) if texts else ())
    vectors = [picture_vector(term.content, extraction, store) if term.image else next(rows) for term in terms]
    return torch.stack(vectors)


def picture_vector(term: str, extraction: Extraction, store: Store) -> Float[Tensor, " d"]:
    """Global descriptor of an image of the collection, or of a file."""
    paths = list(extraction.collection.paths)
    if term in paths:
        image = paths.index(term)
        if not bool(store.readable[image]):
            raise ConfigError("words", term, "this image of the collection could not be read", "Choose another one.")
        return store.read(torch.tensor([image]), local=False).global_[0]
    try:
        picture = read_rgb(Path(term).expanduser())
    except UnreadableImageError as error:
        raise ConfigError("words", term, f"it cannot be read ({error.why})", "Choose another image.") from error
    return F.normalize(global_descriptor(extraction, picture), dim=1)[0]


def mask_of(regions: Regions, image: int, region: int) -> np.ndarray | None:
    """Mask of a region on its map of tokens; None where regions are boxes, or the whole image answered."""
    masks = None if region == GLOBAL else regions.masks_of(image)
    return None if masks is None else masks[region].numpy()
