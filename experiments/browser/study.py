"""Search for a class through the page in a real browser, and play the same search by the simulation.

    python experiments/browser/study.py FOLDER CLASS IMAGE ROUNDS SWITCH OVERRIDES...

A script opens the page that `seekloop serve OVERRIDES` serves, chooses IMAGE (its path in the collection), draws the
box of its largest object of the class, and answers ROUNDS rounds from the annotations by clicks. From round SWITCH + 1
on the page shows more of what is most likely, as a person would have it once the search is taught. Then the simulation
plays from the same start event with the same answers; both must ask the same questions. FOLDER keeps the session and
pictures of the page. Needs playwright and chromium.
"""

import io
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import torch
from omegaconf import DictConfig
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import seekloop
from seekloop.commands.compose import loop_parts, resolve
from seekloop.contracts.records import Answer, Example, Feedback, Query
from seekloop.criteria.scores import Top
from seekloop.loop.events import Answered, Asked, Event, Started
from seekloop.loop.items import Images
from seekloop.loop.sessions import Sessions
from seekloop.store.reader import Store

DESCRIBED = ("collection", "backbone", "regions", "encoding", "pooling", "trainer", "store_dir", "grid")
SIDES = ("width", "height")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main(folder: Path, name: str, path: str, rounds: int, switch: int, overrides: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "sessions.sqlite"
    database.unlink(missing_ok=True)
    config = resolve("serve", [*overrides, f"sessions={database}"])
    store = seekloop.extract(*[one for one in overrides if one.split("=")[0].split(".")[0] in DESCRIBED])
    known = store.collection.annotations
    label, image = known.classes.index(name), list(store.collection.paths).index(path)
    relevant = set(known.image[known.label == label].tolist())
    by_path = {store.collection.paths[one]: one in relevant for one in range(store.images)}
    with_page(folder, database, path, known.largest_box(image, label).tolist(), by_path, rounds, switch, overrides)
    with Sessions(database) as sessions:
        events = sessions.events(sessions.listed()[0].id)
    images = Images.of(store.collection)
    asked = questions(events, images)
    simulated = simulation(config, store, events[0], images, relevant, rounds, switch)
    found, curve = {image}, []
    for question in asked:
        found |= relevant.intersection(question)
        curve.append(len(found))
    same = sum(one == other for one, other in zip(asked, simulated, strict=True))
    print(f"{name} from {path}: {len(relevant)} images show it")
    print("found after each round:", *curve, f"({curve[-1] / len(relevant):.0%})")
    print(f"{same} of {rounds} questions are those of the simulation, image by image")


def questions(events: Sequence[Event], images: Images) -> list[list[int]]:
    """The question of each round that was answered."""
    asked, last = [], []
    for event in events:
        if isinstance(event, Asked):
            last = [images.position(one.image) for one in event.images]
        elif isinstance(event, Answered):
            asked.append(last)
    return asked


def with_page(
    folder: Path,
    database: Path,
    path: str,
    box: list[float],
    relevant: dict[str, bool],
    rounds: int,
    switch: int,
    overrides: list[str],
) -> None:
    """Answer all rounds in a browser."""
    command = [sys.executable, "-m", "seekloop", "serve", *overrides, f"sessions={database}"]
    server = subprocess.Popen([*command, "serve.open=false", "serve.port=7399"])
    try:
        address = "http://127.0.0.1:7399"
        while not ready(address):
            time.sleep(0.5)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            begin(page, address, path, box, folder)
            page.get_by_label("Go on by itself").uncheck()
            for number in range(1, rounds + 1):
                if number == switch + 1:
                    more = page.locator("[data-criterion=top]")
                    more.click()
                    page.locator("[data-criterion=top][aria-pressed=true]").wait_for()
                answer(page, number, relevant, folder / f"round_{number}.webp")
            page.locator(".search-state", has_text=f"Round {rounds + 1} ").wait_for()
            browser.close()
    finally:
        server.terminate()
        server.wait()


def ready(address: str) -> bool:
    """Whether all images can be searched."""
    try:
        return httpx.get(f"{address}/api/status").json()["collection"]["indexing"]["state"] == "finished"
    except httpx.TransportError:
        return False


def begin(page: Page, address: str, path: str, box: list[float], folder: Path) -> None:
    """Choose the photograph, and drag a box."""
    page.goto(address)
    tile = page.locator(f".tile[title='{path}']")
    while not tile.count():
        page.mouse.wheel(0, 2000)
        page.wait_for_timeout(200)
    tile.click()
    editor = page.locator("dialog[open] .editor img")
    page.wait_for_function("() => document.querySelector('.editor img')?.naturalWidth > 0")
    outer, size = editor.bounding_box(), editor.evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
    scale = min(outer["width"] / size[0], outer["height"] / size[1])
    shown = [side * scale for side in size]
    left, top = (outer[at] + (outer[side] - inner) / 2 for at, side, inner in zip("xy", SIDES, shown, strict=True))
    corners = [(left + x * shown[0], top + y * shown[1]) for x, y in (box[:2], box[2:])]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=4)
    page.mouse.up()
    picture(page, folder / "box.webp")
    page.locator("dialog[open]").get_by_role("button", name="Search", exact=True).click()


def answer(page: Page, number: int, relevant: dict[str, bool], kept: Path) -> None:
    """Answer one round by clicks, and go on."""
    page.locator(".search-state", has_text=f"Round {number} ").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.question .card').length >= 10")
    page.wait_for_function("() => document.querySelector('.question')?.getAttribute('aria-busy') !== 'true'")
    cards = page.locator(".question .card")
    for index in range(cards.count()):
        path = cards.nth(index).locator(".file").get_attribute("title")
        cards.nth(index).locator(".answer.yes" if relevant[path] else ".answer.no").click()
    picture(page, kept)
    page.get_by_role("button", name="Next round").click()


def picture(page: Page, path: Path) -> None:
    """Keep what the window shows, once its photographs are there."""
    page.wait_for_timeout(1000)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=60, method=6)


class Clicks:
    """A user who answers from the annotations, by clicks."""

    def __init__(self, relevant: set[int]) -> None:
        self.relevant = relevant

    def answer(self, query: Query, image: int, round: int, box_wanted: bool) -> Feedback:
        given = Answer.RELEVANT if image in self.relevant else Answer.IRRELEVANT
        return Feedback(image, given, None, 0.0)


def simulation(
    config: DictConfig, store: Store, started: Started, images: Images, relevant: set[int], rounds: int, switch: int
) -> list[list[int]]:
    """Play the search from its start event: what is asked in each round."""
    examples = tuple(Example(images.position(one.image), torch.tensor(one.box)) for one in started.examples)
    query = Query("session", 0, examples, tuple(images.position(name) for name in started.presumed))
    parts, user = loop_parts(config), Clicks(relevant)
    teaching = parts.loop(store, config.seed, print)
    more = replace(parts, criterion=Top()).loop(store, config.seed, print)
    state = teaching.start((query,), [0.0], images.names)
    asked: list[list[int]] = []
    for loop, last in ((teaching, switch), (more, rounds)):
        played = list(loop.rounds(state, user, rounds=last, budget=started.budget))
        asked += [done.asked[0].tolist() for done, _ in played if done.number]
        state = played[-1][1] if played else state
    return asked


if __name__ == "__main__":
    folder, name, path, rounds, switch, *overrides = sys.argv[1:]
    main(Path(folder), name, path, int(rounds), int(switch), overrides)
