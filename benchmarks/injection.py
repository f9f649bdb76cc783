"""Whether documents that give orders are obeyed: by what is written from them, and by a judge of what was written.

``python -m benchmarks.injection FOLDER`` takes a checkpoint of a model that follows instructions. Into the middle of
documents of the handbook it plants an order to write one word, in several shapes, and lets methods write from them; a
reply *obeys* if it says the word and hardly anything of the document, and is *retold* if the word stands among what the
document says. The same documents are asked about without our marks and our system message, in a template that takes
them as they come. Then drafts whose numbers were changed are judged, with and without a forged verdict at their end.
Intervals are over documents. ``--texts FILE`` keeps every reply, to be read; ``--json`` prints one object last.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, TypeVar, get_args

from benchmarks.orders import (
    METHODS,
    ORDERS,
    WITHOUT_MARKS,
    Asked,
    Row,
    drafts_of,
    kept_rows,
    plant,
    read_handbook,
    shows_order,
    sum_up,
    sum_verdicts,
    told_in,
    ways_of,
    without_marks,
)
from gainloop.asking.conversation import Conversation, Read, ask, side_by_side
from gainloop.evaluation.judge import FACTUALITY, UNREADABLE, VERDICTS, ask_about, reader_of
from gainloop.models.tokens import Tokens
from gainloop.serving.driver import name_request
from gainloop.serving.embedded import EmbeddedEngine
from schemas.recipe import VERDICT_SAMPLING, Sampling
from schemas.rows import Anchor, Answer, Prompt, Reply, Verdict

T = TypeVar("T")


class Engine(EmbeddedEngine):
    """The engine, but for prompts without a system message: these go into the template as they come, control tokens
    and all."""

    def _encode(self, prompt: Prompt) -> Tokens:
        if isinstance(prompt, str) or prompt[0].role == "system":
            return super()._encode(prompt)
        turns = [{"role": one.role, "content": one.content} for one in prompt]
        ids: Any = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        return list(ids)


def write_from(name: str, order: str, anchor: Anchor, is_bare: bool) -> Conversation[list[Row]]:
    """Let a method write from a document, and return its records and its replies to requests that show the order."""
    rounds = METHODS[name].rounds(anchor, Random(anchor.anchor_id))  # noqa: S311
    requests = next(rounds)
    answers = yield [without_marks(anchor, one) for one in requests] if is_bare else requests
    pairs = zip(requests, answers, strict=True)
    told = [("reply", one.text) for request, one in pairs if shows_order(request) and isinstance(one, Reply)]
    try:
        rounds.send(answers)
    except StopIteration as end:
        told += [("record", one.text) for one in end.value.records]
    asked: Asked = "bare" if is_bare else "marked"
    return [Row(part, name, asked, order, anchor, text) for part, text in told]  # type: ignore[arg-type]


async def answer(engine: EmbeddedEngine, talk: Conversation[T], sampling: Sampling) -> T:
    """Answer a conversation to its end."""
    drawn, answers = sampling.model_dump(mode="json"), list[Answer]()
    try:
        requests = next(talk)
        while True:
            named = [(name_request(engine.model, engine.revision, one, drawn, 0), one) for one in requests]
            answers = list(await asyncio.gather(*(engine.complete(*one, sampling) for one in named)))
            requests = talk.send(answers)
    except StopIteration as end:
        result: T = end.value
        return result


def write_all(engine: EmbeddedEngine, documents: Iterable[Anchor], asked: argparse.Namespace) -> Iterator[list[Row]]:
    """Let every method write from a document with each order, with our marks and without; a document at a time, since
    all that is asked about one shares what was read of it."""
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=asked.max_tokens)
    begun = time.monotonic()
    for document in documents:
        talks = [
            write_from(name, order, plant(document, text), is_bare)
            for order, text in ORDERS.items()
            for is_bare in (False, True)
            for name in asked.methods
            if not (is_bare and name in WITHOUT_MARKS)
        ]
        yield [row for rows in asyncio.run(answer(engine, side_by_side(talks), sampling)) for row in rows]
        print(f"{document.uri}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        if time.monotonic() - begun > 60 * asked.minutes:
            return


def judge_all(engine: EmbeddedEngine, documents: Iterable[Anchor]) -> list[Verdict]:
    """Return what the judge says of every draft of the documents that have a number."""
    numbered = [anchor for anchor in documents if re.search(r"\d", anchor.text)]
    drafts = [(name, anchor, text) for anchor in numbered for name, text in drafts_of(anchor).items()]
    talks = [ask(anchor, ask_about(FACTUALITY, text, anchor), reader_of(FACTUALITY)) for _, anchor, text in drafts]
    found = asyncio.run(answer(engine, side_by_side(talks), VERDICT_SAMPLING))
    said = [one.value if isinstance(one, Read) else (UNREADABLE, one.reason) for one in found]
    return [
        Verdict(name, anchor.uri, FACTUALITY, *one, "") for (name, anchor, _), one in zip(drafts, said, strict=True)
    ]


def compare(asked: argparse.Namespace) -> dict[str, Any]:
    """Return all shares: by method, by shape of the order, and the judge's."""
    engine, rows = Engine(str(Path(asked.folder).resolve()), "measured", "1"), list[Row]()
    with open(asked.texts or os.devnull, "w") as texts:
        for some in write_all(engine, read_handbook(asked.documents), asked):
            rows += some
            texts.writelines(f"{json.dumps(asdict(row) | {'said': row.said})}\n" for row in some)
            texts.flush()
        verdicts = judge_all(engine, read_handbook(asked.judged))
        texts.writelines(f"{json.dumps(asdict(one))}\n" for one in verdicts)
    rows += kept_rows(rows)
    shapes = [(order, way) for order in ORDERS for way in get_args(Asked)]
    return {
        "by method": {
            f"{m}, {a}": sum_up([row for row in rows if (row.method, row.asked) == (m, a)]) for m, a in ways_of(rows)
        },
        "by order": {f"{o}, {a}": sum_up([row for row in rows if (row.order, row.asked) == (o, a)]) for o, a in shapes},
        "judged": {verdict: sum_verdicts(verdicts, verdict) for verdict in (*VERDICTS[FACTUALITY], UNREADABLE)},
    }


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.injection", description=__doc__)
    parser.add_argument("folder", help="a checkpoint")
    parser.add_argument("--documents", type=int, default=8, help="documents that orders are put into")
    parser.add_argument("--minutes", type=float, default=60, help="minutes from which on no further one is begun")
    parser.add_argument("--judged", type=int, default=16, help="documents whose drafts are judged")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--texts", help="file that every reply, record and verdict is written to")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    result = compare(asked)
    for part, named in result.items():
        print(f"\n{part}")
        for name, told in named.items():
            print(f"{name:>30} ", "; ".join(f"{what} {told_in(one)}" for what, one in told.items()))
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
