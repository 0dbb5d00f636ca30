"""The program from Python: descriptors, parts, searches, simulations and finished runs.

Overrides are those of the command line, as strings, such as "representation=gl_concat_all" or "grid=4x4".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.errors import MissingConfigException
from omegaconf import DictConfig

from seekloop.commands import compose, parts
from seekloop.commands.checks import check_chooses
from seekloop.commands.groups import by_groups, check_groups, check_keys, groups_of
from seekloop.commands.quoting import check_text, quoted
from seekloop.commands.texts import check_space
from seekloop.contracts import boxes as box_geometry
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection, Descriptors, TextEncoder
from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Annotations, Text
from seekloop.descriptors.whitening import Whitened
from seekloop.logs.console import Console
from seekloop.loop.engine import Loop
from seekloop.loop.items import Images
from seekloop.loop.session import Session
from seekloop.loop.sessions import Sessions
from seekloop.matching.expression import joined, parse
from seekloop.store.arrays import ArrayDescriptors, array_descriptors
from seekloop.store.reader import Store, open_store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

COMMANDS = ("retrieve", "learn", "search", "detect", "finetune")
ALWAYS = ("uncertainty",)  # criteria that every person's search may change to: the one that teaches the classifier
OF_LOOP = ("representation", "classifier", "prior", "criterion", "engine", "reranker")
"""Groups of a loop's parts."""
Box = Sequence[float | int]


def extract(*overrides: str) -> Store:
    """Describe a collection, or find it described, and open the store.

    Args:
        overrides: such as "collection=folder", "collection.root=photographs", "grid=4x4".

    Raises:
        ConfigError: if the choices do not fit together.
    """
    from seekloop.commands.extract import prepare
    from seekloop.extraction.describe import ensure

    config = _config("extract", overrides)
    extraction = prepare(config)
    folder = ensure(extraction, Console().say)
    store = open_store(folder, config.grid if extraction.plan.manifest.grids is not None else None)
    store.collection = extraction.collection
    return store


def describe(
    source: "str | Path | ArrayLike",
    *overrides: str,
    boxes: "ArrayLike | None" = None,
    offsets: "ArrayLike | None" = None,
    global_descriptors: "ArrayLike | None" = None,
) -> Store | ArrayDescriptors:
    """Describe the images of a folder, or take arrays as descriptors.

    Args:
        source: a folder; or an array: (n, d) with a global descriptor per image, or with boxes the local descriptors
            of regions, (r, d), one image after the other.
        overrides: for a folder, such as "backbone=dinov2_s", "grid=4x4".
        boxes: for arrays, of the regions: (x0, y0, x1, y1) in fractions of the image, one per row; without offsets
            those that every image has.
        offsets: for arrays whose images have different numbers of regions, (n + 1): the regions of image i are rows
            `offsets[i]` to `offsets[i + 1] - 1`.
        global_descriptors: for arrays of regions, (n, d); without them the mean of the regions.

    Raises:
        ConfigError: if the choices or the arrays do not fit together.
    """
    if not isinstance(source, str | Path):
        if overrides:
            raise ConfigError("overrides", overrides, "arrays are described already", "Leave them out.", describe)
        return array_descriptors(source, boxes, offsets, global_descriptors)
    if boxes is not None or offsets is not None or global_descriptors is not None:
        why = "boxes, offsets and global_descriptors are those of arrays, and this is a folder"
        raise ConfigError("source", str(source), why, "Leave them out; regions=... chooses a folder's.", describe)
    return extract("collection=folder", f"collection.root={quoted(str(source))}", *overrides)


def build(*overrides: str, **given: object) -> Any:  # noqa: ANN401 - whatever the first override names
    """Build one part, with its defaults where nothing else is said: `build("criterion=typiclust")`.

    Args:
        overrides: the choice of a group, then keys, such as "criterion=typiclust", "criterion.neighbours=5".
        given: arguments that no config has, such as the annotations of `build("user=simulated", annotations=...)`.

    Raises:
        ConfigError: if no group of parts is chosen, or the part cannot be built.
    """
    group = overrides[0].partition("=")[0] if overrides else ""
    path = group.replace("/", ".")
    if group == "detector":  # mounted below the regions that a detector finds
        path = "regions.detector"
        moved = [f"regions.{word}" if word.startswith("detector.") else word for word in overrides[1:]]
        group, overrides = "regions", ("regions=claid", f"detector@{path}={overrides[0].partition('=')[2]}", *moved)
    command = next((name for name in COMMANDS if group in groups_of(name)), None)
    if command is None:
        known = ", ".join(dict.fromkeys(name for command in COMMANDS for name in groups_of(command)))
        raise ConfigError("build", group, "it is no group of parts", f"Begin with group=entry. Groups: {known}.")
    config = _config(command, overrides)
    try:
        part = parts.build(config, path, **given)
    except ConfigError as error:
        if error.got != "(missing)":
            raise
        fix = f"Give it: build({overrides[0]!r}, {error.key.rpartition('.')[2]}=...)."
        raise ConfigError(error.key, error.got, error.why, fix, error.owner) from error
    if part is None and path not in parts.KINDS:
        raise ConfigError("build", overrides[0], f"{group} is a group of keys, and no part", "Choose a part's group.")
    return part


