"""Textbook chapters and exercises, on topics of a document but without it."""

from random import Random
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.conversation import after, ask, own_draw
from gainloop.asking.structured import list_of, object_of, object_schema, read_object, read_text, read_texts, text_of
from gainloop.methods.method import Method, keep_finished
from schemas.rows import Anchor, Drop, Message, Outcome, Request, Rounds

PLAN = (
    "Which lasting knowledge does one need to understand the text above, or gain from it? List {most} topics that "
    "chapters of a good textbook could teach. Name each so that it is clear to someone who has not seen the text, and "
    "choose it so that it can be taught without the text: a method, a law, a structure, an event, a craft. For each, "
    "name an audience, as different as the topics allow, and {skills} skills that a reader of the chapter has "
    'afterwards and an exercise can test. Answer as JSON: {{"chapters": [{{"topic": "...", "audience": "...", '
    '"skills": ["..."]}}]}}.'
)
CHAPTER = (
    "Write a chapter of a textbook.\nTopic: {topic}\nReaders: {audience}\nAfterwards they can: {skills}\n"
    "Begin with a title, and with the question that the topic answers. Go forward in small steps: say what a word "
    "means before using it, give a reason for every claim, and an example worked out in full, with real numbers, names "
    "or code, for every idea that is new. Show the mistakes that beginners make, and why they are mistakes. End with "
    "what to remember. Say only what you know to be right, and refer to no other chapter, figure or book. Answer with "
    "the chapter only."
)
EXERCISE = (
    "Write one exercise of a textbook, with its solution.\nTopic: {topic}\nReaders: {audience}\nIt trains to: {skill}\n"
    "The problem is concrete, gives everything that is needed, takes several steps, and has one answer that can be "
    "checked. The solution goes step by step, says why each step is right, and ends with the answer and a check of it. "
    'Put "Problem:" before the one and "Solution:" before the other, and write nothing else.'
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
    Costs: ``d`` prompt tokens for the list, some 200 for each other request. Chapters are long:
    ``text.sampling.max_tokens`` of 1,024 or more.
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
        requests = [request for chapter in chapters for request in ask_to_teach(anchor, chapter)]
        answers = yield requests
        return keep_finished(self, anchor, requests, answers)


def ask_chapters(anchor: Anchor, most: int, skills: int) -> Request:
    """Ask for topics, audiences and skills as JSON; the schema bounds them: 280 tokens at most by default."""
    skill, short = text_of(TOPIC_CHARS), text_of(TOPIC_CHARS)
    chapter = object_schema({"topic": short, "audience": short, "skills": list_of(skill, 1, skills)})
    schema = object_of(chapters=list_of(chapter, 1, most))
    wish = PLAN.format(most=most, skills=skills)
    return Request(after(anchor.text, wish, anchor.title), facet="chapters", json_schema=schema)


def ask_to_teach(anchor: Anchor, chapter: Chapter) -> list[Request]:
    """Ask for a chapter and its exercises; the prompts of an anchor all differ, so one draw serves them all."""
    draw = own_draw(anchor, 0)
    return [ask_chapter(chapter, draw), *(ask_exercise(chapter, skill, draw) for skill in chapter.skills)]


def ask_chapter(chapter: Chapter, draw: int) -> Request:
    """Ask for a chapter, from scratch."""
    wish = CHAPTER.format(topic=chapter.topic, audience=chapter.audience, skills="; ".join(chapter.skills))
    return Request((Message("user", wish),), facet=f"chapter: {chapter.topic}", draw=draw)


def ask_exercise(chapter: Chapter, skill: str, draw: int) -> Request:
    """Ask for an exercise of one skill and its solution, from scratch."""
    wish = EXERCISE.format(topic=chapter.topic, audience=chapter.audience, skill=skill)
    return Request((Message("user", wish),), facet=f"exercise: {chapter.topic} | {skill}", draw=draw)


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
