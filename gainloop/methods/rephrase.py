"""The same content in other styles, and sentence by sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from gainloop.asking.chunks import (
    Chunk,
    ChunkTokens,
    MaxChunks,
    count_words,
    cut_anchor,
    estimate_tokens,
    split_sentences,
    tokens_of_words,
)
from gainloop.asking.conversation import GUARD, after, instructed, own_draw, reason_to_drop
from gainloop.measures.sentences import LEAST_WORDS, sentence_fault
from gainloop.methods.method import Method, Prompts, each_once, keep_finished, without_repeats
from schemas.characters import words
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Reply, Request, Rounds
from schemas.suites import Suite, at_most

Style = Literal["easy", "medium", "hard", "qa"]
SentenceStyle = Literal["shorter", "formal", "reworded"]
Unit = Literal["document", "chunk", "sentence"]

WISHES: dict[Style, str] = {
    "easy": "Retell the document for a small child: short sentences, everyday words, nothing left out that matters.",
    "medium": "Retell the document in the clear, neutral English of a good encyclopedia article.",
    "hard": "Retell the document for a scholar: dense, terse, exact, with the field's technical vocabulary.",
    "qa": "Turn the document into a conversation of questions and answers, each on a line of its own, "
    'begun with "Question:" or "Answer:".',
}
PLAIN: dict[Style, str] = {
    "easy": "Rewrite the text in short sentences and simple words, and keep every fact.",
    "medium": "Rewrite the text in other words, and keep every name and every number.",
    "hard": "Rewrite the text to be more formal and concise, and keep every name and every number.",
    "qa": "Write three questions that the text answers, each with its answer.",
}
LENGTH = "Write about {num_words} words, and add nothing that the document does not say."

SENTENCE_WISHES: dict[SentenceStyle, str] = {
    "shorter": "Rewrite the sentence to be shorter. Keep its meaning, names and numbers.",
    "formal": "Rewrite the sentence to be more formal. Keep its meaning, names and numbers.",
    "reworded": "Say the sentence in other words. Keep every name and every number.",
}
SHOWN: dict[SentenceStyle, tuple[tuple[str, str], ...]] = {
    "shorter": (
        (
            "Old mill: The old mill at Ottery, which is made of stone, was built in 1874 by a woman named Anne Dyer.",
            "Anne Dyer built the old stone mill at Ottery in 1874.",
        ),
        (
            "Harbour bell: Because there is so much fog, the bell is rung 12 times in every hour of the winter.",
            "In winter fog the bell rings 12 times an hour.",
        ),
    ),
    "formal": (
        (
            "Old mill: Anne Dyer put up the old mill at Ottery back in 1874.",
            "The old mill at Ottery was erected in 1874 by Anne Dyer.",
        ),
        (
            "Harbour bell: When it's foggy in winter, they ring the bell 12 times an hour.",
            "During fog in winter, the bell is sounded 12 times an hour.",
        ),
    ),
    "reworded": (
        (
            "Old mill: The old mill at Ottery was built by Anne Dyer in 1874.",
            "Anne Dyer built the old mill at Ottery in 1874.",
        ),
        (
            "Harbour bell: Because of the fog, the bell rings 12 times every hour in winter.",
            "In winter the bell is rung 12 times an hour on account of the fog.",
        ),
    ),
}


SHOWN_WORDS: Final = frozenset(
    {"mill", "mills", "ottery", "anne", "dyer", "harbour", "bell", "bells", "fog", "foggy", "winter", "rung", "1874"}
)
"""What the examples speak of: a small model puts it into sentences about other things."""


class Rephrase(Method):
    """Each text in four styles: for a child, as an encyclopedia would, for a scholar, as questions and answers.

    By chunk, since longer rewrites lose more; or the document as a whole; or sentence by sentence, which even a model
    of 135 million parameters does faithfully for the most part.

    Asks: one request per style and unit, "retell the document ...". With ``unit`` sentence, one per sentence and style
    of ``sentence_styles``: the title and the sentence, after a system message that wishes one thing.
    Costs: ``4 d`` prompt tokens, replies about as long as the chunks. What lies beyond ``max_chunks`` is one drop an
    anchor, ``over_limit``. By sentence: some 100 prompt tokens a request, of which a server with a prefix cache reads
    the sentence alone, and replies as long as the sentences.
    Counts: by sentence, a record is the title and one style's kept sentences in the document's order, made of as many
    replies. The others are drops: ``too_short``, ``not_closed``, ``copies_source``, ``too_long``, ``talks``,
    ``off_subject``, ``copies_example`` for what the prompt's examples speak of and the document does not, and
    ``ungrounded`` for a number or a name that neither document nor title has. A heading (``# ...``) or a piece of
    under 5 words is not asked about, and counts as ``fragment``.
    Source: WRAP, Maini et al. 2024, arXiv:2401.16380, chunks of at most 300 tokens.
    Differs: prompts are our own, and tokens of a chunk are estimated, rather too many than too few: 300 are about 960
    characters of English. By sentence is ours.
    """

    kind: Literal["rephrase"] = "rephrase"
    wishes: ClassVar[tuple[str, ...]] = (*WISHES.values(), *PLAIN.values(), LENGTH, *SENTENCE_WISHES.values())
    expectations: ClassVar[Suite] = (at_most("copied_share", 0.8, "copies_anchor", mostly=0.5),)
    unit: Annotated[
        Unit, Field(description="Unit that is rewritten at once: document, chunk, or sentence for a small model.")
    ] = "chunk"
    prompts: Prompts = "full"
    styles: Annotated[
        tuple[Style, ...],
        Field(min_length=1, description="Styles of documents and chunks, with one record each at most."),
        AfterValidator(each_once),
    ] = ("easy", "medium", "hard", "qa")
    sentence_styles: Annotated[
        tuple[SentenceStyle, ...],
        Field(min_length=1, description="Styles of sentences, with one record an anchor each at most."),
        AfterValidator(each_once),
    ] = ("shorter", "formal", "reworded")
    chunk_tokens: ChunkTokens = 300
    max_chunks: MaxChunks = 4
    max_sentences: Annotated[
        int, Field(ge=1, description="Sentences used of each anchor where unit is sentence; the rest is left out.")
    ] = 24

    @property
    def max_requests(self) -> int:
        if self.unit == "sentence":
            return len(self.sentence_styles) * self.max_sentences
        return self.max_records

    @property
    def max_records(self) -> int:
        if self.unit == "sentence":
            return len(self.sentence_styles)
        return len(self.styles) * (self.max_chunks if self.unit == "chunk" else 1)

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        if self.unit == "sentence":
            return (yield from self._by_sentence(anchor))
        chunks, over = ([Chunk(anchor.text)], []) if self.unit == "document" else self._cut(anchor)
        requests = [ask_rewrite(anchor, chunk, style, self.prompts) for chunk in chunks for style in self.styles]
        answers = yield requests
        outcome = keep_finished(self, anchor, requests, answers)
        return Outcome(outcome.records, outcome.drops + over)

    def _cut(self, anchor: Anchor) -> tuple[list[Chunk], list[Drop]]:
        return cut_anchor(anchor, self.chunk_tokens, self.max_chunks)

    def _by_sentence(self, anchor: Anchor) -> Rounds:
        sentences, drops = cut_sentences(anchor, self.max_sentences)
        opens = [True, *("\n\n" in one.space for one in sentences)]
        asked = [Rewrite(*one, style) for style in self.sentence_styles for one in zip(sentences, opens, strict=False)]
        requests = [ask_sentence(anchor, one) for one in asked]
        answers = (yield requests) if requests else []
        records: list[Record] = []
        for style in self.sentence_styles:
            chosen = [n for n, one in enumerate(asked) if one.style == style]
            made = put_together(anchor, style, [(asked[n], requests[n], answers[n]) for n in chosen])
            records += made.records
            drops += made.drops
        return without_repeats(Outcome(records, drops))


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The rewrite of one sentence in one style."""

    sentence: Chunk
    opens_paragraph: bool
    style: SentenceStyle

    @property
    def facet(self) -> str:
        return self.style + self.sentence.part


def ask_rewrite(anchor: Anchor, chunk: Chunk, style: Style, prompts: Prompts) -> Request:
    """Ask for one rewrite of a chunk; the text comes first, so that the styles share a cached prefix."""
    num_words = count_words(chunk.text)
    wish = f"{WISHES[style]} {LENGTH.format(num_words=num_words)}" if prompts == "full" else PLAIN[style]
    prompt, tokens = after(chunk.text, wish, anchor.title), tokens_of_words(num_words)
    return Request(prompt, facet=style + chunk.part, draw=chunk.number, reply_tokens=tokens)


def cut_sentences(anchor: Anchor, max_sentences: int) -> tuple[list[Chunk], list[Drop]]:
    """Return the first sentences of an anchor, and drops for what is no sentence or beyond the limit."""
    pieces = split_sentences(anchor.text)
    whole = [one for one in pieces if len(words(one)) >= LEAST_WORDS and not one.lstrip().startswith("#")]
    drops = [Drop(anchor.anchor_id, "sentence", "fragment")] * (len(pieces) - len(whole))
    if len(whole) > max_sentences:
        drops.append(Drop(anchor.anchor_id, "rest of the document", "over_limit"))
    part = f"/{len(whole)}"
    chunks = [
        Chunk(one.strip(), one[len(one.rstrip()) :], number, f": {number + 1}{part}")
        for number, one in enumerate(whole)
    ]
    return chunks[:max_sentences], drops


def ask_sentence(anchor: Anchor, rewrite: Rewrite) -> Request:
    """Ask for one sentence in other words. Another anchor may hold the same sentence: the draw is the anchor's own."""
    text = " ".join(rewrite.sentence.text.split())
    titled = f"{anchor.title}: {text}" if anchor.title else text
    prompt = instructed(f"{SENTENCE_WISHES[rewrite.style]} {GUARD}", titled, turns=SHOWN[rewrite.style])
    draw = own_draw(anchor, rewrite.sentence.number)
    return Request(prompt, facet=rewrite.facet, draw=draw, reply_tokens=estimate_tokens(text))


def put_together(anchor: Anchor, style: str, rewritten: Sequence[tuple[Rewrite, Request, Answer]]) -> Outcome:
    """Return one style's record: the title and its good sentences, each once, in the document's order."""
    said: dict[str, str] = {}
    drops: list[Drop] = []
    text, space = anchor.title, "\n\n"
    for one, request, answer in rewritten:
        drop = reason_to_drop(anchor, request, answer)
        space = "\n\n" if one.opens_paragraph else space
        sentence = "" if isinstance(answer, Drop) else untitled(answer.text, anchor.title)
        reason = (
            "repeat"
            if sentence in said
            else sentence_fault(sentence, one.sentence.text, anchor.text, anchor.title, SHOWN_WORDS)
        )
        if drop or reason:
            name = "" if isinstance(answer, Drop) else answer.request_id
            drops.append(drop or Drop(anchor.anchor_id, request.facet, reason, name))
            continue
        assert isinstance(answer, Reply)
        text += space + sentence
        said[sentence], space = answer.request_id, " "
    records = [Record(anchor.anchor_id, "rephrase", style, text.strip(), tuple(said.values()))] if said else []
    return Outcome(records, drops)


def untitled(reply: str, title: str) -> str:
    r"""Return a rewritten sentence without the title that it was shown under, quotes around it, and remarks below it.

    >>> untitled('Mill: "It grinds rye."', "Mill"), untitled("Mills grind rye.\n\nIs this what you want?", "Mill")
    ('It grinds rye.', 'Mills grind rye.')
    """
    text = " ".join(reply.strip().partition("\n\n")[0].split()).removeprefix(f"{title}:").strip()
    quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
    return text[1:-1].strip() if quoted else text
