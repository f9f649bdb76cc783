"""Verdicts on mathematics, wherever they are asked for, and on what no careful model writes."""

import asyncio
import atexit
import json
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gainloop.solutions import pool, worker
from gainloop.solutions.choice import compare_options
from gainloop.solutions.exact import compare_texts
from gainloop.solutions.mathematics import compare_plainly, final_answer
from gainloop.solutions.problem import Problem
from gainloop.solutions.verdict import SolutionVerdict, Verifier, require_yes, shared_verifier, verdict_of
from schemas.errors import BadInput, VerifierError
from tests.solutions.hostile_answers import HOSTILE, Hostile

SLOW = (
    "**9**",
    "^{9^{",
    "^{2^{",
    "10^{10",
    "!}",
    "\\sum",
    "\\int",
    "\\prod",
    "x^x",
    "x+x",
    "\\frac{1}{\\frac",
    "{{{{",
    "\\left(\\",
    "sqrt{\\sqrt",
    "A: A: A",
    "boxed{\\boxed{\\",
    "----",
    "####\u0023",
    "1/1/",
    "((((",
    "[[[[",
)
SOME = [one for one in HOSTILE if not any(mark in one.text for mark in SLOW)][::12]
TOWER = "\\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1, seconds=5.0) as made:
        yield made


def asked(gold: str) -> Problem:
    return Problem("How many?", gold, "mathematics")


def judge(one: Hostile) -> SolutionVerdict:
    return verdict_of(asked(one.gold), one.text)


def in_a_thread(judged: list[Hostile]) -> list[SolutionVerdict]:
    found: list[SolutionVerdict] = []
    thread = threading.Thread(target=lambda: found.extend(map(judge, judged)))
    thread.start()
    thread.join()
    return found


def in_threads(judged: list[Hostile]) -> list[SolutionVerdict]:
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(judge, judged))


def in_processes(judged: list[Hostile]) -> list[SolutionVerdict]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as processes:
        return list(processes.map(judge, judged))


def in_a_loop(judged: list[Hostile]) -> list[SolutionVerdict]:
    async def run() -> list[SolutionVerdict]:
        first = judge(judged[0])
        return [first, *await asyncio.gather(*(asyncio.to_thread(judge, one) for one in judged[1:]))]

    return asyncio.run(run())


WAYS: tuple[Callable[[list[Hostile]], list[SolutionVerdict]], ...] = (
    in_a_thread,
    in_threads,
    in_processes,
    in_a_loop,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_verdicts_are_the_same_wherever_they_are_asked_for(way: Any) -> None:
    verdicts = list(map(judge, SOME))

    assert way(SOME) == verdicts
    assert {"right", "wrong", "unreadable"} <= set(verdicts)


def test_no_hostile_answer_raises_or_has_a_verdict_that_it_must_not_have(verifier: Verifier) -> None:
    judged = [one for one in HOSTILE if not any(mark in one.text for mark in SLOW)]
    found = [(one, verifier.verdict(asked(one.gold), one.text)) for one in judged]

    assert len(HOSTILE) >= 200
    assert not [(one.gold[:20], one.text[:60], verdict) for one, verdict in found if verdict not in one.allowed]


def test_a_comparison_that_would_not_end_is_a_timeout_and_the_next_one_is_not() -> None:
    with Verifier(workers=1, seconds=1.0) as quick:
        assert quick.verdict(asked("\\frac{\\pi}{2}"), "\\boxed{\\pi/2}") in ("right", "timeout")  # it starts
        assert quick.verdict(asked("18"), TOWER) == "timeout"
        assert Verifier(workers=1).verdict(asked("\\frac{\\pi}{3}"), "\\boxed{\\pi/3}") == "right"


def test_recorded_solutions_of_real_models_have_the_verdicts_that_were_recorded(shared_data: Path) -> None:
    rows = map(json.loads, (shared_data / "gsm8k" / "example_model_solutions.jsonl").open())
    compared = Counter(
        (one["is_correct"], verdict_of(asked(row["ground_truth"]), one["solution"]))
        for row in rows
        for one in row.values()
        if isinstance(one, dict)
    )

    assert compared == {(True, "right"): 1008, (False, "wrong"): 1632}


def test_every_known_answer_of_gsm8k_is_right(shared_data: Path) -> None:
    worked = [json.loads(line)["answer"] for line in (shared_data / "gsm8k" / "train.jsonl").open()]

    assert require_yes(Problem("?", final_answer(one), "mathematics", worked=one) for one in worked) == 7473


def test_an_answer_that_its_own_verifier_calls_wrong_is_refused_by_name() -> None:
    known = [asked("18"), Problem("Which?", "D", "choice", ("one", "two"))]

    with pytest.raises(BadInput, match="that of problem 2, 'Which\\?', is unreadable, not right"):
        require_yes(known)


def test_a_verifier_that_does_not_work_is_an_error_and_never_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Verifier(workers=1) as broken, pytest.raises(VerifierError, match="the process ended as it began"):
        broken.verdict(asked("\\pi"), "\\boxed{\\frac{2\\pi}{2}}")


def test_a_comparison_that_says_what_is_known_to_be_false_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "compare_formulas", lambda _job: {"verdict": "wrong"})

    assert "calls 0.5 wrong" in worker.prepare_mathematics({})["error"]


