"""Boxes: what is drawn is what arrives."""

import json

import pytest

NEAR = 0.012  # of the picture: three pixels


def sent(window, act):
    """The box that arrives at the server when something is done."""
    with window.page.expect_request(lambda one: one.method == "POST") as request:
        act()
    body = json.loads(request.value.post_data)
    return (body.get("examples") or body.get("answers"))[0]["box"]


@pytest.fixture
def editor(window):
    """A window with a scene on which a box from a fifth to three fifths was drawn."""
    window.open()
    window.find(".tile").first.click()
    window.draw((0.2, 0.2, 0.6, 0.6))
    return window


def test_a_box_is_drawn_by_dragging(editor):
    box = sent(editor, editor.button("Search").click)
    assert box == pytest.approx([0.2, 0.2, 0.6, 0.6], abs=NEAR)


def test_corners_edges_and_the_box_itself_are_dragged_afterwards(editor):
    place = editor.find(".editor")
    editor.drag(place, (0.6, 0.6), (0.9, 0.7))  # the lower right corner: 0.2 0.2 0.9 0.7
    editor.drag(place, (0.2, 0.45), (0.3, 0.9))  # the left edge, which moves sideways only: 0.3 0.2 0.9 0.7
    editor.drag(place, (0.5, 0.5), (0.5, 0.4))  # the inside moves all of it: 0.3 0.1 0.9 0.6
    box = sent(editor, editor.button("Search").click)
    assert box == pytest.approx([0.3, 0.1, 0.9, 0.6], abs=NEAR)


def test_a_box_stays_inside_the_picture_whole_and_keeps_its_size(editor):
    editor.drag(editor.find(".editor"), (0.4, 0.4), (0.05, 0.4))  # to the left by 0.35, of which there are 0.2
    box = sent(editor, editor.button("Search").click)
    assert box == pytest.approx([0.0, 0.2, 0.4, 0.6], abs=NEAR)


def test_a_corner_dragged_past_the_other_gives_a_box_in_order(editor):
    editor.drag(editor.find(".editor"), (0.6, 0.6), (0.1, 0.05))
    box = sent(editor, editor.button("Search").click)
    assert box == pytest.approx([0.1, 0.05, 0.2, 0.2], abs=NEAR)


def test_a_click_beside_the_box_changes_nothing_and_a_drag_there_draws_anew(editor):
    place = editor.find(".editor")
    editor.drag(place, (0.8, 0.8), (0.8, 0.8))
    assert editor.find(".editor .handle").count() == 8
    editor.drag(place, (0.7, 0.7), (1.3, 0.95))  # ends outside the picture
    box = sent(editor, editor.button("Search").click)
    assert box == pytest.approx([0.7, 0.7, 1.0, 0.95], abs=NEAR)


def test_the_whole_picture_is_no_box(editor):
    editor.button("Whole picture").click()
    assert sent(editor, editor.button("Search").click) is None


def test_arrows_move_a_box_and_shift_sizes_it(editor):
    editor.press(*["ArrowRight"] * 10, *["ArrowUp"] * 5, *["Shift+ArrowDown"] * 10, *["Shift+ArrowLeft"] * 20)
    box = sent(editor, lambda: editor.press("Enter"))
    assert box == pytest.approx([0.3, 0.15, 0.5, 0.65], abs=NEAR)


def test_boxes_of_the_page_are_computed_as_with_a_pencil(window):
    """Moves stop at the edge, sizes at 0.02, and corners come in order."""
    window.open()
    stepped = "async (given) => (await import('/box.js')).stepped(...given)"
    tidy = "async (box) => (await import('/box.js')).tidy(box)"
    step = "async (range) => (await import('/progress.js')).step(range)"
    ask = window.page.evaluate
    assert ask(stepped, [[0.005, 0.2, 0.4, 0.5], "ArrowLeft", False]) == pytest.approx([0, 0.2, 0.395, 0.5])
    assert ask(stepped, [[0.1, 0.2, 0.125, 0.5], "ArrowLeft", True]) == pytest.approx([0.1, 0.2, 0.12, 0.5])
    assert ask(stepped, [[0.1, 0.2, 0.4, 0.995], "ArrowDown", True]) == pytest.approx([0.1, 0.2, 0.4, 1])
    assert ask(tidy, [0.9, 0.1, -0.3, 0.105]) == pytest.approx([0, 0.1, 0.9, 0.12])
    assert ask(tidy, [1.2, 0.4, 1.1, 0.6]) == pytest.approx([0.98, 0.4, 1, 0.6])
    assert [ask(step, range_) for range_ in (1, 4, 5, 23, 100)] == [1, 1, 2, 10, 50]
