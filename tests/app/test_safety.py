"""Who may talk to the server, and what it never shows, reads or runs."""

import asyncio
import io
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient

from seekloop.app import api
from seekloop.app.api import make_app
from seekloop.app.routes.collection import limited
from seekloop.app.safety import COOKIE, HEADERS, is_loopback
from seekloop.app.uploads import UploadError
from seekloop.images.folder import ImageFolder
from tests.app.parts import HOST, PAGE, UPLOAD_BYTES, draw_album, drawn, make_served, opened, path_of, square

SECRET = "the secret"
SCRIPT = "<script>alert(1)</script>"
OUTSIDE = [
    "../secret.png",
    "..%2Fsecret.png",
    "%2e%2e/secret.png",
    "%2e%2e%2fsecret.png",
    "..%252fsecret.png",
    "..\\secret.png",
    "..%5csecret.png",
    "....//secret.png",
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "even/../../secret.png",
    "secret.png%00.jpg",
    "link/secret.png",
    "file:///etc/passwd",
]


@pytest.fixture
def page(tmp_path):
    """A page over an album; beside the album lies a secret, and one more beside the page's own files."""
    (tmp_path / "secret.png").write_text(SECRET)
    with opened(tmp_path) as one:
        yield one


def png(picture, **about):
    file = io.BytesIO()
    picture.save(file, "PNG", **about)
    return file.getvalue()


