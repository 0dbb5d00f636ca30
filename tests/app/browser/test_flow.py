"""The whole flow, by mouse and by keyboard alone."""

import csv
import io

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

DIGIT = 3


def truth(window, shown):
    """What a person who looks for the digit answers, in the order of the cards."""
    return ["yes" if path in shown[DIGIT] else "no" for path in window.paths()]


def test_a_person_with_a_mouse_finds_a_digit(window, shown, server):
    first, *others = shown[DIGIT]
    window.begin(first, shown[DIGIT][first], title="threes")
    found = 1
    for number in (1, 2, 3):
        window.expect_round(number)
        answers = truth(window, shown)
        for index, answer in enumerate(answers):
            window.answer(index, answer)
        for card in window.cards.all():
            if card.locator(".box-wanted").is_visible():
                card.locator(".box-wanted").get_by_role("button", name="Yes").click()
        found += answers.count("yes")
        expect(window.find(".question .state")).to_have_text("One moment: the next round")
    window.expect_round(4)  # it went on by itself
    expect(window.find(".search-state")).to_contain_text(f"{found} found")
    told = window.told
    assert (told["title"], told["progress"]["found"], len(told["progress"]["rounds"])) == ("threes", found, 3)
    assert told["examples"][0]["path"] == first

    window.by_hand()
    window.find(".choose").nth(1).click(force=True)
    window.cards.nth(4).locator(".photo").click(modifiers=["Shift"])  # the second to the fifth
    window.find(".question .selection").get_by_role("button", name="No", exact=True).click()
    assert window.answered() == [None, *["no"] * 4, *[None] * 5]
    window.button("Undo").click()
    expect(window.find(".toast")).to_contain_text("Undone: 4 answers")
    assert window.answered() == [None] * 10

    window.page.get_by_role("tab", name="Ranking").click()
    window.find("#cut-first").fill("12")
    window.find("#cut-first").press("Enter")
    open_ = sum(one["answer"] is None for one in ranking(window)[:12])
    window.button("Accept all above").click()
    window.button(f"Answer yes to {open_}").click()
    expect(window.find(".toast").last).to_contain_text(f"{open_} photographs answered yes")
    assert window.told["progress"]["found"] == found + open_
    assert all(one["answer"] in ("yes", "no", "example") for one in ranking(window)[:12])

    window.page.get_by_role("tab", name="Said so far").click()
    answers = window.server.get(f"/api/searches/{window.id}/answers")["answers"]
    one, other = [one["path"] for one in answers if (one["round"], one["answer"]) == (1, "no")][:2]
    row, withdrawn = (window.find(f".said-list li:has([title='{path}'])") for path in (one, other))
    row.get_by_role("combobox").select_option("unsure")
    expect(row).to_have_attribute("data-answer", "unsure")
    assert window.told["progress"]["unsure"] == 1
    before = window.told["progress"]["irrelevant"]
    withdrawn.get_by_role("button", name="Withdraw").click()
    expect(withdrawn).to_have_count(0)
    assert window.told["progress"]["irrelevant"] == before - 1

    window.button("Add an example").click()
    spare = next(path for path in others if path not in said(window))
    window.find(f"dialog .tile[title='{spare}']").click()
    window.draw(shown[DIGIT][spare])
    window.button("Add example").click()
    expect(window.find("dialog")).to_have_count(0)
    assert [one["path"] for one in window.told["examples"]] == [first, spare]

    window.button("Export").click()
    with window.page.expect_download() as download:
        window.button("Export").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert {row["path"] for row in rows} == {
        path for path, answer in said(window).items() if answer in ("yes", "example")
    }

    window.button("More").click()
    window.page.get_by_role("menuitem", name="Rename").click()
    window.find("#asked-line").fill("all threes")
    window.press("Enter")
    expect(window.find(".search-head h1")).to_have_text("all threes")
    id = window.id
    window.page.get_by_role("link", name="Searches").click()
    entry = window.page.get_by_role("link", name="Go on with all threes")
    expect(entry).to_be_visible()
    entry.click()
    expect(window.cards).to_have_count(10)
    assert window.id == id

    window.button("More").click()
    window.page.get_by_role("menuitem", name="Delete").click()
    window.button("Delete").click()
    expect(window.page.get_by_role("heading", name="What are you looking for?")).to_be_visible()
    assert id not in [one["id"] for one in server.get("/api/searches")["searches"]]


def ranking(window):
    return window.server.get(f"/api/searches/{window.id}/ranking?count=60")["images"]


def said(window):
    answers = window.server.get(f"/api/searches/{window.id}/answers")["answers"]
    return {one["path"]: one["answer"] for one in answers}


