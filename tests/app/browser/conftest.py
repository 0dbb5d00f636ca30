"""Debian's chromium, a server on the built-in scenes, and windows that must not complain."""

import shutil
from pathlib import Path

import pytest

from seekloop.images.generated.scenes import Scenes
from tests.app.browser.servers import Server

HERE = Path(__file__).parent
IMAGES = 120
WIDE = {"width": 1280, "height": 800}
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items):
    """One worker runs all of them, so that one browser and one server are started."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def browser():
    pytest.importorskip("fastapi", reason="the browser's tests need the extra: pip install 'seekloop[app]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser's tests need playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the browser's tests need Debian's chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, headless=True, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="session")
def scenes():
    """The photographs of the server, with what is on them."""
    return Scenes(IMAGES)


@pytest.fixture(scope="session")
def server(browser, tmp_path_factory):  # noqa: ARG001 - without a browser none is started
    running = Server(tmp_path_factory.mktemp("served"), f"collection.images={IMAGES}")
    yield running.start()
    running.stop()


@pytest.fixture
def windows(browser):
    """Make windows of a server; none may complain, or ask anybody else."""
    from tests.app.browser.windows import Window

    contexts, opened = [], []

    def make(server, *, beside=None, size=WIDE, scheme="light"):
        context = beside.page.context if beside else browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        opened.append(Window(context, server))
        return opened[-1]

    yield make
    for context in set(contexts):
        context.close()
    for window in opened:
        assert window.complaints == []
        assert window.outside == []


@pytest.fixture
def window(server, windows):
    return windows(server)


@pytest.fixture(scope="session")
def shown(scenes):
    """For each digit: paths of the scenes that show it, and its box there."""
    found = {digit: {} for digit in range(10)}
    objects = scenes.annotations
    for image, label, box in zip(objects.image.tolist(), objects.label.tolist(), objects.box.tolist(), strict=True):
        found[label].setdefault(scenes.paths[image], box)
    return found
