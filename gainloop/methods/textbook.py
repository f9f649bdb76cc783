"""Textbook chapters and exercises, on topics of a document but without it."""

from random import Random
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.chunks import MaxWords, tokens_of_words
from gainloop.asking.conversation import after, alone, ask, own_draw
from gainloop.asking.structured import list_of, object_of, object_schema, read_object, read_text, read_texts, text_of
from gainloop.methods.method import Method, keep_finished
from schemas.rows import Anchor, Drop, Outcome, Request, Rounds

PLAN = (
    "What does one need to know to understand the document? List {most} topics that chapters of a textbook could teach "
    "without it: a method, a law, a structure, an event, a craft. For each, name an audience, and {skills} skills that "
    "an exercise can test. Answer as JSON with the chapters."
)
CHAPTER = (
    "Write a chapter of a textbook in {max_words} words at most.\nTopic: {topic}\nReaders: {audience}\n"
    "Afterwards they can: {skills}\n"
    "Begin with a title. Go forward in small steps: say what a word means before using it, give the reason for every "
    "claim, and an example worked out in full for every new idea. Say only what you know to be right, and refer to no "
    "other chapter, figure or book."
)
EXERCISE = (
    "Write one exercise of a textbook with its solution, in {max_words} words at most.\nTopic: {topic}\n"
    "Readers: {audience}\nIt trains to: {skill}\n"
    "The problem gives everything that is needed and has one answer that can be checked. The solution goes step by "
    'step, says why each step is right, and ends with the answer. Put "Problem:" before the one, "Solution:" before '
    "the other."
)

TOPIC_CHARS = 80


class Chapter(NamedTuple):
    """A chapter to write: its topic, its readers, and the skills that they gain."""

    topic: str
    audience: str
    skills: list[str]


class Textbook(Method):
    """Chapters and exercises on the document's topics, written from scratch.

    Their prompts hold topic, audience and skills, and not the document. They say what the generator knows, not what the
    document says; as much of them is right as the generator is right.

    Asks: first one JSON list of up to ``max_chapters`` topics, each with an audience and up to ``max_exercises``
    skills; then a chapter per topic, and per skill a problem with its worked solution.
    Costs: ``d`` prompt tokens for the list, some 200 for each other request. A chapter of a large model gains from
    ``max_words`` 700 and ``text.sampling.max_tokens`` 1,200.
    Source: phi-1, Gunasekar et al. 2023, arXiv:2306.11644, and phi-1.5, Li et al. 2023, arXiv:2309.05463, which make
    text diverse by constraining topics and audiences, and exercises by the names of functions to write.
    Differs: the papers print neither prompts nor topics; topics come from the documents, and exercises are constrained
    by a skill, so that subjects other than code have some too. Two documents with a topic in common have texts of their
    own on it.
    """

    kind: Literal["textbook"] = "textbook"
    wishes: ClassVar[tuple[str, ...]] = (CHAPTER, EXERCISE)
    max_chapters: Annotated[int, Field(ge=1, le=16, description="Chapters of each anchor, one a topic.")] = 3
    max_exercises: Annotated[int, Field(ge=1, le=8, description="Exercises of each chapter, one a skill.")] = 2
    max_words: MaxWords = 300

    @property
    def max_requests(self) -> int:
        return 1 + self.max_records

    @property
    def max_records(self) -> int:
        return self.max_chapters * (1 + self.max_exercises)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        listed = yield from ask(anchor, ask_chapters(anchor, self.max_chapters, self.max_exercises), read_chapters)
        if isinstance(listed, Drop):
            return Outcome(drops=[listed])
        chapters = [one._replace(skills=one.skills[: self.max_exercises]) for one in listed.value[: self.max_chapters]]
        requests = [request for chapter in chapters for request in ask_to_teach(anchor, chapter, self.max_words)]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_chapters(anchor: Anchor, most: int, skills: int) -> Request:
    """Ask for topics, audiences and skills as JSON; the schema bounds them: 280 tokens at most by default."""
    skill, short = text_of(TOPIC_CHARS), text_of(TOPIC_CHARS)
    chapter = object_schema({"topic": short, "audience": short, "skills": list_of(skill, 1, skills)})
    schema = object_of(chapters=list_of(chapter, 1, most))
    wish = PLAN.format(most=most, skills=skills)
    return Request(after(anchor.text, wish, anchor.title), facet="chapters", json_schema=schema)


def ask_to_teach(anchor: Anchor, chapter: Chapter, max_words: int) -> list[Request]:
    """Ask for a chapter and its exercises; the prompts of an anchor all differ, so one draw serves them all."""
    draw = own_draw(anchor, 0)
    exercises = [ask_exercise(chapter, skill, max_words, draw) for skill in chapter.skills]
    return [ask_chapter(chapter, max_words, draw), *exercises]


def ask_chapter(chapter: Chapter, max_words: int, draw: int) -> Request:
    """Ask for a chapter, from scratch."""
    skills = "; ".join(chapter.skills)
    wish = CHAPTER.format(topic=chapter.topic, audience=chapter.audience, skills=skills, max_words=max_words)
    return Request(alone(wish), facet=f"chapter: {chapter.topic}", draw=draw, reply_tokens=tokens_of_words(max_words))


def ask_exercise(chapter: Chapter, skill: str, max_words: int, draw: int) -> Request:
    """Ask for an exercise of one skill and its solution, from scratch."""
    wish = EXERCISE.format(topic=chapter.topic, audience=chapter.audience, skill=skill, max_words=max_words)
    facet = f"exercise: {chapter.topic} | {skill}"
    return Request(alone(wish), facet=facet, draw=draw, reply_tokens=tokens_of_words(max_words))


def read_chapters(text: str) -> list[Chapter] | None:
    """Return the chapters of a reply that have a topic of their own, an audience and a skill; None if none has.

    >>> read_chapters('{"chapters": [{"topic": "Gears", "audience": "millers", "skills": ["choose a ratio", 7]}]}')
    [Chapter(topic='Gears', audience='millers', skills=['choose a ratio'])]
    >>> read_chapters('{"chapters": [{"topic": "Gears"}]}') is None, read_chapters("Gears") is None
    (True, True)
    """
    listed = (read_object(text) or {}).get("chapters")
    chapters: dict[str, Chapter] = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            topic, audience = read_text(one.get("topic")), read_text(one.get("audience"))
            skills = read_texts(one.get("skills"), most_chars=4 * TOPIC_CHARS)
            if topic and audience and skills and max(len(topic), len(audience)) <= 4 * TOPIC_CHARS:
                chapters.setdefault(topic.casefold(), Chapter(topic, audience, skills))
    return list(chapters.values()) or None