# Who may talk to it


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7332", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("evil.example:7332", 421),
        ("localhost.evil.example", 421),
        ("localhost@evil.example", 421),
        ("[::1]evil", 421),
        ("", 421),
        ("127.0.0.1.nip.io:7332", 421),
    ],
)
def test_a_page_of_another_name_that_leads_here_is_refused(page, host, status):
    """DNS rebinding: the name's owner lets it point to this machine, and the browser takes both for one site."""
    reply = page.client.get("/api/status", headers={"Host": host})
    assert reply.status_code == status
    assert ("does not go by that name" in reply.text) == (status == 421)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (HOST, 201),
        (None, 201),
        ("http://evil.example", 403),
        ("http://localhost", 403),
        ("http://localhost:8000", 403),
        ("http://evil.example/localhost:7332", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_site_is_refused(page, origin, status):
    headers = {} if origin is None else {"Origin": origin}
    body = {"examples": [{"name": page.name(0), "box": None}]}
    reply = page.client.post("/api/searches", json=body, headers={"Host": "localhost:7332", **headers})
    assert reply.status_code == status
    assert len(page.get("searches")["searches"]) == (status == 201)


def test_every_change_needs_the_header_that_forms_and_images_cannot_send(page):
    """Every method and path of the API that changes something; reading needs none."""
    search = page.begin()
    stranger = TestClient(page.client.app, base_url=HOST)
    changes = [
        (method, path.replace("{id}", search["id"]))
        for path, methods in page.get("openapi.json")["paths"].items()
        for method in methods
        if method != "get"
    ]
    assert len(changes) >= 11
    for method, path in changes:
        reply = stranger.request(method, path, json={})
        assert (reply.status_code, "X-Seekloop" in reply.text) == (403, True), path
    assert stranger.get(f"/api/searches/{search['id']}").json() == search


def test_a_token_opens_the_page_once_and_stays_in_a_cookie(tmp_path):
    draw_album(tmp_path / "album", range(6))
    served = make_served(tmp_path)
    app = make_app(served, token="a token")
    stranger = TestClient(app, base_url="http://archive.example")
    assert stranger.get("/api/status").status_code == 401
    for wrong in ("", "a toke", "a token ", "a%20tokem", "%00", "ä"):
        assert stranger.get(f"/api/status?token={wrong}").status_code == 401
    assert COOKIE not in stranger.cookies
    first = stranger.get("/?token=a+token", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert stranger.get("/api/status").status_code == 200
    other = TestClient(app, base_url="http://archive.example")
    assert other.get("/api/status", headers={"Authorization": "Bearer a token"}).status_code == 200
    for wrong in ("Bearer other", "Bearer ", "a", "Basic YTp0b2tlbg=="):
        assert other.get("/api/status", headers={"Authorization": wrong}).status_code == 401
    assert other.get("/api/status", headers={"Cookie": f"{COOKIE}=wrong"}).status_code == 401
    assert other.get("/api/status", headers={"Cookie": 'a="; b=,;=\x01'}).status_code == 401
    served.searches.close()


def test_a_token_does_not_stand_in_for_the_header_of_changes(tmp_path):
    """A link on another site may carry a cookie; it cannot carry the header."""
    with opened(tmp_path, range(6), token="word") as page:
        stranger = TestClient(page.client.app, base_url=HOST, cookies={COOKIE: "word"})
        assert stranger.get("/api/status").status_code == 200
        assert stranger.post("/api/searches", json={}).status_code == 403


def test_tokens_with_every_kind_of_letter_open_the_page(tmp_path):
    """A person may choose the word: spaces, semicolons, quotes and umlauts come back in the cookie as they were."""
    token = 'wörd; "a" = b,c'
    with opened(tmp_path, range(6), token=token) as page:
        browser = TestClient(page.client.app, base_url=HOST)
        browser.get(f"/?token={quote(token)}", follow_redirects=False)
        assert browser.get("/api/status").status_code == 200


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.1.2", "archive.example", "", "127.0.0.1.nip.io")],
)
def test_only_addresses_of_this_machine_need_no_token(host, only_here):
    assert is_loopback(host) == only_here


# What it never shows


def every_path(page, outside):
    search = page.begin()
    id = search["id"]
    return (
        f"/api/images/{outside}/thumbnail",
        f"/api/images/{outside}/picture",
        f"/api/images/{outside}/picture?search={id}",
        f"/api/searches/{id}/images/{outside}/heatmap",
        f"/api/searches/{outside}",
        f"/api/searches/{outside}/ranking",
        f"/api/overview/{outside}",
        f"/api/browse?folder={outside}",
        f"/api/browse?folder={outside}&by=date",
        f"/{outside}",
        f"/api/{outside}",
    )


@pytest.mark.parametrize("outside", OUTSIDE)
def test_no_path_leads_out_of_the_collection(page, outside, tmp_path, monkeypatch):
    """Names of images are hashes and searches are numbers, so no path on the disk is ever made of them."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("the page")
    (tmp_path / "static" / "link").symlink_to(tmp_path)
    monkeypatch.setattr(api, "PAGE", tmp_path / "static")
    client = TestClient(make_app(page.served, hosts=frozenset({"localhost"})), base_url=HOST)
    assert client.get("/").text == "the page"
    for path in every_path(page, outside):
        reply = client.get(path, follow_redirects=False)
        assert 400 <= reply.status_code < 500, path
        assert SECRET not in reply.text
        assert "root:" not in reply.text
    sent = {"examples": [{"name": outside, "box": None}]}
    assert page.client.post("/api/searches", json=sent).status_code == 404


def test_a_picture_that_became_a_link_to_something_else_is_shown_grey(page, tmp_path):
    """What was indexed as a picture, and has been replaced: nothing of the other file comes out."""
    (tmp_path / "album" / path_of(1)).unlink()
    (tmp_path / "album" / path_of(1)).symlink_to(tmp_path / "secret.png")
    for kind in ("thumbnail", "picture"):
        reply = page.client.get(f"/api/images/{page.name(1)}/{kind}")
        assert Image.open(io.BytesIO(reply.content)).getpixel((0, 0)) == (128, 128, 128)
        assert SECRET.encode() not in reply.content


# What is taken from outside


def bomb(width, height):
    """A PNG of some hundred bytes that says it has so many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * 4, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"x" * (UPLOAD_BYTES + 1), 413, "larger than"),
        (bomb(1_001, 1_000), 413, "1,000,000 pixels"),
        (bomb(60_000, 60_000), 413, "1,000,000 pixels"),
        (b"", 415, "no picture of a kind that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 415, "no picture of a kind"),
        (b"%PDF-1.7\n", 415, "no picture of a kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "no picture of a kind"),
        (b"<html>", 415, "no picture of a kind"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, 415, "no picture of a kind"),
        (png(drawn(0))[:-60], 422, "damaged or cut off"),
    ],
)
def test_a_file_that_is_too_large_or_no_picture_is_refused_in_a_sentence(page, tmp_path, content, status, words):
    assert words in page.upload(content, status=status)["detail"]
    assert not list((tmp_path / "uploads").glob("*"))


def test_a_file_is_not_read_further_than_allowed(page):
    """The length that is said is believed where it is too large; where none is said, reading ends at the limit."""
    said = page.client.post("/api/uploads", content=b"x", headers={"Content-Length": str(10**15)})
    assert said.status_code == 413
    assert taken_of(None, [b"x" * 300] * 9) == 4
    assert taken_of(b"1001", [b"x" * 300] * 9) == 0
    assert taken_of(b"900", [b"x" * 300] * 9) == 4


def taken_of(length, parts):
    """How many parts of a body are taken where 1,000 bytes are allowed."""
    taken = []

    async def receive():
        taken.append(parts[len(taken)])
        return {"type": "http.request", "body": taken[-1], "more_body": True}

    headers = [] if length is None else [(b"content-length", length)]
    request = Request({"type": "http", "headers": headers}, receive)
    # In a thread of its own: where a browser is open, this one has an event loop.
    with ThreadPoolExecutor(1) as aside, pytest.raises(UploadError, match="larger than"):
        aside.submit(lambda: asyncio.run(limited(request, 1_000))).result()
    return len(taken)


