"""The API under requests that nobody would send: nothing breaks, and what it says of itself is true.

Requests are drawn from the API's own description, valid and invalid ones; in half of them the search and the images are
known ones, so that they get further.
"""

import json
import random
from collections.abc import Mapping

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from seekloop.app.api import make_app
from seekloop.app.routes import answers, collection, exports, searches
from tests.app.parts import PAGE, opened

MODULES = (answers, collection, exports, searches)
ENDLESS = "/api/events"  # a stream of news
EXAMPLES = 25  # requests of an operation
ROUTES = sorted(
    (method, route.path)
    for module in MODULES
    for route in module.router.routes
    for method in route.methods
    if route.path != ENDLESS
)
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("fuzz"), range(12)) as one:
        yield one


@pytest.fixture(scope="module")
def schema(page):
    return schemathesis.openapi.from_asgi("/api/openapi.json", make_app(page.served))


def with_known(page, value, name):
    """The same request about images that are there."""
    if isinstance(value, Mapping):
        return {key: name if key == "name" else with_known(page, one, name) for key, one in value.items()}
    if isinstance(value, list):
        return [with_known(page, one, name) for one in value]
    return value


@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")  # schemathesis does
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_request_breaks_the_server_and_every_reply_is_as_described(page, schema, method, path):
    operation = schema[path][method]
    valid, invalid = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(valid | invalid, st.booleans(), st.integers(0, 11))
    def requests(case, known, number):
        if known:
            open_ones = page.get("searches")["searches"] or [page.begin(3 * (number % 4))]
            name = page.name(number)
            for word, value in (("id", open_ones[0]["id"]), ("name", name)):
                if word in (case.path_parameters or {}):
                    case.path_parameters[word] = value
            case.body = with_known(page, case.body, name)
        reply = case.call(headers=PAGE)
        assert reply.status_code < 500, reply.text
        case.validate_response(reply, checks=CHECKS)
        if reply.status_code >= 400:
            assert isinstance(reply.json()["detail"], str)

    requests()


VALUES = [None, True, -1, 0, 10**30, 0.5, -1e308, "", "\u2603", "../..", "0" * 32, [], {}, [[]], [0.1, 0.2, 0.3]]


def places(value, way=()):
    """Ways to everything inside a value."""
    yield way
    if isinstance(value, Mapping | list):
        for key, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from places(one, (*way, key))


def damaged(whole, way, value):
    """The same with another value in one place, or without it."""
    if not way:
        return value
    copy = json.loads(json.dumps(whole))
    inside = copy
    for key in way[:-1]:
        inside = inside[key]
    if value is None:
        del inside[way[-1]]
    else:
        inside[way[-1]] = value
    return copy


def test_a_damaged_export_is_refused_or_gives_a_search_that_works(page):
    """Any value of an exported session is taken out or put in place of another, 60 times."""
    search = page.round(page.begin())
    page.answer(search, {search["question"][0]["name"]: "unsure"})
    page.post(f"searches/{search['id']}/criterion", {"name": "top"})
    export = page.get(f"searches/{search['id']}/export", format="json")
    draw, ways = random.Random(0), list(places(export))
    taken = 0
    for _ in range(60):
        way, value = draw.choice(ways), draw.choice(VALUES)
        reply = page.client.post("/api/import", json=damaged(export, way, value))
        assert reply.status_code in (201, 400, 404, 409, 422), (way, value, reply.text)
        if reply.status_code != 201:
            assert isinstance(reply.json()["detail"], str)
            continue
        taken += 1
        came = reply.json()
        for path in ("", "/ranking", "/answers"):
            page.get(f"searches/{came['id']}{path}")
        assert page.client.delete(f"/api/searches/{came['id']}").status_code == 204
    assert 0 < taken < 60
    assert page.client.get("/api/searches").status_code == 200
