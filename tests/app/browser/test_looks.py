"""Everybody can use it: assistive technology, sizes, light and dark."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

TABLET = {"width": 820, "height": 1180}
LARGE = {"width": 1280, "height": 800}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_serious_problem_for_assistive_technology(server, windows, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    window = windows(server, scheme=scheme)
    found = {}

    def check(view):
        # Playwright's own evaluation is not bound by the page's policy, so that axe runs although the page forbids it.
        violations = axe.run(window.page).response["violations"]
        found[view] = [
            (one["id"], one["nodes"][0]["html"][:200]) for one in violations if one["impact"] in ("serious", "critical")
        ]

    window.open()
    expect(window.find(".tile").first).to_be_visible()
    check("start")
    window.find(".tile").nth(7).click()
    window.draw((0.2, 0.2, 0.7, 0.7))
    check("box")
    window.button("Search").click()
    expect(window.cards).to_have_count(10)
    for index, answer in enumerate(["yes", "no", "unsure"]):
        window.answer(index, answer)
    window.find(".choose").nth(5).click(force=True)
    check("question and ranking")
    for name in ("Said so far", "How it goes"):
        window.page.get_by_role("tab", name=name).click()
        expect(window.find(".panel .panel-body > *")).to_be_visible()
        check(name)
    window.button("Widen the list").click()
    check("wide")
    window.button("Narrow the list").click()
    window.cards.first.locator(".photo").click()
    check("large")
    window.press("Escape")
    window.button("Export").click()
    check("export")
    assert {view: problems for view, problems in found.items() if problems} == {}


@pytest.mark.parametrize("size", [LARGE, TABLET])
def test_ten_cards_are_answered_without_scrolling(server, windows, size):
    window = windows(server, size=size)
    window.begin("scene_000008.png")
    for button in [*window.find(".question .answer").all(), window.find(".next")]:
        place = button.bounding_box()
        assert place["y"] >= 0
        assert place["y"] + place["height"] <= size["height"]
        assert place["x"] + place["width"] <= size["width"]
    assert window.page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
    pictures = [one.bounding_box() for one in window.find(".question .photo").all()]
    assert all(place["height"] >= 100 and place["width"] >= 100 for place in pictures)


def test_a_card_says_its_number_file_score_and_answer(server, windows):
    window = windows(server)
    window.begin("scene_000009.png")
    window.by_hand()
    window.answer(1, "no")
    item = window.told["question"][1]
    score = f"{abs(item['score']):.2f}"
    sign = "\N{MINUS SIGN}" if item["score"] < 0 and float(score) else ""
    expect(window.cards.nth(1)).to_have_accessible_name(f"2 of 10, {item['path']}, score {sign}{score}, no")
    said = window.find(".voice [role=status]").first
    expect(said).to_have_text(f"{item['path']}: no")


def test_one_card_at_a_time_is_reached_by_tab(server, windows):
    window = windows(server)
    window.begin("scene_000010.png")
    window.press("ArrowRight")
    expect(window.cards.nth(1)).to_be_focused()
    order = []
    for _ in range(7):
        window.press("Tab")
        order.append(window.page.evaluate("() => document.activeElement.className.split(' ').at(-1)"))
    assert order == ["photo", "choose", "yes", "no", "unsure", "", "next"]  # "": whether to go on by itself
    assert window.cards.nth(1).locator(".photo").get_attribute("tabindex") is None


def test_a_box_is_drawn_by_a_finger(browser, server):
    context = browser.new_context(viewport=TABLET, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server.address)
    page.locator(".tile").first.tap()
    page.wait_for_function("() => document.querySelector('.editor img')?.naturalWidth > 0")
    place = page.locator(".editor").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    touch = context.new_cdp_session(page)
    for kind, points in (("touchStart", [(x - 100, y - 80)]), ("touchMove", [(x + 50, y + 60)]), ("touchEnd", [])):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})
    drawn = page.locator(".editor rect.line").bounding_box()
    assert [drawn["width"], drawn["height"]] == pytest.approx([150, 140], abs=4)
    context.close()