def test_a_person_with_a_keyboard_alone_finds_a_digit(window, shown):
    first = next(iter(shown[DIGIT]))
    window.open()
    expect(window.find(".tile").first).to_be_visible()
    tab_to(window, "tile")
    for _ in range(list(scene_paths(window)).index(first)):
        window.press("ArrowRight")
    assert focused(window, "title") == first
    window.press("Enter")
    expect(window.find("dialog .editor")).to_be_focused()
    window.press("ArrowDown", "Shift+ArrowRight", "Enter")  # a box in the middle, sized; the first arrow makes it
    expect(window.cards.first).to_be_focused()
    assert window.told["examples"][0]["box"] == pytest.approx([0.25, 0.25, 0.76, 0.75])

    tab_to(window, "go-on")
    window.press("Space")  # rounds by hand
    for _ in range(8):
        window.press("Shift+Tab")
        if focused(window, "class") == "card":
            break
    expect(window.cards.first).to_be_focused()
    for number in (1, 2):
        window.expect_round(number)
        answers = truth(window, shown)
        window.press(*[answer[0] for answer in answers])
        expect(window.find(".question .state")).to_contain_text("All answered")
        assert window.answered() == answers
        boxes = [one["box"] for one in window.told["question"] if one["box_wanted"] and one["answer"] == "yes"]
        window.press(*["y"] * len(boxes))  # the focus goes from one card that asks for a box to the next
        expect(window.find(".question .state")).to_have_text("All answered")
        given = [one["answer_box"] for one in window.told["question"] if one["box_wanted"] and one["answer"] == "yes"]
        assert given == boxes
        window.press("Enter")
    window.expect_round(3)

    window.press("ArrowDown", "ArrowRight")  # the seventh
    expect(window.cards.nth(6)).to_be_focused()
    window.press("u", "z")
    expect(window.cards.nth(6)).not_to_have_attribute("data-answer", "unsure")
    expect(window.find(".toast").last).to_contain_text("Undone")
    window.press("Home", "Space", "Shift+ArrowRight", "Shift+ArrowRight", "n")
    expect(window.find(".question .card[data-answer=no]")).to_have_count(3)
    window.press("a", "y")
    expect(window.find(".question .card[data-answer=yes]")).to_have_count(7)
    window.press("Home", "Backspace")
    expect(window.cards.first).not_to_have_attribute("data-answer", "no")

    window.press("b")
    expect(window.find("dialog .editor")).to_be_focused()
    window.press("Escape")
    expect(window.cards.first).to_be_focused()
    window.press("b", "Shift+ArrowRight", "Enter")
    expect(window.cards.first).to_have_attribute("data-answer", "yes")
    expect(window.find(".question .state")).to_have_text("All answered")
    assert window.told["question"][0]["answer_box"] is not None
    window.press("h")
    expect(window.cards.first.locator("img.heat")).to_be_visible()
    window.press("o")
    expect(window.find("dialog .viewing")).to_be_focused()
    window.press("ArrowRight", "ArrowRight", "h", "Escape")
    expect(window.cards.nth(2)).to_be_focused()
    window.press("?")
    expect(window.page.get_by_role("heading", name="Keys")).to_be_visible()
    window.press("Escape")
    expect(window.cards.nth(2)).to_be_focused()

    line = window.page.get_by_role("slider", name="Cut-off")
    tab_to(window, "line")
    window.press("Home")
    expect(line).to_have_attribute("aria-valuenow", "0")
    window.press("PageDown", "ArrowDown", "ArrowUp", "ArrowDown")
    expect(line).to_have_attribute("aria-valuetext", "11 photographs above the line")
    above = line.evaluate("(line) => line.closest('ul').querySelectorAll('li:has(~ li.cut)').length")
    assert above == 11


def scene_paths(window):
    return [tile.get_attribute("title") for tile in window.find(".tile").all()]


def focused(window, attribute):
    return window.page.evaluate("(name) => document.activeElement.getAttribute(name)", attribute)


def tab_to(window, name):
    """Press Tab until the element with this class or id has the focus."""
    for _ in range(60):
        if name in (focused(window, "id"), *(focused(window, "class") or "").split()):
            return
        window.press("Tab")
    raise AssertionError(f"Tab does not lead to {name}")


def test_the_line_is_dragged_and_says_what_is_above_it(window, shown):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    window.find("#cut-first").fill("2")
    window.find("#cut-first").press("Enter")
    fifth = window.find(".ranking .card").nth(4).bounding_box()
    line = window.page.get_by_role("slider", name="Cut-off")
    here = line.bounding_box()
    window.page.mouse.move(here["x"] + 20, here["y"] + 10)
    window.page.mouse.down()
    window.page.mouse.move(fifth["x"] + fifth["width"] * 0.4, fifth["y"] + 30)
    expect(line).to_have_text("4 photographs above the line")  # left of its middle: above the fifth
    window.page.mouse.move(fifth["x"] + fifth["width"] * 0.6, fifth["y"] + 40)
    expect(line).to_have_text("5 photographs above the line")
    window.page.mouse.up()
    expect(line).to_have_attribute("aria-valuenow", "5")
    expect(window.find("#cut-first")).to_have_value("5")


