"""A window of a browser, and what a person does in it."""

from urllib.parse import urlsplit

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

CONTENT = "()=>[...document.querySelectorAll('.question .card')].map((card) => card.dataset.name)"


class Window:
    """One page of the browser. What it complains of, and whom it asks, is kept."""

    def __init__(self, context, server):
        self.page, self.server = context.new_page(), server
        self.complaints, self.asked = [], []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(30_000)

    @property
    def outside(self):
        """Addresses that are not the server's."""
        return [url for url in self.asked if urlsplit(url).scheme in ("http", "https") and not self.is_ours(url)]

    def is_ours(self, url):
        return url.startswith(self.server.address + "/")

    def open(self, address="/"):
        self.page.goto(self.server.address + address)
        return self

    def find(self, selector):
        return self.page.locator(selector)

    def button(self, name):
        """A button by its name, the dialog's if one is open."""
        place = self.page.locator("dialog[open]").last if self.page.locator("dialog[open]").count() else self.page
        return place.get_by_role("button", name=name, exact=True)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, place, begin, end):
        """Drag from one point of a picture to another, both in fractions of it. It is square, and fits its place."""
        outer = place.bounding_box()
        side = min(outer["width"], outer["height"])
        left = outer["x"] + (outer["width"] - side) / 2
        top = outer["y"] + (outer["height"] - side) / 2
        self.page.mouse.move(left + begin[0] * side, top + begin[1] * side)
        self.page.mouse.down()
        self.page.mouse.move(left + (begin[0] + end[0]) / 2 * side, top + (begin[1] + end[1]) / 2 * side)
        self.page.mouse.move(left + end[0] * side, top + end[1] * side)
        self.page.mouse.up()

    def draw(self, box):
        """Draw a box on the photograph of the open dialog."""
        editor = self.find("dialog[open] .editor")
        self.page.wait_for_function("() => document.querySelector('.editor img')?.naturalWidth > 0")
        self.drag(editor, box[:2], box[2:])

    def begin(self, path, box=None, title=""):
        """Begin a search by mouse, and wait for its question."""
        self.open()
        self.find(f".tile[title='{path}']").click()
        if box is not None:
            self.draw(box)
        self.find("#search-title").fill(title)
        self.button("Search").click()
        expect(self.cards.first).to_be_visible()
        return self.id

    @property
    def id(self):
        return self.page.url.partition("#search=")[2]

    @property
    def told(self):
        """The search, as the server knows it once it has all answers."""
        self.settle()
        return self.server.get(f"/api/searches/{self.id}")

    def settle(self):
        """Wait until no answer is on its way."""
        self.page.wait_for_function("() => sessionStorage.length === 0")

    @property
    def cards(self):
        return self.find(".question .card")

    def question(self):
        """The names of the photographs asked about."""
        return self.page.evaluate(CONTENT)

    def paths(self):
        """The paths of the photographs asked about."""
        return [one.get_attribute("title") for one in self.find(".question .card .file").all()]

    def answered(self):
        """The answers on the cards."""
        return [card.get_attribute("data-answer") for card in self.cards.all()]

    def answer(self, index, answer):
        self.cards.nth(index).locator(f".answer.{answer}").click()

    def by_hand(self):
        """Let the person decide when to go on."""
        self.page.get_by_label("Go on by itself").uncheck()

    def expect_round(self, number):
        expect(self.find(".search-state")).to_contain_text(f"Round {number} ")
        expect(self.find(".question")).not_to_have_attribute("aria-busy", "true")