def build_loop(descriptors: Descriptors, *overrides: str) -> Loop:
    """Build the loop that `seekloop retrieve` with these overrides would run, over these descriptors."""
    return _loop(_config("retrieve", overrides), descriptors)


def _loop(config: DictConfig, descriptors: Descriptors) -> Loop:
    """The loop of a config, whose criterion is tried out first."""
    from seekloop.commands.reranking import reranker_over
    from seekloop.commands.whitening import refuse_whitening

    why = "these descriptors are there already"
    refuse_whitening(config, f"{why}; seekloop.descriptors.whitening.Whitened(descriptors, whitening) whitens them")
    chosen = compose.loop_parts(config)
    check_chooses(chosen.criterion)
    say = Console().say
    return chosen.loop(descriptors, config.seed, say, reranker_over(config, descriptors, say))


def session(
    descriptors: Descriptors,
    image: int | str | None = None,
    overrides: Sequence[str] = (),
    *,
    pixels: Box | None = None,
    fractions: Box | None = None,
    size: tuple[int, int] | None = None,
    criteria: Sequence[str] = (),
    words: str = "",
    vector: "ArrayLike | None" = None,
) -> Session:
    """Start a person's search from an image, from words, or from both, with the parts that a config describes.

    Args:
        descriptors: a store, or arrays.
        image: the first image: its position, or its path from the collection's folder; None with words alone.
        overrides: such as "representation=gl_concat_all", "loop.budget=6"; with words also those of their encoder, such
            as "text=openclip". Without a criterion among them, `pf_mmr` chooses the questions.
        pixels: the object's box, (x0, y0, x1, y1) in pixels of the upright image.
        fractions: the same in fractions of its width and height. Without either, the whole image is the object.
        size: width and height, for a box in pixels where descriptors are arrays; a store knows its images.
        criteria: names of criteria that the search may change to (`Session.use`), such as "top"; the loop's own and
            `uncertainty` are always among them.
        words: that say what to search for, such as "a red bus", or `2*"golden retriever" - "indoors"`. Similarity to
            them ranks while there are few answers (`prior=similarity`).
        vector: of the words, (d,), in the space of the descriptors; None: that of the encoder `text=...`.

    Raises:
        ConfigError: if the image or the size is not known, the box is given twice, or words and descriptors cannot be
            compared.
        ValueError: if the image is unreadable, or the box has no area inside it.
    """
    text, overrides = _text(descriptors, words, vector, overrides)
    if text is None and image is None:
        why = "a search begins with an image or with words"
        raise ConfigError("image", image, why, "Give image=..., or words=...", session)
    if image is None and (pixels is not None or fractions is not None):
        raise ConfigError("image", image, "there is a box, but no image", "Give the image that it is in.", session)
    position, box = (None, None) if image is None else _example(descriptors, image, pixels, fractions, size)
    config = _config("retrieve", _for_a_person(overrides))
    images = Images(descriptors.images, paths=_paths(descriptors))
    loop = _loop(config, descriptors)
    return _start(loop, config, position, box, images, criteria, text)


