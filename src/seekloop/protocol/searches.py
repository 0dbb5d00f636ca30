"""Simulated searches over a store: drawn, played round by round into a run's folder, measured."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.problems import many
from seekloop.contracts.protocols import Collection
from seekloop.contracts.records import Annotations, Query
from seekloop.images.size_shares import size_shares
from seekloop.logs.run_folder import RunFolder
from seekloop.loop.engine import Loop, check_pool
from seekloop.loop.state import State
from seekloop.loop.stopping import Rule
from seekloop.metrics.strata import STRATA, level_of_chance, strata
from seekloop.protocol.queries import Words, queries_table
from seekloop.protocol.scoreboard import Scoreboard
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.protocol.simulation import Simulation
from seekloop.protocol.stopping import Stops
from seekloop.protocol.summary import left_out, summarise
from seekloop.store.reader import Store

Rounds = Callable[[int, int], AbstractContextManager[Callable[[int, pd.DataFrame], None]]]
"""Progress over rounds, from the number of the last and of the first one: told each round and its rows."""


@dataclass(frozen=True)
class Searches:
    """The searches of one run.

    Attributes:
        simulation: how many, how long.
        collection: the images.
        store: their descriptors.
        say: where messages for people go.
        words: that the searches begin with; None: with an example and its box alone.
        rule: stops each search; None: all go on to the last round.
    """

    simulation: Simulation
    collection: Collection
    store: Store
    say: Callable[[str], None]
    words: Words | None = None
    rule: Rule | None = None

    @property
    def annotations(self) -> Annotations:
        """Annotations of the images that can be read."""
        known = self.collection.annotations
        return known.keep(self.store.readable[known.image])

    def draw(self) -> tuple[Query, ...]:
        """Draw the searches, and say how many there are, over what.

        Raises:
            ConfigError: if no class can be searched for, or too few images can be asked about.
        """
        store, asked = self.store, self.simulation
        queries, without = asked.draw(self.annotations, store.readable, self.collection.problems)
        check_pool(int(store.readable.sum()) - 1 - asked.negatives, asked.rounds, asked.budget, owner=asked)
        for name, why in without.items():
            self.say(f"class {name!r} is left out: {why}")
        boxes, images = len(store.regions.boxes), store.images
        regions = boxes if store.regions.offsets is None else round(boxes / images, 1)
        stored = sum(path.stat().st_size for path in store.folder.glob("*.npy"))
        searches = many(len(queries), "search", "searches")
        classes = many(len({query.class_name for query in queries}), "class", "classes")
        self.say(
            f"{searches} ({classes}) of {asked.rounds} rounds x {asked.budget}, "
            f"over {images:,} images x {regions} regions x {store.dim} ({stored / 1e6:,.1f} MB)"
        )
        unreadable = int((~store.readable).sum())
        if unreadable:
            self.say(f"{unreadable} images could not be read: {store.folder / 'failures.json'}")
        return queries

    def play(
        self, loop: Loop, user: SimulatedUser, folder: RunFolder, kept: Callable[[], None], progress: Rounds
    ) -> None:
        """Play the rounds that a claimed folder lacks, each kept before the next begins.

        Args:
            loop: of a representation, a classifier and a criterion.
            user: who answers.
            folder: of the run.
            kept: called when a round is kept.
            progress: shows rounds as they pass.
        """
        asked, queries, annotations, words = self.simulation, self.draw(), self.annotations, self.words
        folder.write_queries(queries_table(queries, self.collection.paths, words))
        queries = queries if words is None else words.begin(queries)
        board = Scoreboard(
            annotations,
            queries,
            loop.global_descriptors,
            self.collection.paths,
            seed=asked.seed,
            clusters=asked.clusters,
            clusterings=asked.clusterings,
        )
        stops, resumed = Stops(self.rule, loop, board.relevant), folder.resume()
        if resumed is None:
            state = loop.start(queries, [user.seed_seconds(query) for query in queries])
        else:
            state = State.unpack(cast(Mapping[str, Any], resumed[1]), queries, loop.descriptors.images)
            stops.resume(queries, folder.table("rounds"), folder.table("asked"))
        kept()
        with progress(asked.rounds, max(state.round, 0)) as show:
            played = loop.rounds(state, user, rounds=asked.rounds, budget=asked.budget)
            for done, after in stops.until(played):
                rows = board.rounds(done, after).assign(**stops.columns())
                folder.add(done.number, {"rounds": rows, "asked": board.asked(done)}, after.pack())
                kept()
                show(done.number, rows)

    def summary(self, rounds: pd.DataFrame) -> dict[str, Any]:
        """The finished run in few numbers."""
        return {
            **summarise(rounds),
            "budget": self.simulation.budget,
            "images": int(self.store.readable.sum()),
            "left_out": left_out(self.collection.problems, self.store.readable),
            "size_shares": size_shares(self.annotations),
            "sizes": self._sizes(set(rounds["class_name"])),
        }

    def _sizes(self, names: set[str]) -> dict[str, dict[str, float]]:
        """Images of each size of the classes searched for, and chance's average precision, by column of `rounds`."""
        annotations, readable = self.annotations, self.store.readable
        classes = [number for number, name in enumerate(annotations.classes) if name in names]
        known = strata(annotations, self.store.images)[classes][:, readable]
        found = {
            f"ap_{size}": level_of_chance(known, level) for level, size in enumerate(STRATA) if (known == level).any()
        }
        return {column: {"images": images, "chance": chance} for column, (images, chance) in found.items()}

    def region_box(self, image: int, region: int) -> tuple[float, float, float, float]:
        """Box of a region; GLOBAL and PROTOTYPE are the whole image."""
        if region < 0:
            return WHOLE_IMAGE
        x0, y0, x1, y1 = self.store.regions.of(image)[region].tolist()
        return x0, y0, x1, y1
