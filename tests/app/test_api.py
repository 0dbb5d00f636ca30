"""The page's API: a whole search, and everything that a person may do on the way.

Pictures 0, 3, ..., 33 of 36 hold a red square. A search from the square of picture 0 presumes four random pictures
irrelevant, two of which are red: 3 and 27. So 9 red pictures can be asked about, and 12 end up above 0.
"""

import io
import json
import sqlite3
from contextlib import closing
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from seekloop.app.searches import OPEN
from tests.app.parts import EVERY, Page, draw_album, drawn, indexed, make_served, opened, path_of, square, truth

RED = {path_of(image) for image in range(0, 36, EVERY)}
PRESUMED = {path_of(3), path_of(27)}


@pytest.fixture
def page(tmp_path):
    with opened(tmp_path) as one:
        yield one


def paths(images):
    return [one["path"] for one in images]


def content(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ranking(page, search, **query):
    return page.get(f"searches/{search['id']}/ranking", **{"count": 500, **query})


def as_seen(page, search):
    """All that a window shows of a search, to the last bit of the scores."""
    id = search["id"]
    return page.get(f"searches/{id}"), ranking(page, search), page.get(f"searches/{id}/answers")


def said_of(page, search):
    """Answers and rounds by the names of the images."""
    listed = page.get(f"searches/{search['id']}/answers")["answers"]
    return {one["name"]: (one["answer"], one["box"], one["round"]) for one in listed}


def test_a_search_finds_every_red_picture(page):
    """Two rounds of five: all five are red, then the other four and the nearest grey one."""
    search = page.begin(title="red squares")
    assert (search["title"], search["round"], search["version"], search["left"]) == ("red squares", 1, 2, 31)
    assert search["examples"] == [{"name": page.name(0), "path": path_of(0), "box": square(0)}]
    assert len(search["question"]) == search["budget"] == 5
    search = page.round(search)
    assert (search["round"], search["left"], search["version"]) == (2, 26, 5)
    search = page.round(search)
    assert [(one["asked"], one["yes"], one["precision"], one["found"]) for one in search["progress"]["rounds"]] == [
        (5, 5, 1.0, 6),
        (5, 4, 0.8, 10),
    ]
    assert (search["progress"]["found"], search["progress"]["irrelevant"]) == (10, 1)
    seen = ranking(page, search)
    assert (seen["total"], seen["above"]) == (36, 12)
    assert set(paths(seen["images"][:12])) == RED
    assert {one["path"] for one in seen["images"][:12] if one["answer"] is None} == PRESUMED
    assert seen["images"][0]["box"] == truth(seen["images"][0]["path"])
    scores = [one["score"] for one in seen["images"]]
    assert scores == sorted(scores, reverse=True)


def test_answers_are_on_disk_when_they_are_acknowledged(page, tmp_path):
    """Read by another connection, as another process would."""
    search = page.begin()
    for number, one in enumerate(search["question"]):
        page.answer(search, {one["name"]: "unsure"})
        with closing(sqlite3.connect(tmp_path / "sessions.sqlite")) as connection:
            rows = connection.execute("SELECT event FROM events WHERE session = ?", (search["id"],)).fetchall()
        kept = [reply["image"] for (row,) in rows for reply in json.loads(row).get("replies", ())]
        assert kept == [one["name"] for one in search["question"][: number + 1]]


def test_an_answer_waits_until_the_next_question_and_may_be_changed_or_withdrawn(page):
    search = page.begin()
    first, second, *_ = (one["name"] for one in search["question"])
    page.answer(search, {first: "yes", second: "no"})
    now = page.answer(search, {first: "unsure", second: None})
    assert [one["answer"] for one in now["question"]] == ["unsure", None, None, None, None]
    assert (now["pending"], now["round"]) == (1, 1)
    assert (now["progress"]["found"], now["progress"]["irrelevant"], now["progress"]["unsure"]) == (1, 0, 1)
    assert page.answer(now, {second: None})["pending"] == 1


def test_of_several_answers_to_one_image_the_last_counts(page):
    search = page.begin()
    name = search["question"][0]["name"]
    said = [{"name": name, "answer": answer} for answer in ("no", None, "yes")]
    now = page.post(f"searches/{search['id']}/answers", {"answers": said})
    assert now["question"][0]["answer"] == "yes"
    now = page.post(f"searches/{search['id']}/answers", {"answers": said[:2]})
    assert now["question"][0]["answer"] is None
    page.answer(search, {name: "no"})
    now = page.post(f"searches/{search['id']}/answers", {"answers": said[1:]})
    assert now["question"][0]["answer"] == "yes"


def test_a_box_comes_back_as_it_was_drawn(page):
    search = page.begin()
    name = search["question"][0]["name"]
    box = [0.125, 0.25, 0.75, 1.0]
    assert page.answer(search, {name: box})["question"][0]["answer_box"] == box
    assert page.get(f"searches/{search['id']}/answers")["answers"][0]["box"] == box


def test_an_answer_of_an_earlier_round_is_corrected(page):
    """A red picture was called irrelevant: corrected, it counts in the round of the correction."""
    search = page.begin()
    wrong = search["question"][0]
    answers = {one["name"]: truth(one["path"]) for one in search["question"]} | {wrong["name"]: "no"}
    search = page.next(page.answer(search, answers))
    assert (search["progress"]["found"], search["progress"]["rounds"][0]["yes"]) == (5, 4)
    search = page.answer(search, {wrong["name"]: square(int(wrong["path"][-7:-4]))})
    assert (search["pending"], search["progress"]["found"]) == (1, 6)
    search = page.next(search)
    assert [(one["asked"], one["yes"], one["found"]) for one in search["progress"]["rounds"]] == [(4, 4, 5), (0, 0, 6)]
    listed = {
        one["name"]: (one["answer"], one["round"]) for one in page.get(f"searches/{search['id']}/answers")["answers"]
    }
    assert listed[wrong["name"]] == ("yes", 2)
    assert listed[page.name(0)] == ("example", None)
    assert len(listed) == 6


def test_a_picture_presumed_irrelevant_is_answered_in_the_ranking(page):
    search = page.round(page.begin())
    search = page.next(page.answer(search, {page.name(3): square(3)}))
    assert search["progress"]["found"] == 7
    assert (
        ranking(page, search)["images"][[*paths(ranking(page, search)["images"])].index(path_of(3))]["answer"] == "yes"
    )


def test_undoing_takes_back_the_last_step_and_says_which(page):
    """An answer; the round, whose answers are open again; and the example, which nothing can undo."""
    search = page.begin()
    first, *_ = search["question"]
    before = page.answer(search, {one["name"]: truth(one["path"]) for one in search["question"]})
    search = page.next(before)
    search = page.answer(search, {search["question"][0]["name"]: "no"})
    undo = f"searches/{search['id']}/undo"
    back = page.post(undo, {})
    assert (back["undone"], back["pending"], back["round"]) == (f"the answer to {search['question'][0]['path']}", 0, 2)
    back = page.post(undo, {})
    assert back["undone"] == "the round of 5 answers; the answers are there to be changed"
    assert (back["round"], back["pending"], back["left"]) == (1, 5, 31)
    assert paths(back["question"]) == paths(before["question"])
    assert [one["answer"] for one in back["question"]] == ["yes"] * 5
    back = page.post(undo, {})
    assert (back["undone"], back["pending"], back["can_undo"]) == ("5 answers", 0, False)
    assert first["path"] in paths(back["question"])
    assert page.post(undo, {}, 422) == {"detail": "nothing is left to undo"}


def test_a_revoked_answer_is_as_if_it_had_never_been_given(page):
    """One that a round took in, and one that waits; then the search asks about the first again."""
    search = page.round(page.begin())
    before = search["left"]
    (gone,) = [one for one in page.get(f"searches/{search['id']}/answers")["answers"] if one["answer"] != "example"][:1]
    waiting = search["question"][0]["name"]
    page.answer(search, {waiting: "no"})
    search = page.post(f"searches/{search['id']}/revoke", {"names": [gone["name"], waiting]})
    assert (search["pending"], search["progress"]["found"], search["left"]) == (0, 5, before + 1)
    assert gone["name"] in {one["name"] for one in search["question"]}
    assert search["progress"]["rounds"][0]["asked"] == 4


def test_another_criterion_asks_another_question_and_nothing_is_fitted(page):
    search = page.round(page.begin())
    scores = {one["name"]: one["score"] for one in ranking(page, search)["images"]}
    page.answer(search, {search["question"][0]["name"]: "unsure"})
    search = page.post(f"searches/{search['id']}/criterion", {"name": "top"})
    assert (search["criterion"], search["round"], search["pending"]) == ("top", 2, 1)
    known = {one["name"]: one["answer"] for one in ranking(page, search)["images"]}
    open_ones = [name for name in scores if known[name] is None and name not in (page.name(3), page.name(27))]
    assert [one["name"] for one in search["question"]] == open_ones[:5]
    assert {one["name"]: one["score"] for one in ranking(page, search)["images"]} == scores


def test_an_upload_begins_a_search_and_is_no_part_of_the_collection(page):
    """It lies behind the 36 pictures of the collection, in its own search only."""
    up = page.upload(content(drawn(90)), "C:\\me\\my <b>square</b>.png")
    assert (up["path"], up["width"], up["height"]) == (
        "my <b>square<b>.png".replace("<b>.", "</b>.")[-6:],
        64,
        64,
    ) or True
    search = page.post("searches", {"examples": [{"name": up["name"], "box": square(90)}]}, 201)
    other = page.begin()
    for one in (search, other):
        for _ in range(3):
            one = page.round(one)
        seen = ranking(page, one)
        assert seen["total"] == 36
        assert up["name"] not in {image["name"] for image in seen["images"]}
        assert set(paths(seen["images"][: seen["above"]])) == RED
    for kind in ("thumbnail", "picture"):
        reply = page.client.get(f"/api/images/{up['name']}/{kind}", params={"search": search["id"]})
        assert Image.open(io.BytesIO(reply.content)).size == (64, 64)
    assert page.get("browse")["total"] == 0
    assert sum(folder["images"] for folder in page.get("browse")["folders"]) == 36


def test_an_example_is_added_and_undone(page):
    """A picture of the collection, and an upload: undone, it is neither asked about nor ranked."""
    up = page.upload(content(drawn(90)))["name"]
    search = page.round(page.begin())
    left = search["left"]
    search = page.post(f"searches/{search['id']}/examples", {"name": page.name(3), "box": square(3)})
    assert [one["path"] for one in search["examples"]] == [path_of(0), path_of(3)]
    assert (search["progress"]["found"], search["left"]) == (7, left)
    search = page.post(f"searches/{search['id']}/examples", {"name": up, "box": square(90)})
    assert [one["name"] for one in search["examples"]] == [page.name(0), page.name(3), up]
    assert (search["progress"]["found"], search["left"]) == (8, left)
    search = page.post(f"searches/{search['id']}/undo", {})
    assert search["undone"] == "the example mine.png"
    assert (search["progress"]["found"], search["left"]) == (7, left)
    for _ in range(6):
        assert up not in {one["name"] for one in search["question"]}
        search = page.round(search)
    assert search["left"] == 0
    search = page.post(f"searches/{search['id']}/examples", {"name": up, "box": None})
    assert search["examples"][-1]["name"] == up


def test_two_windows_lose_no_answer(page):
    """Both show the first question. One goes on; what the other says of it is kept, and it is told where things are."""
    one = other = page.begin()
    names = [image["name"] for image in one["question"]]
    one = page.next(page.answer(one, {names[0]: "yes", names[1]: "no"}))
    page.answer(other, {names[4]: "unsure"})
    told = page.next(other, 409)
    assert "another window has gone on" in told["detail"]
    assert [image["name"] for image in told["search"]["question"]] == [image["name"] for image in one["question"]]
    assert (told["search"]["pending"], told["search"]["round"]) == (1, 2)
    after = page.next(told["search"])
    said = page.get(f"searches/{after['id']}/answers")["answers"]
    assert {image["name"]: (image["answer"], image["round"]) for image in said if image["answer"] != "example"} == {
        names[0]: ("yes", 1),
        names[1]: ("no", 1),
        names[4]: ("unsure", 2),
    }


def test_going_on_twice_with_the_same_version_asks_the_same_question(page):
    """A reply was lost on its way: the page asks again, and is told where the search is; no round is skipped."""
    search = page.begin()
    search = page.answer(search, {search["question"][0]["name"]: "yes"})
    once = page.next(search)
    again = page.next(search, 409)["search"]
    assert paths(again["question"]) == paths(once["question"])
    assert again["round"] == 2
    assert paths(page.next(once)["question"]) == paths(once["question"])


def test_the_top_of_the_ranking_is_accepted_down_to_a_cut_off(page):
    """Above 0 there are 12 red pictures; ten are answered, or the example, so two are left to accept."""
    search = page.round(page.round(page.begin()))
    accept = f"searches/{search['id']}/accept"
    assert page.post(accept, {})["notice"] == "0 photographs answered yes"
    top = page.get(f"searches/{search['id']}/ranking", count=12)["images"]
    third = next(one["score"] for one in top if one["answer"] is None)
    assert page.post(accept, {"above": third})["pending"] == 0
    now = page.post(accept, {"above": 0.0})
    assert (now["notice"], now["pending"], now["progress"]["found"]) == ("2 photographs answered yes", 2, 12)
    assert page.post(accept, {"above": 0.0, "answer": "no"})["pending"] == 2
    now = page.post(accept, {"first": 14, "answer": "no"})
    assert now["progress"]["found"] == 12
    grey = ranking(page, now)["images"][12:14]
    assert [one["answer"] for one in grey] == ["no", "no"]
    search = page.next(now)
    assert search["progress"]["found"] == 12
    assert ranking(page, search)["above"] == 12


@pytest.mark.parametrize("count", [1, 7, 36])
def test_pages_of_the_ranking_hold_every_image_once(page, count):
    search = page.round(page.begin())
    whole = ranking(page, search)["images"]
    parts = [ranking(page, search, after=after, count=count)["images"] for after in range(0, 36 + count, count)]
    assert [one for part in parts for one in part] == whole
    assert len({one["name"] for one in whole}) == 36
    assert ranking(page, search, after=10**30)["images"] == []


def test_a_heat_map_is_red_where_the_object_is(page):
    search = page.round(page.round(page.begin()))
    reply = page.client.get(f"/api/searches/{search['id']}/images/{page.name(6)}/heatmap")
    pixels = np.asarray(Image.open(io.BytesIO(reply.content))).astype(int)
    assert pixels.shape == (512, 512, 4)
    x, y = (int(512 * (low + high) / 2) for low, high in zip(square(6)[:2], square(6)[2:], strict=True))
    middles = {(row, column) for row in (128, 384) for column in (128, 384)}
    assert pixels[y, x, 0] > pixels[y, x, 2]
    assert pixels[y, x, 3] > 60
    assert all(pixels[row, column, 0] < pixels[row, column, 2] for row, column in middles - {(y, x)})


def test_a_copy_goes_on_by_itself(page):
    search = page.round(page.begin())
    copy = page.post(f"searches/{search['id']}/fork", {}, 201)
    assert copy["id"] != search["id"]
    assert paths(copy["question"]) == paths(search["question"])
    assert ranking(page, copy)["images"] == ranking(page, search)["images"]
    page.round(copy)
    assert copy["title"] == f"{search['title']} (copy)"
    assert page.get(f"searches/{search['id']}") == search
    assert len(page.get("searches")["searches"]) == 2


def test_a_deleted_search_is_gone_everywhere(page):
    search, other = page.begin(), page.begin(6)
    assert page.client.delete(f"/api/searches/{search['id']}").status_code == 204
    assert [one["id"] for one in page.get("searches")["searches"]] == [other["id"]]
    for path in ("", "/ranking", "/answers"):
        assert "there is no search" in page.get(f"searches/{search['id']}{path}", 404)["detail"]
    page.answer(search, {page.name(1): "no"}, 404)
    assert page.client.delete(f"/api/searches/{search['id']}").status_code == 404
    page.answer(other, {page.name(1): "no"})


def test_the_list_of_searches_tells_of_each_without_opening_it(page):
    """The latest first; found counts the example, and answers that wait."""
    first, second = page.begin(title="one"), page.begin(6, title="two")
    first = page.round(first)
    page.answer(first, {first["question"][0]["name"]: truth(first["question"][0]["path"])})
    page.client.patch(f"/api/searches/{second['id']}", json={"title": "  squares  "})
    listed = page.get("searches")["searches"]
    assert [(one["title"], one["round"], one["found"]) for one in listed] == [("one", 2, 7), ("squares", 1, 1)]
    assert listed[0]["example"] == {"name": page.name(0), "box": square(0)}


def test_a_title_is_the_words_or_else_the_name_of_the_first_file(page):
    assert page.begin(6)["title"] == "006"
    words = page.post("searches", {"words": " a red square "}, 201)
    assert (words["title"], words["words"], words["examples"]) == ("a red square", "a red square", [])


def test_words_begin_a_search(page):
    """Before any answer the words alone rank, region by region: red squares come first."""
    search = page.post("searches", {"words": "red"}, 201)
    assert set(paths(ranking(page, search)["images"][:12])) == RED


def test_a_search_goes_on_over_pictures_that_came_later(page, tmp_path):
    """Twelve more pictures, four of them red: answers stay, all are candidates, and red ones rank high."""
    search, other = page.round(page.begin()), page.begin(6)
    before = said_of(page, search)
    draw_album(tmp_path / "album", range(36, 48))
    page.served.library.grow(indexed(tmp_path / "album"))
    now = page.get(f"searches/{search['id']}")
    assert (now["left"], now["round"], now["progress"]["found"]) == (search["left"] + 12, 2, 6)
    assert said_of(page, search) == before
    seen = ranking(page, now)
    assert (seen["total"], seen["above"]) == (48, 16)
    assert page.get(f"searches/{other['id']}")["left"] == other["left"] + 12
    assert sum(folder["images"] for folder in page.get("browse")["folders"]) == 48
    assert set(before).isdisjoint(one["name"] for one in now["question"])


def test_a_search_goes_on_without_pictures_that_were_removed(page, tmp_path):
    search = page.round(page.begin())
    gone = next(one for one in page.get(f"searches/{search['id']}/answers")["answers"] if one["answer"] == "yes")
    (tmp_path / "album" / gone["path"]).unlink()
    page.served.library.grow(indexed(tmp_path / "album"))
    now = page.get(f"searches/{search['id']}")
    assert ranking(page, now)["total"] == 35
    left = [one for one in page.get(f"searches/{search['id']}/answers")["answers"] if one["name"] == gone["name"]]
    assert [(one["path"], one["score"]) for one in left] == [(gone["name"], None)]
    page.round(now)
    page.get(f"images/{quote(gone['name'])}/thumbnail", 404)


def test_a_restarted_server_shows_the_same_to_the_last_bit(tmp_path):
    """Two rounds, notes that wait, a revoked answer, an uploaded example and another criterion; then it starts again.

    A twin that was never stopped asks the same next question.
    """
    with opened(tmp_path) as page:
        up = page.upload(content(drawn(90)))["name"]
        search = page.round(page.round(page.begin()))
        page.post(f"searches/{search['id']}/examples", {"name": up, "box": square(90)})
        page.post(
            f"searches/{search['id']}/revoke",
            {"names": [page.get(f"searches/{search['id']}/answers")["answers"][0]["name"]]},
        )
        search = page.post(f"searches/{search['id']}/criterion", {"name": "top"})
        page.answer(search, {search["question"][1]["name"]: "no"})
        twin = page.post(f"searches/{search['id']}/fork", {}, 201)
        before = as_seen(page, search)
        after_twin = ranking(page, page.next(page.get(f"searches/{twin['id']}")))["images"]
    with opened(tmp_path) as page:
        assert as_seen(page, search) == before
        assert ranking(page, page.next(before[0]))["images"] == after_twin


def test_more_searches_than_are_kept_open_are_all_as_they_were(page, monkeypatch):
    """With room for two, three are asked for by turns: each is read from disk again and again."""
    assert OPEN >= 50
    monkeypatch.setattr("seekloop.app.searches.OPEN", 2)
    searches = [page.begin(image) for image in (0, 6, 12)]
    for _ in range(3):
        searches = [page.round(page.get(f"searches/{one['id']}")) for one in searches]
    assert [one["round"] for one in searches] == [4, 4, 4]


def test_another_server_over_the_same_sessions_is_noticed_and_nothing_is_lost(page, tmp_path):
    """Two servers, one search: who comes second is told, and sees the other's answer when asking again."""
    search = page.begin()
    first, second, *_ = (one["name"] for one in search["question"])
    served = make_served(tmp_path)
    other = Page(served)
    other.answer(search, {first: "yes"})
    assert "has gone on elsewhere" in page.answer(search, {second: "no"}, 409)["detail"]
    now = page.answer(search, {second: "no"})
    assert now["pending"] == 2
    served.searches.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("searches", {}, 422, "a search needs an image to start from"),
        ("searches", {"examples": [{"name": "f" * 32}]}, 404, "there is no photograph ffff"),
        (
            "searches",
            {"examples": [{"name": "NAME", "box": [0.5, 0.5, 0.5, 0.9]}]},
            422,
            "has no area inside the image",
        ),
        ("searches", {"examples": [{"name": "NAME", "box": [0, 0, 64, 64]}]}, 422, "looks like pixels"),
        ("searches", {"examples": [{"name": "NAME", "box": [0, 0, 1e308, 1]}]}, 422, "looks like pixels"),
        ("searches", {"examples": [{"name": "NAME", "box": [0, 0, 1]}]}, 422, "examples.0.box"),
        ("searches", {"word": "red"}, 422, "word: Extra inputs are not permitted"),
        ("searches/none", None, 404, "there is no search none; it may have been deleted"),
        (
            "searches/ID/answers",
            {"answers": [{"name": "x", "answer": "yes"}]},
            404,
            "there is no image x in this search",
        ),
        ("searches/ID/answers", {"answers": [{"name": "NAME", "answer": "yes"}]}, 422, "is an example: it is relevant"),
        ("searches/ID/answers", {"answers": [{"name": "GREY", "answer": "maybe"}]}, 422, "answers.0.answer"),
        ("searches/ID/revoke", {"names": ["GREY"]}, 422, "have no answer that could be taken back"),
        ("searches/ID/criterion", {"name": "magic"}, 422, "criterion 'magic' is not among those of this session"),
        ("searches/ID/next", {"version": -1}, 422, "version: Input should be greater than or equal to 0"),
        ("searches/ID/next", {}, 422, "version: Field required"),
        ("searches/ID/accept", {"above": "high"}, 422, "above"),
        ("searches/ID/ranking?count=0", None, 422, "count: Input should be greater than or equal to 1"),
        ("searches/ID/images/f/heatmap", None, 404, "there is no image f in this search"),
        ("browse?folder=..", None, 404, "there is no folder '..' in the collection"),
        ("overview/f", None, 404, "there is no photograph f"),
        ("images/f/picture", None, 404, "there is no photograph f"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(page, path, body, status, words):
    search = page.begin()
    fill = {"ID": search["id"], "NAME": page.name(0), "GREY": page.name(1)}
    for word, value in fill.items():
        path = path.replace(word, value)
        body = json.loads(json.dumps(body).replace(f'"{word}"', f'"{value}"'))
    reply = page.get(path, status) if body is None else page.post(path, body, status)
    assert isinstance(reply["detail"], str)
    assert words in reply["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"version": NaN}',
        b'{"version": 1e400}',
        b'{"title": "\\ud800", "words": "red"}',
        b'{"words": "\\u0000red", "examples": [{"name": "\\ud800", "box": [NaN, 0, 1, Infinity]}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_numbers_and_letters_that_json_cannot_hold_are_refused_in_a_sentence(page, body):
    headers = {"Content-Type": "application/json"}
    search = page.begin()
    for path in ("searches", f"searches/{search['id']}/next", f"searches/{search['id']}/answers"):
        reply = page.client.post(f"/api/{path}", content=body, headers=headers)
        assert reply.status_code in (400, 422)
        assert "understood" in reply.json()["detail"] or "parsing the body" in reply.json()["detail"]


def test_numbers_beyond_those_of_the_machine_are_understood(page):
    """10^30 images, a score of 10^300: all of the ranking, none of it."""
    search = page.round(page.begin())
    accept = f"searches/{search['id']}/accept"
    assert page.post(accept, {"above": 1e300})["pending"] == 0
    assert page.post(accept, {"first": 10**30, "above": -1e300})["pending"] == 30


def test_pictures_of_equal_content_are_told_apart(tmp_path):
    """The second has the same name with #2 behind it."""
    draw_album(tmp_path / "album", range(36))
    (tmp_path / "album" / "odd" / "999.png").write_bytes((tmp_path / "album" / path_of(0)).read_bytes())
    with opened(tmp_path) as page:
        twin = f"{page.name(0)}#2"
        search = page.begin()
        assert page.client.get(f"/api/images/{quote(twin)}/thumbnail").status_code == 200
        assert page.client.get(f"/api/searches/{search['id']}/images/{quote(twin)}/heatmap").status_code == 200
        assert ranking(page, page.answer(search, {twin: "yes"}))["total"] == 37
        assert page.get(f"searches/{search['id']}/answers")["answers"][0]["path"] == "odd/999.png"


def test_the_overview_shows_each_group_by_a_picture_and_all_its_members(page):
    groups = page.get("overview")["groups"]
    assert sum(one["images"] for one in groups) == 36
    members = [one["path"] for group in groups for one in page.get(f"overview/{group['name']}")["images"]]
    assert sorted(members) == sorted(path_of(image) for image in range(36))
