"""Searches: begin, list, look at, leave."""

from fastapi import APIRouter, Response

from seekloop.app import models
from seekloop.app.heatmap import heat, render
from seekloop.app.served import ERRORS, NOT_KEPT, After, Count, Found, Here, changed, shown

router = APIRouter(prefix="/api", responses=ERRORS)


@router.get("/searches")
def listed(here: Here) -> models.Searches:
    """All searches, the latest first."""
    return models.Searches(searches=here.searches.summaries())


@router.post("/searches", status_code=201)
def begin(here: Here, wanted: models.NewSearch) -> models.SearchOut:
    """Begin a search; its first question comes with it."""
    return shown(here, here.searches.begin(wanted))


@router.get("/searches/{id}")
def get(search: Found, here: Here) -> models.SearchOut:
    """A search as it stands."""
    return shown(here, search)


@router.patch("/searches/{id}")
def rename(search: Found, here: Here, wanted: models.Title) -> models.SearchOut:
    """Give a search another title."""
    here.searches.rename(search.id, wanted.title)
    return changed(here, search)


@router.delete("/searches/{id}", status_code=204)
def remove(here: Here, id: str) -> None:
    """Delete a search and everything that was said in it."""
    here.searches.remove(id)


@router.post("/searches/{id}/fork", status_code=201)
def fork(here: Here, id: str) -> models.SearchOut:
    """Copy a search, so that both go on by themselves."""
    return shown(here, here.searches.fork(id))


@router.get("/searches/{id}/ranking")
def ranking(search: Found, after: After = 0, count: Count = 60) -> models.RankingOut:
    """A part of the ranking, most likely first."""
    return search.ranking(after, count)


@router.get("/searches/{id}/answers")
def answers(search: Found) -> models.AnswersOut:
    """Everything that was said, the latest first."""
    return models.AnswersOut(answers=search.answers())


@router.get("/searches/{id}/images/{name}/heatmap", response_class=Response)
def heatmap(search: Found, here: Here, name: str) -> Response:
    """Scores of the parts of an image, to lay over its picture."""
    picture, image = here.searches.picture(search, name), search.position(name)
    scores = heat(search.session, here.library.backbone(), picture, image)
    return Response(render(scores, picture.size), media_type="image/png", headers=NOT_KEPT)