def test_nothing_but_pixels_is_kept_of_an_upload(page, tmp_path):
    """Neither text in the file, nor its EXIF, nor its name on the disk."""
    exif = Image.Exif()
    exif[0x010E] = f"{SECRET} {SCRIPT}"
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "JPEG", exif=exif.tobytes())
    up = page.upload(file.getvalue(), quote(f"../../{SCRIPT} ☃.jpg"))
    assert up["path"] == "script> ☃.jpg"
    for path in (tmp_path / "uploads").iterdir():
        assert path.stem == up["name"]
        assert SECRET.encode() not in path.read_bytes()
    for kind in ("thumbnail", "picture"):
        reply = page.client.get(f"/api/images/{up['name']}/{kind}")
        assert reply.headers["content-type"] == "image/jpeg"
        assert SECRET.encode() not in reply.content


# What never runs


def test_scripts_in_names_and_exif_come_back_as_text_in_json_only(tmp_path):
    """Folders, files, titles and words with a script in them: no reply is a document, but for the page's own files."""
    folder = tmp_path / "album" / SCRIPT.replace("/", "")
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = SCRIPT
    exif[0x9286] = SCRIPT
    drawn(1).save(folder / '"><img src=x onerror=alert(1)>.png', exif=exif.tobytes())
    with opened(tmp_path) as page:
        search = page.begin(title=SCRIPT)
        page.answer(search, {search["question"][0]["name"]: "yes"})
        name = ImageFolder(tmp_path / "album").contents()[0]
        id = search["id"]
        paths = ["status", "searches", f"searches/{id}", f"searches/{id}/ranking", f"searches/{id}/answers", "overview"]
        paths += ["browse", f"browse?folder={quote(folder.name)}", f"searches/{SCRIPT}", f"images/{SCRIPT}/thumbnail"]
        paths += [f"images/{name}/thumbnail", f"images/{name}/picture", f"browse?by={SCRIPT}", SCRIPT, "openapi.json"]
        for path in paths:
            reply = page.client.get(f"/api/{path}")
            assert reply.status_code < 500
            assert reply.headers["content-type"] in ("application/json", "image/jpeg"), path
            if reply.headers["content-type"] == "image/jpeg":
                assert SCRIPT.encode() not in reply.content


def test_every_reply_forbids_foreign_scripts_and_guesses_about_its_kind(page):
    """Replies of the page, of the API, refusals by the guard, errors, and those that nobody foresaw."""

    def broken():
        raise RuntimeError(SECRET)

    object.__setattr__(page.served, "status", broken)
    careless = TestClient(page.client.app, base_url=HOST, headers=PAGE, raise_server_exceptions=False)
    replies = [
        careless.get("/"),
        careless.get("/nowhere"),
        careless.get("/api/searches"),
        careless.get("/api/searches/x"),
        careless.get("/api/searches", headers={"Host": "evil.example"}),
        careless.post("/api/searches", json=[]),
        careless.get(f"/api/images/{page.name(0)}/thumbnail"),
        careless.get("/api/status"),
        careless.put("/api/status"),
    ]
    assert {reply.status_code for reply in replies} >= {200, 404, 405, 421, 422, 500}
    assert all(SECRET not in reply.text for reply in replies)
    for reply in replies:
        for name, value in HEADERS.items():
            assert reply.headers[name] == value
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy


def test_nothing_connects_to_another_machine_in_a_whole_search(tmp_path, monkeypatch):
    """Uploads, words, questions, maps, and the list of searches; a name is never looked up either."""
    asked = []

    def connect(_, address):
        asked.append(address)
        raise OSError("no way out")

    def look_up(host, *_, **__):
        asked.append(host)
        raise OSError("no way out")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(OSError, match="no way out"):
        socket.create_connection(("example.com", 80))
    assert asked == ["example.com"]
    with opened(tmp_path) as page:
        up = page.upload(png(drawn(90)))["name"]
        page.post("searches", {"words": "red"}, 201)
        search = page.post("searches", {"examples": [{"name": up, "box": square(90)}]}, 201)
        for _ in range(3):
            search = page.round(search)
        for path in ("thumbnail", "picture"):
            assert page.client.get(f"/api/images/{page.name(5)}/{path}").status_code == 200
        id = search["id"]
        assert page.client.get(f"/api/searches/{id}/images/{page.name(5)}/heatmap").status_code == 200
        for path in ("status", "searches", "overview", "browse?by=date", f"searches/{id}/ranking"):
            page.get(path)
    assert asked == ["example.com"]