def _text(
    descriptors: Descriptors, words: str, vector: "ArrayLike | None", overrides: Sequence[str]
) -> tuple[Text | None, Sequence[str]]:
    """The text of a search with its vector, None without words; and the overrides of the loop."""
    if begun := next((word for word in overrides if word.startswith(("query=", "query."))), None):
        why, fix = "a person's search begins with what it is given", "Give image=..., words=..., or both."
        raise ConfigError("overrides", begun, why, fix, session)
    of_text = [word for word in overrides if word.startswith(("text=", "text."))]
    rest = [word for word in overrides if word not in of_text]
    if vector is None and not words:
        return None, overrides
    if vector is None:
        if not of_text:
            why, fix = (
                "no encoder of texts is chosen",
                'Give "text=openclip", "text=tiny_clip", "text=vocabulary", or their vector=...',
            )
            raise ConfigError("words", words, why, fix, session)
        encoder: TextEncoder = build(*sorted(of_text, key=lambda word: not word.startswith("text=")))
        _check_comparable(encoder, descriptors)
        terms = parse(words, lambda _: False)
        vector = joined(terms, encoder([term.content for term in terms]))
    text = Text(words, torch.as_tensor(vector).detach().float().cpu())
    if text.vector.shape != (descriptors.dim,):
        why = f"the descriptors have {descriptors.dim} dimensions"
        shape = f"array of shape {tuple(text.vector.shape)}"
        raise ConfigError("vector", shape, why, f"Give shape ({descriptors.dim},).", session)
    return text, ("prior=similarity", *rest)


def _check_comparable(encoder: TextEncoder, descriptors: Descriptors) -> None:
    """Refuse an encoder whose vectors are not in the space of a store, or of another width than arrays."""
    if isinstance(descriptors, Whitened):
        why = "whitened descriptors are in the space of no text"
        raise ConfigError("text", encoder.name, why, "Search by an example, or in the descriptors as they were.")
    if isinstance(descriptors, Store):
        check_space(encoder, descriptors.manifest)
    elif encoder.dim != descriptors.dim:
        why = f"its vectors have {encoder.dim} dimensions, the descriptors {descriptors.dim}"
        raise ConfigError("text", encoder.name, why, "Choose the encoder that was trained with this backbone.")


@contextmanager
def saved_session(
    path: str | Path,
    descriptors: Descriptors,
    image: int | str | None = None,
    overrides: Sequence[str] = (),
    *,
    name: str = "",
    pixels: Box | None = None,
    fractions: Box | None = None,
    size: tuple[int, int] | None = None,
    criteria: Sequence[str] = (),
    words: str = "",
    vector: "ArrayLike | None" = None,
) -> Iterator[Session]:
    """Begin a person's search whose events are kept in a file, or go on with the one that is there.

    Every answer is on disk before the next question. Images are named by what they hold where the collection knows
    that: a search goes on after images were added, renamed or removed.

    Args:
        path: of the file, a SQLite database such as "beach.sqlite"; it may hold several searches, told apart by name.
        descriptors: a store, or arrays, to which images may only be appended.
        image: the first image of a new search; not needed to go on.
        overrides: as for `session`; a search goes on with the parts that it began with.
        name: title of the search, or its id; may be left out where the file holds one search alone.
        pixels: as for `session`; and so on to criteria.
        fractions: the same in fractions.
        size: of the image, where descriptors are arrays.
        criteria: names of criteria that the search may change to.
        words: of a search that starts from words; as for `session`, also to go on.
        vector: of the words.

    Raises:
        ConfigError: as for `session`, if a new search has neither image nor words, or the file holds several searches
            and none is named.
        StoreError: if the search began with other parts, or the file is damaged.
        BusyError: by an answer, if another process added one to the search meanwhile.
    """
    collection = _collection(descriptors)
    images = Images(descriptors.images) if collection is None else Images.of(collection)
    text, overrides = _text(descriptors, words, vector, overrides)
    chosen = _for_a_person(overrides)
    config = _config("retrieve", chosen)
    loop = _loop(config, descriptors)
    with Sessions(path) as sessions:
        parts = settings(loop)
        if (known := _kept_as(sessions, name)) is not None:
            yield Session(loop, sessions.open(known, parts), images=images, criteria=_criteria(criteria))
            return
        if image is None and text is None:
            fix = "Give the first image, or words."
            raise ConfigError("image", image, f"{path} holds no search yet", fix, saved_session)
        position, box = (None, None) if image is None else _example(descriptors, image, pixels, fractions, size)
        search = _start(loop, config, position, box, images, criteria, text)
        about = {"overrides": _recorded(chosen)}
        search.log = sessions.create(parts, title=name, about=about, events=search.events)
        yield search


def _kept_as(sessions: Sessions, name: str) -> str | None:
    """Id of the search of this name, or of the only one; None where there is none yet."""
    listed = sessions.listed()
    found = [one.id for one in listed if not name or name in (one.id, one.title)]
    if len(found) > 1:
        known = ", ".join(repr(one.title or one.id) for one in listed[:5])
        raise ConfigError("name", name, f"{sessions.path} holds several such searches", f"Name one: {known}.")
    return found[0] if found else None


