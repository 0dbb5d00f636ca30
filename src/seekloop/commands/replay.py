"""`seekloop replay`: a person's session, played again event by event and compared, and the run that it is."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seekloop.app.export import slug
from seekloop.commands.compose import choices, loop_parts, plain
from seekloop.commands.extract import described, prepare
from seekloop.commands.recipes import named
from seekloop.commands.reranking import reranker_over
from seekloop.commands.serve import criterion
from seekloop.commands.sessions import database
from seekloop.commands.task import Outcome, Run, Task, refuse
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.problems import many
from seekloop.contracts.protocols import Collection, Criterion
from seekloop.contracts.recipe import Recipe, settings
from seekloop.logs.console import Console
from seekloop.logs.run_folder import RunFolder, RunState
from seekloop.loop.engine import Loop
from seekloop.loop.events import CriterionChanged, Event, ExampleAdded, MemoryLog, Started
from seekloop.loop.items import Images
from seekloop.loop.replay import Replay, replayed
from seekloop.loop.session import Session
from seekloop.loop.sessions import Sessions, written
from seekloop.protocol.kinds import SESSIONS
from seekloop.protocol.sessions import Tally, tables, tally

APART = {"sessions", "session", "exports_dir", "runs_dir", "experiment_name", "serve", "loop"}
APART |= {"wandb", "force", "verify"}
"""Keys of what a session was begun with that its replay does not need."""


def with_session(arguments: Sequence[str]) -> list[str]:
    """The arguments of a replay whose first one names the session, with the overrides that the session began with.

    Raises:
        ConfigError: if there is no such session.
        StoreError: if the database is damaged.
    """
    name = next((word for word in arguments if "=" not in word and not word.startswith("-")), None)
    if name is None:
        return list(arguments)
    given = [word for word in arguments if word != name]
    path = next((word.partition("=")[2] for word in given if word.startswith("sessions=")), "sessions.sqlite")
    with database(path) as sessions:
        id = sessions.find(name)
        return [*overrides_of(sessions, id, given), f'session="{id}"']


def overrides_of(sessions: Sessions, id: str, given: Sequence[str]) -> list[str]:
    """Overrides that build the loop of a session: those it began with, and others in place of some."""
    chosen = {_key(word) for word in given}
    began = [str(word) for word in sessions.about(id).get("overrides", ())]
    return [*(word for word in began if not {_key(word), _key(word).partition(".")[0]} & (chosen | APART)), *given]


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def replay(config: DictConfig) -> float:
    """Replay the session of a config, leave its run, and return the share of relevant images among those asked about.

    Raises:
        ConfigError: if there is no such session, or its loop cannot be built from the config.
        StoreError: if it began with other parts, or a question comes out otherwise; the run says so, too.
    """
    refuse(config)
    if config.session is None:
        why, fix = "no session is named", "Type: seekloop replay <id>; `seekloop session ls` lists them."
        raise ConfigError("session", None, why, fix)
    with database(config.sessions) as sessions:
        id = sessions.find(str(config.session))
        found = rebuilt(config, sessions, id, Console().say)
        title = sessions.kept(id, events=False).title
    left = leave_run(config, found.session, id=id, title=title, collection=found.collection, others=found.others)
    if left.replay.differs is not None:
        raise StoreError(f"{left.replay.said}. Other versions or settings computed it; its run is {left.folder}")
    return left.precision


@dataclass(frozen=True)
class Rebuilt:
    """A session over the images of now; nothing is added to its events.

    Attributes:
        session: itself.
        collection: the images.
        others: its loop over fewer of its uploads, as it was before these were given, and the names of the images.
    """

    session: Session
    collection: Collection
    others: Sequence[tuple[Loop, Images]]


def rebuilt(config: DictConfig, sessions: Sessions, id: str, say: Callable[[str], None]) -> Rebuilt:
    """Build the loop of a session again, over the descriptors that a config names and the uploads that it was given.

    Raises:
        ConfigError: if the choices do not fit together.
        StoreError: if it began with other parts.
    """
    from seekloop.app.library import Indexed
    from seekloop.app.uploads import Uploads

    extraction = prepare(config)
    collection, chosen = extraction.collection, loop_parts(config)
    store = described(extraction, config.grid, say)

    def over(indexed: Indexed) -> tuple[Loop, Images]:
        reranker = reranker_over(config, indexed.descriptors, say)
        return chosen.loop(indexed.descriptors, config.seed, say, reranker), indexed.images

    steps = [Indexed(collection, store, Images.of(collection))]
    events = sessions.open(id, settings(over(steps[0])[0])).read()
    uploads = Uploads(page_folder(config) / "uploads")
    outside = [name for name in dict.fromkeys(examples_of(events)) if steps[0].images.position(name) is None]
    outside = [name for name in outside if uploads.find(name) is not None]
    for count in range(1, len(outside) + 1):
        added = uploads.collection(outside[:count])
        descriptors = described(replace(extraction, collection=added), config.grid, say)
        steps.append(steps[0].followed_by(added, descriptors, outside[:count]))
    *others, (loop, images) = [over(step) for step in steps]
    criteria = criteria_of(events, loop.criterion)
    return Rebuilt(Session(loop, MemoryLog(events), images=images, criteria=criteria), collection, others)


def page_folder(config: DictConfig) -> Path:
    """Where the page keeps its pictures, beside the stores."""
    return Path(config.store_dir) / "page"


def examples_of(events: Sequence[Event]) -> list[str]:
    """Names of all images that a session was given as examples."""
    begun = [one.image for event in events if isinstance(event, Started) for one in event.examples]
    return [*begun, *(event.example.image for event in events if isinstance(event, ExampleAdded))]


def criteria_of(events: Sequence[Event], own: Criterion) -> dict[str, Criterion]:
    """The criteria that a session changed to, by name; that of its loop as it is configured."""
    names = {event.criterion for event in events if isinstance(event, CriterionChanged)}
    return {name: own if name == choices().get("criterion") else criterion(name) for name in sorted(names)}


@dataclass(frozen=True)
class Left:
    """A session's run.

    Attributes:
        folder: of the run.
        files: its tables and figures, from the folder.
        replay: comparison of the session with its replay.
        precision: share of relevant images among those asked about; not a number where none were.
    """

    folder: Path
    files: Sequence[str]
    replay: Replay
    precision: float


def leave_run(
    config: DictConfig,
    session: Session,
    *,
    id: str,
    title: str,
    collection: Collection | None = None,
    others: Sequence[tuple[Loop, Images]] = (),
) -> Left:
    """Replay a session, and write the run that it is: tables, figures, W&B if asked for.

    A session has one run, which is written anew once the session has gone on.

    Args:
        config: with `runs_dir`, `experiment_name` and `wandb`, and the choices of the loop's parts.
        session: over the images of now; its loop, images and criteria are used, and nothing is added to it.
        id: of the session.
        title: given by a person.
        collection: gives the pictures of figures; None: there are none.
        others: the loop over other images that questions may have been asked over, and their names.

    Raises:
        BusyError: if another process is writing the run.
    """
    console, events = Console(), list(session.events)
    done = replayed(session.loop, events, images=session.images, criteria=session.criteria, others=others)
    console.say(done.said)
    counted = tally(events)
    summary = _summary(counted, done, events, session.images.count)
    words, recipe = [slug(title, "session")], Recipe("run", {"command": SESSIONS.command, "session": id})
    folder = RunFolder(Path(config.runs_dir) / config.experiment_name / named(words, recipe), SESSIONS)
    gone_on = folder.state() is RunState.DONE and folder.summary().get("digest") != summary["digest"]
    whole = {"force": bool(config.get("force")) or gone_on, "session": id}
    run_config = OmegaConf.create({**plain(config), **whole})

    def write(run: Run) -> Outcome:
        run.folder.add_once(tables(counted, session.images))
        run.read = None if collection is None else collection.read
        return Outcome(summary)

    basis = f"with {summary['found']:.0f} found in {many(len(counted.rounds) - 1, 'round', 'rounds')}"
    precision = Task(
        run_config,
        SESSIONS,
        words,
        recipe,
        overview=lambda folder: folder.table("rounds"),
        noted={"title": title, "events": len(events)},
        basis=basis,
    ).run(write)
    files = sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*.p[na][gr]*"))
    return Left(folder.path, files, done, precision)


def _summary(counted: Tally, done: Replay, events: Sequence[Event], images: int) -> dict[str, Any]:
    answers = [row["relevant"] for row in counted.asked if row["score"] is not None and row["relevant"] is not None]
    return {
        "precision": sum(answers) / len(answers) if answers else float("nan"),
        "found": float(counted.found),
        "labels": float(len(counted.labels)),
        "seconds": counted.seconds,
        "rounds": len(counted.rounds) - 1,
        "images": images,
        "replay": done.said,
        "replayed": done.questions,
        "differs": done.differs,
        "digest": hashlib.blake2b("\n".join(map(written, events)).encode() + done.said.encode()).hexdigest()[:32],
    }
