"""Requests and replies between the page and its server."""

from typing import Annotated, Literal

from annotated_types import Ge, MaxLen
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
"""Corners (x0, y0, x1, y1), in fractions of the upright image."""
Name = Annotated[str, MaxLen(200)]
"""Name of an image, by what it holds."""
Said = Literal["yes", "no", "unsure"]
Known = Literal["yes", "no", "unsure", "example"]
Criterion = Annotated[str, MaxLen(100)]


class Strict(BaseModel):
    """A request: what nobody reads is refused."""

    model_config = ConfigDict(extra="forbid")


class Reply(BaseModel):
    """A reply, made of its values or of a record that has them."""

    model_config = ConfigDict(from_attributes=True)


class ExampleIn(Strict):
    """An image that shows the object, and where."""

    name: Name
    box: Box | None = None


class NewSearch(Strict):
    """A search that begins: from examples, from words, or from both."""

    examples: Annotated[list[ExampleIn], MaxLen(50)] = []
    words: Annotated[str, MaxLen(1000)] = ""
    title: Annotated[str, MaxLen(200)] = ""


class Title(Strict):
    """A title that a person gives."""

    title: Annotated[str, MaxLen(200)]


class AnswerIn(Strict):
    """An answer to one image; null takes back one that no round has taken in."""

    name: Name
    answer: Said | None
    box: Box | None = None


class AnswersIn(Strict):
    """Answers to some images, of the question or others."""

    version: int = 0
    answers: Annotated[list[AnswerIn], MaxLen(10_000)]


class Seen(Strict):
    """The version of the search that the page saw."""

    version: Annotated[int, Ge(0)]


class Names(Strict):
    """Some images."""

    names: Annotated[list[Name], MaxLen(10_000)]


class CriterionIn(Strict):
    """A criterion by its name."""

    name: Criterion


class CutOff(Strict):
    """The top of a ranking: down to a score, or so many images."""

    above: FiniteFloat | None = None
    first: Annotated[int, Ge(0)] | None = None


class Accepted(CutOff):
    """One answer to every image at the top of the ranking that has none."""

    answer: Said = "yes"


class ExportIn(CutOff):
    """Files to be written on the server's disk."""

    format: Literal["links", "copies"]


class Nothing(Strict):
    """A request without content."""


class Image(Reply):
    """An image in a list."""

    name: str
    path: str
    date: str = ""


class Example(Reply):
    """An example of a search."""

    name: str
    path: str
    box: Box | None


class Asked(Reply):
    """An image of a question."""

    name: str
    path: str
    box: Box | None
    score: float
    box_wanted: bool
    answer: Said | None
    answer_box: Box | None


class Round(Reply):
    """A round of answers."""

    round: int
    asked: int
    yes: int
    precision: float | None
    found: int


class Remaining(Reply):
    """How many images that show the object are still to be found."""

    low: int
    estimate: int
    high: int
    method: str


class Progress(Reply):
    """How a search goes."""

    found: int
    irrelevant: int
    unsure: int
    seconds: float
    rounds: list[Round]
    remaining: Remaining | None
    hint: str


class SearchOut(Reply):
    """A search as the page shows it."""

    id: str
    title: str
    created: str
    words: str
    version: int
    examples: list[Example]
    criterion: str
    round: int
    budget: int
    question: list[Asked]
    pending: int
    learning: bool
    progress: Progress
    left: int
    can_undo: bool
    undone: str = ""
    notice: str = ""


class Ranked(Reply):
    """An image of the ranking."""

    name: str
    path: str
    score: float
    box: Box | None
    answer: Known | None


class RankingOut(Reply):
    """A part of the ranking."""

    version: int
    total: int
    above: int
    images: list[Ranked]


class Answered(Reply):
    """An answer that was given."""

    name: str
    path: str
    answer: Known
    box: Box | None
    round: int | None
    score: float | None


class AnswersOut(Reply):
    """All answers of a search, the latest first."""

    answers: list[Answered]


class Summary(Reply):
    """A search in the list of all."""

    id: str
    title: str
    created: str
    changed: str
    round: int
    found: int
    example: ExampleIn | None
    words: str


class Searches(Reply):
    """All searches, the latest first."""

    searches: list[Summary]


class Conflict(Reply):
    """Another window has gone on: here is where the search stands."""

    detail: str
    search: SearchOut


class Uploaded(Reply):
    """A picture that was uploaded."""

    name: str
    path: str
    width: int
    height: int


class Folder(Reply):
    """A folder of the collection."""

    path: str
    name: str
    images: int


class Month(Reply):
    """A month of photographs."""

    month: str
    images: int


class Browsed(Reply):
    """A part of the collection, by folder or by date."""

    folder: str
    folders: list[Folder]
    images: list[Image]
    total: int
    months: list[Month]


class Group(Reply):
    """Images that look alike, by the most typical of them."""

    name: str
    path: str
    images: int


class Overview(Reply):
    """The collection in groups."""

    groups: list[Group]


class Images(Reply):
    """A part of a list of images."""

    images: list[Image]
    total: int


class Indexing(Reply):
    """How far indexing is."""

    done: int
    total: int
    seconds_left: float | None
    state: Literal["running", "finished", "failed"]
    message: str


class CollectionOut(Reply):
    """The collection, and how much of it can be searched."""

    name: str
    root: str
    images: int
    indexed: int
    unreadable: int
    indexing: Indexing


class BackboneOut(Reply):
    """The network."""

    name: str
    first_steps: bool
    advice: str


class CriterionOut(Reply):
    """A criterion that a search may change to."""

    name: str
    label: str


class Status(Reply):
    """Collection, network and choices of a server."""

    collection: CollectionOut
    backbone: BackboneOut
    words: bool
    words_about: str
    criteria: list[CriterionOut]
    version: str


class Written(Reply):
    """Files on the server's disk."""

    folder: str
    files: int
    skipped: list[str]


class Finished(Reply):
    """The run that a session left."""

    run: str = Field(description="folder of the run")
    files: list[str]
    said: str = Field(description="whether the replay asked the same questions")