def _start(
    loop: Loop,
    config: DictConfig,
    image: int | None,
    box: Box | None,
    images: Images,
    criteria: Sequence[str],
    text: Text | None = None,
) -> Session:
    return Session.start(
        loop,
        image,
        box,
        text=text,
        negatives=config.loop.negatives,
        budget=config.loop.budget,
        images=images,
        criteria=_criteria(criteria),
    )


def _criteria(names: Sequence[str]) -> dict[str, Any]:
    return {name: build(f"criterion={name}") for name in (*ALWAYS, *names)}


def _for_a_person(overrides: Sequence[str]) -> Sequence[str]:
    """Overrides of a person's search: PF-MMR chooses the questions where nothing says otherwise."""
    chosen = any(word.lstrip("+").startswith(("criterion=", "criterion@", "experiment=")) for word in overrides)
    return overrides if chosen else ["criterion=pf_mmr", *overrides]


def _recorded(overrides: Sequence[str]) -> list[str]:
    """Overrides with the entries that nobody chose, as `seekloop replay` begins with others."""
    chosen = {word.lstrip("+").partition("=")[0] for word in overrides}
    entries = groups_of("retrieve")
    return [*(f"{group}={entries[group]}" for group in OF_LOOP if group not in chosen), *overrides]


def _collection(descriptors: Descriptors) -> Collection | None:
    return getattr(descriptors, "collection", None)


def _paths(descriptors: Descriptors) -> Sequence[str] | None:
    collection = _collection(descriptors)
    return None if collection is None else collection.paths


def _example(
    descriptors: Descriptors,
    image: int | str,
    pixels: Box | None,
    fractions: Box | None,
    size: tuple[int, int] | None,
) -> tuple[int, Box | None]:
    """Position of the first image, and the object's box in fractions."""
    collection = _collection(descriptors)
    if isinstance(image, str):
        if collection is None:
            why, fix = "these descriptors do not know the names of their images", "Give the image's position."
            raise ConfigError("image", image, why, fix, session)
        if image not in collection.paths:
            why = f"it is none of the {len(collection.paths)} images, such as {collection.paths[0]!r}"
            raise ConfigError("image", image, why, "Give its path from the collection's folder.", session)
        image = list(collection.paths).index(image)
    if pixels is None:
        return image, fractions
    if fractions is not None:
        raise ConfigError("fractions", fractions, "pixels give a box already", "Give one of them.", session)
    if size is None:
        if collection is None:
            why = "these descriptors do not know the sizes of their images"
            raise ConfigError("pixels", pixels, why, "Give size=(width, height), or fractions=... instead.", session)
        size = collection.read(image).size
    width, height = size
    x0, y0, x1, y1 = pixels
    return image, box_geometry.pixels(x0, y0, x1, y1, width=width, height=height)


def annotations(
    labels: Sequence[str | None], image: Sequence[int] | None = None, boxes: "ArrayLike | None" = None
) -> Annotations:
    """Annotations from plain lists, one entry per object.

    Args:
        labels: name of the class; None for no object.
        image: position of the object's image; without it, entry i is of image i.
        boxes: (x0, y0, x1, y1) in fractions of the image; without them, every object fills its image.

    Example:
        >>> annotations(["cat", None, "dog", "cat"]).relevance(4).int().tolist()  # cat, dog
        [[1, 0, 0, 1], [0, 0, 1, 0]]
    """
    kept = [row for row, label in enumerate(labels) if label is not None]
    classes = tuple(sorted({str(labels[row]) for row in kept}))
    whole = torch.tensor([box_geometry.WHOLE_IMAGE])
    box = whole.repeat(len(labels), 1) if boxes is None else torch.as_tensor(boxes).float()
    nothing = torch.zeros(len(kept), dtype=torch.bool)
    return Annotations(
        classes,
        torch.tensor([row if image is None else int(image[row]) for row in kept], dtype=torch.long),
        torch.tensor([classes.index(str(labels[row])) for row in kept], dtype=torch.long),
        box[kept],
        crowd=nothing,
        difficult=nothing,
    )


