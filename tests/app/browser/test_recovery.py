"""Nothing is lost: reloads, a killed server, several windows."""

import pytest

from tests.app.browser.servers import Server

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

EVIL = "<img src=x onerror=document.body.id='evil'>&amp;\"'.png"


def test_a_reload_shows_the_same_question_and_the_same_answers(window):
    id = window.begin("scene_000000.png")
    window.by_hand()
    names = window.question()
    for index, answer in enumerate(["yes", "no", "unsure"]):
        window.answer(index, answer)
    window.page.reload()
    expect(window.cards).to_have_count(10)
    assert (window.id, window.question()) == (id, names)
    assert window.answered() == ["yes", "no", "unsure", *[None] * 7]


@pytest.fixture
def folder(scenes, tmp_path):
    """Thirty pictures, one with a name that would be markup, in two folders."""
    for image in range(30):
        place = tmp_path / "pictures" / ("old" if image < 10 else "new")
        place.mkdir(parents=True, exist_ok=True)
        scenes.read(image).save(place / (EVIL if image == 12 else f"{image:02}.png"))
    return tmp_path / "pictures"


@pytest.fixture
def mortal(folder, tmp_path):
    """A server that may be killed, over a folder."""
    server = Server(tmp_path, "collection=folder", f"collection.root={folder}")
    yield server.start()
    server.stop()


def test_a_killed_server_loses_nothing_and_the_page_goes_on_when_it_is_back(mortal, windows):
    window = windows(mortal).open()
    window.button("new (20)").click()
    evil = window.find(".tile").filter(has_text="onerror")
    expect(evil).to_have_text(EVIL)
    evil.click()
    window.button("Search").click()
    expect(window.cards).to_have_count(10)
    assert window.find("#evil").count() == 0
    window.by_hand()
    names = window.question()
    window.answer(0, "yes")
    expect(window.find(".card[data-answer=yes]").first).to_be_visible()
    window.settle()
    mortal.kill()

    window.answer(1, "no")
    window.answer(2, "unsure")
    expect(window.find(".banner.lost")).to_contain_text("2 answers wait")
    window.answer(1, "yes")  # thought better of it
    assert window.answered()[:3] == ["yes", "yes", "unsure"]

    mortal.start()
    expect(window.find(".banner.lost")).to_be_hidden()
    told = window.told
    assert [one["name"] for one in told["question"]] == names
    assert [one["answer"] for one in told["question"][:4]] == ["yes", "yes", "unsure", None]
    window.answer(3, "no")
    window.button("Next round").click()
    window.expect_round(2)
    assert window.told["progress"]["rounds"][0]["asked"] == 4
    window.complaints.clear()  # the browser's own, of connections refused


def test_two_windows_of_one_search_show_the_same_and_go_on_once(window, windows, server):
    id = window.begin("scene_000001.png")
    window.by_hand()
    other = windows(server, beside=window).open(f"/#search={id}")
    expect(other.cards).to_have_count(10)
    window.answer(0, "yes")
    expect(other.cards.first).to_have_attribute("data-answer", "yes")
    other.answer(1, "no")
    expect(window.cards.nth(1)).to_have_attribute("data-answer", "no")

    other.page.route("**/api/events", lambda route: None)  # from here on the other window hears nothing
    other.page.reload()
    expect(other.cards).to_have_count(10)
    window.button("Next round").click()
    window.expect_round(2)
    other.button("Next round").click()
    other.expect_round(2)
    assert other.question() == window.question()
    assert len(window.told["progress"]["rounds"]) == 1
    other.complaints.clear()  # the browser's own, of the status 409
    other.page.unroute_all()


def test_two_searches_at_once_keep_their_answers_apart(window, windows, server):
    second = windows(server)
    ids = [window.begin("scene_000002.png"), second.begin("scene_000003.png")]
    for one, answer in ((window, "yes"), (second, "no"), (window, "yes"), (second, "no")):
        one.by_hand()
        one.answer(one.answered().count(answer), answer)
    for one in (window, second):
        one.settle()
    counts = [server.get(f"/api/searches/{id}")["progress"] for id in ids]
    assert [(one["found"], one["irrelevant"]) for one in counts] == [(3, 0), (1, 2)]  # the example is found, too


def test_an_answer_that_the_server_refuses_is_told_and_not_kept_on_sending(window):
    window.begin("scene_000004.png")
    window.by_hand()
    refused = {"status": 422, "json": {"detail": "this image is an example"}}
    window.page.route(
        "**/answers", lambda route: route.fulfill(**refused) if route.request.method == "POST" else route.continue_()
    )
    window.answer(0, "yes")
    expect(window.find(".toast.error")).to_have_text("This image is an example")
    expect(window.cards.first).not_to_have_attribute("data-answer", "yes")
    window.page.unroute_all()
    window.complaints.clear()  # the browser's own, of the status


def test_a_search_that_is_deleted_elsewhere_says_so(window, windows, server):
    id = window.begin("scene_000005.png")
    other = windows(server).open(f"/#search={id}")
    expect(other.cards).to_have_count(10)
    window.button("More").click()
    window.page.get_by_role("menuitem", name="Delete").click()
    window.button("Delete").click()
    expect(other.find(".toast.error")).to_have_text("This search was deleted.")
    expect(other.page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    other.complaints.clear()  # the browser's own, of the status
