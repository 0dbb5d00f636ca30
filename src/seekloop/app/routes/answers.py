"""Answers of a person, and everything else that changes a search."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from seekloop.app import models, views
from seekloop.app.searches import Search
from seekloop.app.served import ERRORS, Found, Here, Served, changed, shown
from seekloop.artifacts.folder import BusyError
from seekloop.contracts.problems import many

router = APIRouter(prefix="/api", responses=ERRORS)


@router.post("/searches/{id}/answers")
def answer(search: Found, here: Here, given: models.AnswersIn) -> models.SearchOut:
    """Keep answers; they are on disk when this replies."""
    with still_ours(here, search):
        search.note(given.answers)
    here.searches.learn_ahead(search)
    return changed(here, search)


@router.post("/searches/{id}/next", response_model=models.SearchOut, responses={409: {"model": models.Conflict}})
def go_on(search: Found, here: Here, seen: models.Seen) -> Response | models.SearchOut:
    """Take the answers in, and ask the next question."""
    with still_ours(here, search), search.changing() as session:
        if search.asked_at() > seen.version:
            why = "another window has gone on to the next question; nothing is lost"
            conflict = models.Conflict(detail=why, search=shown(here, search))
            return JSONResponse(conflict.model_dump(), 409)
        session.advance()
    return changed(here, search)


@router.post("/searches/{id}/revoke")
def revoke(search: Found, here: Here, some: models.Names) -> models.SearchOut:
    """Take answers back."""
    with still_ours(here, search), search.changing() as session:
        images = [search.position(name) for name in some.names]
        if stray := [search.path(image) for image in images if search.name(image) not in session.said]:
            raise ValueError(f"{', '.join(stray[:3])} have no answer that could be taken back")
        session.note({}, withdrawn=[image for image in images if search.name(image) in session.pending])
        taken_in = [image for image in images if search.name(image) in session.said]  # also where a note corrected it
        if taken_in:
            session.revoke(taken_in)
    return changed(here, search)


@router.post("/searches/{id}/undo")
def undo(search: Found, here: Here, _: models.Nothing) -> models.SearchOut:
    """Undo the last step."""
    with still_ours(here, search), search.changing() as session:
        event = session.undo()
        paths = {search.name(image): search.path(image) for image in search.images_of(event)}
        told = views.undone(event, paths)
        here.searches.refresh(search)  # an upload is no example any more
    return changed(here, search, undone=told)


@router.post("/searches/{id}/examples")
def example(search: Found, here: Here, given: models.ExampleIn) -> models.SearchOut:
    """Give another image that shows the object."""
    with still_ours(here, search):
        here.searches.add_example(search, given.name, given.box)
    return changed(here, search)


@router.post("/searches/{id}/criterion")
def criterion(search: Found, here: Here, wanted: models.CriterionIn) -> models.SearchOut:
    """Choose questions another way; nothing is fitted anew."""
    with still_ours(here, search), search.changing() as session:
        session.use(wanted.name)
    return changed(here, search)


@router.post("/searches/{id}/accept")
def accept(search: Found, here: Here, cut: models.Accepted) -> models.SearchOut:
    """Give the top of the ranking one answer, where an image has none."""
    with still_ours(here, search):
        count = search.accept(cut)
    here.searches.learn_ahead(search)
    return changed(here, search, notice=f"{many(count, 'photograph', 'photographs')} answered {cut.answer}")


@contextmanager
def still_ours(here: Served, search: Search) -> Iterator[None]:
    """Read a search again, and say so, where another process has added to it."""
    try:
        yield
    except BusyError:
        here.searches.forget(search.id)
        raise