def simulate(descriptors: Descriptors, annotations: Annotations, *overrides: str) -> "pd.DataFrame":
    """Run simulated searches over descriptors, without files.

    Args:
        descriptors: a store, or arrays.
        annotations: of the images; only the simulated user and the metrics see them.
        overrides: such as "representation=go", "criterion=typiclust", "loop.queries=5", "loop.rounds=10".

    Returns:
        One row per search and round; columns as in `rounds.parquet`.

    Raises:
        ConfigError: if the choices do not fit together, or nothing can be searched for.
    """
    import pandas as pd

    from seekloop.commands.queries import asked_by_words
    from seekloop.commands.simulated import simulation_of, stop_rule
    from seekloop.protocol.scoreboard import Scoreboard
    from seekloop.protocol.stopping import Stops

    config = _config("retrieve", overrides)
    asked, loop = simulation_of(config), _loop(config, descriptors)
    rule = stop_rule(config, loop.criterion)
    last = int(annotations.image.max()) if len(annotations.image) else -1
    if last >= descriptors.images:
        why = f"they are of {last + 1} images or more, and descriptors are there of {descriptors.images}"
        raise ConfigError("annotations", f"image {last}", why, "Give those of the same images.", simulate)
    known = annotations.keep(descriptors.readable[annotations.image])
    queries, _ = asked.draw(known, descriptors.readable, ())
    words = asked_by_words(config, loop.prior, queries, "the collection", known.classes)
    if words is not None:
        _check_comparable(words.encoder, descriptors)
        queries = words.encoded(None, lambda _: None).begin(queries)
    draws = loop.representation.local.uses_boxes
    user = parts.build(config, "user", annotations=known, seed=asked.seed, draws_boxes=draws)
    paths = [str(image) for image in range(descriptors.images)]
    measured = {"clusters": asked.clusters, "clusterings": asked.clusterings, "seed": asked.seed}
    board = Scoreboard(known, queries, loop.global_descriptors, paths, **measured)
    state = loop.start(queries, [user.seed_seconds(query) for query in queries])
    stops = Stops(rule, loop, board.relevant)
    rounds = stops.until(loop.rounds(state, user, rounds=asked.rounds, budget=asked.budget))
    return pd.concat([board.rounds(*one).assign(**stops.columns()) for one in rounds], ignore_index=True)


def runs(folder: str | Path, table: str | None = None) -> "pd.DataFrame":
    """Finished runs below a folder as a data frame.

    Args:
        folder: such as "runs" or "runs/mine".
        table: None: a row per run, with its choices, its seed, and the numbers of its summary. Or the name of a table,
            such as "rounds" or "asked": the rows of all runs that have it, with the run's name in front.

    Raises:
        ConfigError: if no finished run below the folder has such a table.
    """
    import pandas as pd

    from seekloop.commands.kinds import KINDS
    from seekloop.logs.finished import finished_runs

    finished, _ = finished_runs(Path(folder), KINDS)
    if table is None:
        return pd.DataFrame([_row(run.path, run.config, run.summary()) for run in finished])
    paths = {run.path: run.path / f"{table}.parquet" for run in finished}
    tables = {run: pd.read_parquet(path) for run, path in paths.items() if path.is_file()}
    if not tables:
        known = sorted({path.stem for run in paths for path in run.glob("*.parquet")})
        why = f"none of {len(finished)} finished runs below {folder} has it"
        raise ConfigError("table", table, why, f"Choose from: {', '.join(known) or 'nothing yet'}.", runs)
    for run, rows in tables.items():
        rows.insert(0, "run", run.name)
    return pd.concat(tables.values(), ignore_index=True)


def _row(path: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, object]:
    """A run's choices, seed and numbers."""
    numbers = {name: value for name, value in summary.items() if not isinstance(value, dict | list)}
    chosen = {group: name for group, name in config.get("choices", {}).items() if "/" not in group}
    return {"run": path.name, "folder": str(path), **chosen, "seed": config.get("seed"), **numbers}


def _config(command: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a command's config, and refuse what its command line would refuse."""
    overrides = by_groups(overrides)
    check_groups(command, overrides)
    try:
        config = compose.resolve(command, overrides)
    except MissingConfigException as error:
        group, _, entry = str(error.missing_cfg_file).rpartition("/")
        if not (group and error.options):
            raise
        likely = "".join(f"Did you mean {one}? " for one in get_close_matches(entry, error.options, n=1))
        fix = f"{likely}Entries: {', '.join(error.options)}."
        raise ConfigError(group, entry, "there is no such entry", fix) from error
    check_text(config, overrides)
    check_keys(command, config)
    return config