def test_the_ranking_goes_on_while_one_scrolls_to_the_last_image(window, shown):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    expect(window.find(".ranking .card")).to_have_count(60)
    window.find(".ranking .card").last.scroll_into_view_if_needed()
    expect(window.find(".ranking .card")).to_have_count(120)
    names = [one["name"] for one in window.server.get(f"/api/searches/{window.id}/ranking?count=500")["images"]]
    seen = "() => [...document.querySelectorAll('.ranking .card')].map((card) => card.dataset.name)"
    assert window.page.evaluate(seen) == names


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_file_of_ones_own_begins_a_search(window, scenes, tmp_path, way):
    scenes.read(0).crop((0, 0, 200, 150)).save(tmp_path / "mine.png")
    window.open()
    window.page.get_by_role("tab", name="A file").click()
    if way == "chosen":
        window.find("#photograph").set_input_files(tmp_path / "mine.png")
    else:
        drop = (
            "(b) => { const d = new DataTransfer(); d.items.add(new File([new Uint8Array(b)], 'mine.png')); return d; }"
        )
        dropped = window.page.evaluate_handle(drop, list((tmp_path / "mine.png").read_bytes()))
        window.page.dispatch_event(".choosing", "drop", {"dataTransfer": dropped})
    expect(window.find("dialog .editor")).to_be_visible()
    window.button("Search").click()
    expect(window.cards).to_have_count(10)
    assert window.told["examples"][0]["path"].endswith("mine.png")


def test_a_round_that_is_undone_comes_back_with_its_answers_and_stays(window, shown):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    names = window.question()
    for index in range(10):
        window.answer(index, "no")
    window.expect_round(2)
    window.button("Undo").click()
    window.expect_round(1)
    assert (window.question(), window.answered()) == (names, ["no"] * 10)
    window.page.wait_for_timeout(1500)
    window.expect_round(1)
    window.answer(3, "unsure")  # now it is answered again, and goes on
    window.expect_round(2)
    assert window.told["progress"]["unsure"] == 1


def test_an_exported_search_is_imported_as_another(window, shown, tmp_path):
    first = next(iter(shown[DIGIT]))
    id = window.begin(first, shown[DIGIT][first], title="to and fro")
    window.by_hand()
    for index, answer in enumerate(["yes", "no", "unsure"]):
        window.answer(index, answer)
    window.button("Next round").click()
    window.expect_round(2)
    window.button("Export").click()
    window.page.get_by_label("JSON").check()
    with window.page.expect_download() as download:
        window.button("Export").click()
    download.value.save_as(tmp_path / "search.json")
    before = said(window)
    window.page.get_by_role("link", name="Searches").click()
    window.find("#import").set_input_files(tmp_path / "search.json")
    expect(window.cards).to_have_count(10)
    assert window.id != id
    assert said(window) == before
    assert window.told["title"] == "to and fro"


def test_a_report_of_the_search_is_written(window, shown, server):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    for index in range(10):
        window.answer(index, "no")
    window.expect_round(2)
    window.button("More").click()
    window.page.get_by_role("menuitem", name="Write a report").click()
    window.button("Write").click()
    expect(window.page.get_by_role("heading", name="The report was written")).to_be_visible(timeout=30_000)
    folder = server.folder / window.find("dialog p").first.inner_text().removeprefix("The report is in ")
    assert (folder / "config.yaml").exists()


def test_a_criterion_is_changed_by_the_switch_and_in_the_menu(window, shown):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    second, last = [window.server.get("/api/status")["criteria"][place] for place in (1, -1)]
    switch = window.button(second["label"].capitalize())
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert window.told["criterion"] == second["name"]
    window.page.get_by_role("button", name="Other ways to choose the photographs").click()
    window.press("End", "Enter")
    expect(window.find(".switch .with-menu > button")).to_have_text(last["label"].capitalize())
    assert window.told["criterion"] == last["name"]
    assert window.question() == [one["name"] for one in window.told["question"]]


def test_a_box_where_it_helps_is_accepted_by_a_click_and_waited_for(window, shown):
    first = next(iter(shown[DIGIT]))
    window.begin(first, shown[DIGIT][first])
    wanted = [one["box_wanted"] for one in window.told["question"]]
    assert any(wanted)
    assert not all(wanted)
    for index in range(10):
        window.answer(index, "yes")
    assert [card.locator(".box-wanted").is_visible() for card in window.cards.all()] == wanted
    expect(window.find(".question .state")).to_have_text("All answered. Is the outline right?")
    window.answer(wanted.index(True), "no")  # where it is not, no box helps
    boxes = window.find(".question .box-wanted:visible")
    assert boxes.count() == sum(wanted) - 1
    for _ in range(boxes.count()):
        boxes.first.get_by_role("button", name="Yes").click()
    window.expect_round(2)
    answers = window.server.get(f"/api/searches/{window.id}/answers")["answers"]
    assert sum(one["box"] is not None and one["answer"] == "yes" for one in answers) == sum(wanted) - 1