def test_a_process_that_was_killed_between_two_answers_is_replaced(verifier: Verifier) -> None:
    assert verifier.verdict(asked("\\pi"), "\\boxed{\\frac{3\\pi}{3}}") == "right"
    (process,) = verifier._pool._idle
    os.kill(process._popen.pid, 9)

    assert verifier.verdict(asked("\\pi"), "\\boxed{\\frac{4\\pi}{4}}") == "right"


def test_an_answer_of_which_two_processes_die_is_unreadable_and_the_next_one_is_not() -> None:
    found: list[SolutionVerdict] = []
    with Verifier(workers=1, seconds=60.0) as deadly:
        asking = threading.Thread(target=lambda: found.append(deadly.verdict(asked("18"), TOWER)))
        asking.start()
        for _ in range(2):
            process = wait_until_it_compares(deadly)
            os.kill(process._popen.pid, 9)
            while deadly._pool._busy == {process}:
                time.sleep(0.01)
        asking.join(60)
        assert found == ["unreadable"]
        assert deadly.verdict(asked("\\pi"), "\\boxed{\\frac{2\\pi}{2}}") == "right"


def wait_until_it_compares(verifier: Verifier) -> pool.Process:
    for _ in range(1000):
        ready = [one for one in verifier._pool._busy if "mathematics" in one.prepared]
        if ready:
            time.sleep(0.2)
            return ready[0]
        time.sleep(0.05)
    raise AssertionError("no process is ready")


@pytest.mark.parametrize("gold", ["\\text{}", "\\\\"])
def test_where_the_known_answer_cannot_be_read_no_solution_is_blamed(verifier: Verifier, gold: str) -> None:
    problem = asked(gold)
    assert verifier.verdict(problem, "Answer: 18") == verifier.verdict(problem, "\\boxed{\\pi}") == "no_answer"
    assert verifier.verdict(asked("\\pi"), "\\boxed{\\text{}}") == "unreadable"


def test_one_verifier_is_shared_and_ended_once() -> None:
    made = shared_verifier()
    num_pools, num_ended = len(pool._POOLS), atexit._ncallbacks()

    assert all(shared_verifier() is made for _ in range(5))
    assert (len(pool._POOLS), atexit._ncallbacks()) == (num_pools, num_ended)
    assert shared_verifier(True) is not made


def test_a_problem_without_a_known_answer_has_no_verdict() -> None:
    with pytest.raises(BadInput, match="an answer is needed"):
        verdict_of(Problem("Why?"), "So.")


def test_text_and_choice_are_compared_by_what_they_say() -> None:
    options = ("oats", "rye", "wheat")
    for said in (
        "B",
        "(B)",
        "b)",
        "rye",
        "Answer: **B**",
        "\\boxed{\\text{B}}",
        "It is (A)? No.\nThe answer is (B) rye.",
    ):
        assert compare_options(options, "B", said) == compare_options(options, "rye", said) == "right"
    assert compare_options(options, "B", "The answer is C.") == "wrong"
    assert compare_options(options, "B", "A and B") == "wrong"
    assert compare_options(options, "B", "") == "unreadable"
    assert compare_texts("The Mill", "Thinking.\n\nAnswer: mill.") == "right"
    assert compare_texts("mill", "the mill by the river") == "wrong"


def test_a_percent_sign_may_be_left_out_and_a_near_number_is_another() -> None:
    assert compare_plainly("35", "35%") == compare_plainly("35 %", "0.35") == "right"
    assert compare_plainly("35%", "35.5%") == compare_plainly("18", "18.01") == "wrong"
