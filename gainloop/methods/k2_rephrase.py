"""Whole documents in other words, chunk by chunk, each continuing the text that was written so far."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Annotated, ClassVar, Literal, NamedTuple

import regex
from pydantic import Field

from gainloop.asking.chunks import (
    Chunk,
    ChunkTokens,
    MaxChunks,
    count_words,
    cut_anchor,
    estimate_tokens,
    last_tokens,
)
from gainloop.asking.conversation import Conversation, after, ask, beside, side_by_side
from gainloop.filters.fidelity import Fidelity
from gainloop.filters.filter import sift
from gainloop.measures.words import COPY_WORDS
from gainloop.methods.method import Method, without_repeats
from schemas.characters import TOKEN, ends_sentence, visible
from schemas.rows import Anchor, Drop, Outcome, Record, Request, Rounds

_WORD = regex.compile(r"\w(?:.*\w)?", regex.DOTALL)

MOST_REPEATED = 500
"""Words that a continuation is taken to say again, at most."""

STYLES = {
    "reference": "the sober prose of a reference work",
    "lecture": "the prose of a lecture, spoken to listeners and written down",
    "story": "a true story, told in the order in which things happen",
    "report": "a news report, with what matters most said first",
    "letter": "a letter to a friend who wants to know it all",
    "notes": "the notes of someone who learns, in full sentences",
    "plain": "plain language, in short sentences",
    "essay": "a thoughtful essay",
}
PERSPECTIVES = {
    "newcomer": "for readers to whom all of it is new",
    "expert": "for readers who know the field and want it exact",
    "causes": "with an eye to causes and to what follows from them",
    "practice": "with an eye to what it means in practice",
    "history": "with an eye to how things came to be as they are",
    "questions": "led by the questions that each part answers",
    "terms": "with an eye to the terms, each made clear where it first comes up",
    "whole": "with an eye to how each part belongs to the whole",
}
REWRITE = (
    "Write the document anew as {style}, {perspective}. Keep every fact, name and number, add none, and write about "
    "{num_words} words."
)
CONTINUE = (
    "The draft is how a new version of a long document ends so far; the document above is its next passage. Go on "
    "where the draft ends, without saying its end again: write the passage anew as {style}, {perspective}. Keep "
    "every fact, name and number of the passage, add none, and write about {num_words} words."
)


def stitch(written: str, seen: str, continuation: str, space: str, source: str) -> str:
    """Return a text and its continuation as one; what ends the text and begins the continuation again is there once.

    That is cut if it begins with a sentence, or is at least 8 words. The result begins with all of ``written`` and
    ends with all of ``continuation``, case and the signs around words aside: whatever is cut, nothing new is lost.
    Words with which ``source`` begins too are no repetition but its own rewriting, and stay; so do shorter
    repetitions, which may as well be how a new sentence begins.

    Args:
        written: Text so far.
        seen: End of ``written`` that the model was shown, which alone it can repeat.
        continuation: Reply that goes on from there.
        space: White space between the two, as in the document.
        source: Passage that the continuation is a new version of.

    >>> stitch("Rye grows. It is ground.", "It is ground.", "It is ground. Then it is baked.", " ", "One bakes.")
    'Rye grows. It is ground. Then it is baked.'
    >>> stitch("He built the mill.", "He built the mill.", "The mill burnt down.", " ", "Fire took it.")
    'He built the mill. The mill burnt down.'
    """
    written, continuation = written.strip(), continuation.strip()
    new = continuation[_repeated_chars(seen.strip(), continuation, source) :].lstrip()
    return written + space + new if written and new else written or new


def _repeated_chars(seen: str, continuation: str, source: str) -> int:
    """Return how many characters at the start of a continuation repeat the end of the text before it."""
    before, after = list(TOKEN.finditer(seen)), list(TOKEN.finditer(continuation))
    ended, begun = [_same(one[0]) for one in before], [_same(one[0]) for one in after]
    own = [_same(one) for one in TOKEN.findall(source)[: len(begun)]]
    num_own = next(
        (number for number, pair in enumerate(zip(own, begun, strict=False)) if pair[0] != pair[1]), len(own)
    )
    for num in range(min(len(ended), len(begun), MOST_REPEATED), num_own, -1):
        if ended[-num] != begun[0] or ended[-num:] != begun[:num]:
            continue
        begins_sentence = num == len(before) or ends_sentence(seen[: before[-num].start()].rstrip())
        if num >= COPY_WORDS or begins_sentence:
            return int(after[num - 1].end())
    return 0


def _same(token: str) -> str:
    """Return a word without case and without the signs around it; a sign alone is itself."""
    found = _WORD.search(visible(token).casefold())
    return str(found[0]) if found else token.strip()  # a chunk is stripped, its source is not


class Voice(NamedTuple):
    """The style and perspective of one rewrite, by their names."""

    style: str
    perspective: str

    @property
    def facet(self) -> str:
        return f"{self.style} | {self.perspective}"


class K2Rephrase(Method):
    """A few new versions of each document as a whole, each in its own style and perspective, and checked against it.

    Long documents are rewritten chunk by chunk, and each chunk goes on from the end of what was written so far; so
    neither a limit on the length of replies nor the length of the document shortens them.

    Asks: for each version, one request per chunk of at most ``chunk_tokens``, one after the other. Each but the first
    is shown the last ``context_tokens`` of what was written so far and goes on from there; what a continuation says
    again of its end, from a sentence's beginning or at least 8 words, is cut off. Last, the filter ``fidelity``
    compares version and document; ``verify`` sets that off.
    Costs: 2 versions of up to 4 chunks, and 2 comparisons. ``4 d`` prompt tokens, replies twice as long as the
    document, and 150 tokens of context a chunk. If one chunk's reply cannot be used, the others of its version are
    drops, ``unfinished``. What lies beyond ``max_chunks`` is one drop an anchor, ``over_limit``.
    Source: Kimi K2, Kimi Team 2025, arXiv:2507.20534, which rewrites a corpus twice at most.
    Differs: the paper gives neither its prompts, nor what a chunk is shown of the others, nor how versions are
    compared.
    """

    kind: Literal["k2_rephrase"] = "k2_rephrase"
    wishes: ClassVar[tuple[str, ...]] = (REWRITE, CONTINUE)
    rewrites: Annotated[int, Field(ge=1, le=len(STYLES), description="New versions of each document.")] = 2
    chunk_tokens: ChunkTokens = 300
    context_tokens: Annotated[
        int, Field(ge=16, description="Tokens, estimated, that are shown of what was written so far.")
    ] = 150
    max_chunks: MaxChunks = 4
    verify: Annotated[bool, Field(description="Comparison of each new version with the document.")] = True
    most_unsupported: Annotated[
        int, Field(ge=0, le=20, description="Statements without support that a version may have.")
    ] = 0

    @property
    def max_requests(self) -> int:
        return self.rewrites * (self.max_chunks + self.verify)

    @property
    def max_records(self) -> int:
        return self.rewrites

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        chunks, over = cut_anchor(anchor, self.chunk_tokens, self.max_chunks)
        voices = draw_voices(self.rewrites, rng)
        versions = yield from side_by_side([self._rewrite(anchor, chunks, voice) for voice in voices])
        drops = [drop for one in versions for drop in one.drops]
        outcome = without_repeats(Outcome([record for one in versions for record in one.records], drops + over))
        if not self.verify:
            return outcome
        used = "".join(chunk.text + chunk.space for chunk in chunks).removesuffix(chunks[-1].space)
        source = replace(anchor, text=used)
        return (yield from sift(source, outcome, [Fidelity(most_unsupported=self.most_unsupported)], rng))

    def _rewrite(self, anchor: Anchor, chunks: Sequence[Chunk], voice: Voice) -> Conversation[Outcome]:
        """Return the record of one new version of the chunks, or the drops of a version that was not finished."""
        written, space, replies = "", "", list[str]()
        for chunk in chunks:
            seen = last_tokens(written, self.context_tokens)
            request = ask_version(anchor, chunk, voice, seen)
            reply = yield from ask(anchor, request, str.strip)
            if isinstance(reply, Drop):
                return Outcome(drops=[reply, *_unfinished(anchor, voice, replies)])
            longer = stitch(written, seen, reply.value, space, chunk.text)
            if longer == written:
                nothing_new = Drop(anchor.anchor_id, request.facet, "repeat", reply.request_id)
                return Outcome(drops=[nothing_new, *_unfinished(anchor, voice, replies)])
            written, space = longer, chunk.space
            replies.append(reply.request_id)
        return Outcome([Record(anchor.anchor_id, self.kind, voice.facet, written, tuple(replies))])


def draw_voices(number: int, rng: Random) -> list[Voice]:
    """Return ``number`` voices; no style and no perspective comes twice.

    >>> draw_voices(2, Random(0))
    [Voice(style='report', perspective='terms'), Voice(style='story', perspective='causes')]
    """
    styles, perspectives = rng.sample(sorted(STYLES), number), rng.sample(sorted(PERSPECTIVES), number)
    return [Voice(style, perspective) for style, perspective in zip(styles, perspectives, strict=True)]


def ask_version(anchor: Anchor, chunk: Chunk, voice: Voice, seen: str = "") -> Request:
    """Ask for a new version of a chunk, which continues a text that ends with ``seen``, if that is given."""
    style, perspective = STYLES[voice.style], PERSPECTIVES[voice.perspective]
    wish = (CONTINUE if seen else REWRITE).format(
        style=style, perspective=perspective, num_words=count_words(chunk.text)
    )
    prompt = beside(replace(anchor, text=chunk.text), seen, wish) if seen else after(chunk.text, wish, anchor.title)
    facet = voice.facet + chunk.part
    return Request(prompt, facet=facet, draw=chunk.number, reply_tokens=estimate_tokens(chunk.text))


def _unfinished(anchor: Anchor, voice: Voice, replies: Sequence[str]) -> list[Drop]:
    """Return the drops of replies whose version was not finished."""
    return [Drop(anchor.anchor_id, voice.facet, "unfinished", request_id) for request_id in replies]
