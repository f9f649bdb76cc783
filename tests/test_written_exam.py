"""Exams that a served model writes: what cannot be verified is a counted drop, and nothing is asked for twice."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from gainloop.evaluation.answering import Sitting, unanswered
from gainloop.evaluation.results import tabulate
from gainloop.evaluation.writing import Pair, fault_of
from gainloop.store import Store, group_commit
from gainloop.store.exams import exam_kind, read_answers, read_exam
from schemas.errors import BadInput
from schemas.exam import Asking, Exam, ExamFiles, WrittenExam
from schemas.profile import Profile, Servers
from tasks.evaluate import require_asked
from tasks.exam import make_exam, require_unguessable, write_exam
from tasks.grade import ask_served
from tests.exams import MILLS, documents, fill, owner, rows, write_rows, year
from tests.serving.stub_server import Stub, StubOptions, stub_server

WANTED = WrittenExam(model="stub", pairs=6)
TEXT = documents()["Ashby"]
MADE = f"It was built in {year(0)}."


def quiet(*_told: object) -> None:
    """Tell nobody."""


def pairs_about(name: str, number: int) -> list[dict[str, str]]:
    """Return two sound questions about a mill, and four of which each has one fault."""
    who, made = f"The miller was {owner(number)}.", f"It was built in {year(number)}."
    return [
        {"evidence": made, "question": f"When was the mill of {name} built?", "answer": year(number)},
        {"evidence": who, "question": f"Who was the miller of {name}?", "answer": owner(number)},
        {"evidence": "It burnt down in 1899.", "question": f"When did the mill of {name} burn?", "answer": "1899"},
        {"evidence": who, "question": "Who does the passage call the miller?", "answer": owner(number)},
        {
            "evidence": f"The mill of {name} stands on the north bank.",
            "question": f"Where is {name}?",
            "answer": "bank",
        },
        {"evidence": made, "question": f"When exactly was the mill of {name} built?", "answer": year(number)},
    ]


def writer(prompt: str) -> str:
    """Write pairs about the mill of a prompt; answer questions from its text, but never say where a mill is."""
    found = re.search(r"The mill of (\w+) stands", prompt)
    if not found:
        return "Yes."
    number = MILLS.index(found[1])
    if "Question: " not in prompt:
        return json.dumps({"pairs": pairs_about(found[1], number)})
    asked = prompt.rpartition("Question: ")[2]
    said = f"in {year(number)}" if asked.startswith("When") else owner(number) if asked.startswith("Who") else "unknown"
    return json.dumps({"answer": said})


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server(StubOptions(says=writer)) as running:
        yield running


@pytest.fixture
def place(profile: Profile, stub: Stub) -> Profile:
    stub.requests.clear()
    return profile.model_copy(update={"serving": Servers(urls=[stub.url])})


def exam_from_file(store: Store, folder: Path) -> Exam:
    wanted = ExamFiles(paths=[str(write_rows(folder / "q.jsonl", rows()))])
    return read_exam(store, make_exam(store, wanted, "latest"))


def sent(stub: Stub) -> int:
    """Return how many requests a stub was sent that are no check's, and forget them."""
    number = sum(one["max_tokens"] > 1 for one in stub.requests)
    stub.requests.clear()
    return number


def test_what_a_model_writes_is_kept_only_if_it_can_be_verified_and_every_other_pair_is_counted(
    store: Store, place: Profile
) -> None:
    snapshot_id = fill(store, documents())
    exam = read_exam(store, write_exam(store, place, WANTED, "latest", quiet))
    drops = json.loads(exam_kind(store, exam.exam_id)["drops"])

    num = len(MILLS)
    assert exam.snapshot_id == snapshot_id
    assert {one.question for one in exam.questions} == {
        text for name in MILLS for text in (f"When was the mill of {name} built?", f"Who was the miller of {name}?")
    }
    assert drops == {
        "evidence_not_found": num,
        "speaks_of_the_text": num,
        "answered_otherwise": num,
        "near_duplicate": num,
    }
    assert all(one.evidence in documents()[one.document_id[6:-3]] for one in exam.questions)
    assert all(one.answer in one.options and len(one.options) == 4 for one in exam.questions)


def test_an_exam_is_written_once_and_a_larger_one_asks_about_the_pieces_that_are_new(
    store: Store, place: Profile, stub: Stub
) -> None:
    fill(store, documents())
    few = WANTED.model_copy(update={"max_pieces": 4})
    first = write_exam(store, place, few, "latest", quiet)
    assert sent(stub) == 4 + 4 * 4 * 3

    assert write_exam(store, place, few, "latest", quiet) == first
    assert write_exam(store, place, few.model_copy(update={"most_guessed": 0.1}), "latest", quiet) == first
    assert sent(stub) == 0
    assert len(read_exam(store, first).questions) == 8


def test_an_exam_whose_pairs_all_fail_is_an_error_that_counts_them(store: Store, place: Profile) -> None:
    fill(store, {name: f"{text} Rye." for name, text in documents().items()})
    with stub_server(StubOptions(says=lambda _prompt: "Sure! Here are some questions.")) as chatty:
        there = place.model_copy(update={"serving": Servers(urls=[chatty.url])})
        with pytest.raises(BadInput, match=r"none of 10 pairs and replies is a question \(10 malformed\)"):
            write_exam(store, there, WANTED, "latest", quiet)


def test_an_exam_that_a_guesser_passes_is_refused(store: Store, place: Profile) -> None:
    fill(store, documents())
    exam = read_exam(store, write_exam(store, place, WANTED, "latest", quiet))
    asked = unanswered(exam.questions, "closed")
    answers = {share: asked.with_columns(option_right=pl.arange(asked.height) < share * asked.height, num_options=4)
               for share in (0.3, 0.9)}  # fmt: skip

    wanted = WANTED.model_copy(update={"guesser": "the start"})
    require_unguessable(wanted, answers[0.3])
    with pytest.raises(BadInput, match=r"the start gets 90 % \[.*\] of it right without any document; at most 65 %"):
        require_unguessable(wanted, answers[0.9])


@pytest.mark.parametrize(
    ("question", "answer", "evidence", "fault"),
    [
        ("When was the mill of Ashby built?", year(0), MADE, ""),
        ("When was the mill of Ashby built", year(0), MADE, "no_question"),
        ("When was the mill of Ashby built?", TEXT, TEXT, "answer_too_long"),
        ("When was the mill of Ashby built?", "1999", MADE, "answer_not_in_evidence"),
        ("When was the mill of Ashby built?", year(0), f"Built about {year(0)}.", "evidence_not_found"),
        (f"Was the mill of Ashby built in {year(0)}?", year(0), MADE, "holds_its_answer"),
        ("According to the text, when was Ashby built?", year(0), MADE, "speaks_of_the_text"),
        ("When did the author say Ashby was built?", year(0), MADE, "speaks_of_the_text"),
        ("When was it built?", year(0), MADE, "names_nothing"),
        ("When was the mill on the north bank built?", year(0), MADE, ""),
    ],
)
def test_each_fault_of_a_pair_has_its_reason(question: str, answer: str, evidence: str, fault: str) -> None:
    assert fault_of(Pair(question, answer, evidence, "q"), TEXT, 8) == fault


def test_a_served_model_answers_in_words_and_a_judge_grades_them_once(
    store: Store, profile: Profile, tmp_path: Path
) -> None:
    fill(store, documents())
    exam = read_exam(
        store, make_exam(store, ExamFiles(paths=[str(write_rows(tmp_path / "q.jsonl", rows()))]), "latest")
    )

    def says(prompt: str) -> str:
        if "Answer to grade:" in prompt:
            right, said = (re.search(rf"{name}: (.*)", prompt) for name in ("Right answer", "Answer to grade"))
            assert right is not None
            assert said is not None
            verdict = "correct" if right[1] in said[1] else "incorrect" if said[1] != "Nobody" else "no idea"
            return json.dumps({"reason": "By rule.", "verdict": verdict})
        name = re.search(r"(?:mill|miller) of (\w+)", prompt.rpartition("Question: ")[2])
        if not name or name[1] not in MILLS:
            return "Yes."
        number = MILLS.index(name[1])
        return f"Built in {year(number)}" if "When" in prompt.rpartition("Question: ")[2] else "Nobody"

    asking = Asking(gradings=("short", "graded"), judge="stub", form="chat")
    with stub_server(StubOptions(says=says)) as there:
        place = profile.model_copy(update={"serving": Servers(urls=[there.url])})
        url = ask_served(store, place, "stub", Sitting(exam, "closed", asking), quiet)
        num = sent(there)
        assert num == 2 * len(exam.questions)
        assert ask_served(store, place, "stub", Sitting(exam, "closed", asking), quiet) == url
        assert sent(there) == 0
        ask_served(store, place, "stub", Sitting(exam, "open", asking), quiet)
        assert sent(there) > 0

    answers = read_answers(url)
    dated = pl.col("answer").str.starts_with("Built")
    assert set(answers.filter(dated)["verdict"]) == {"correct"}
    assert set(answers.filter(~dated)["verdict"]) == {"not_attempted"}
    assert answers["exact"].sum() == 0
    assert answers.filter(dated)["f1"].to_list() == [0.5] * len(MILLS)
    assert answers["nats"].null_count() == answers.height
    assert tabulate({"stub/closed": read_answers(url)})[0]["right (judged)"].startswith("50 %")


def test_a_thinking_model_is_read_by_its_last_line_and_told_by_its_attempts(
    store: Store, profile: Profile, tmp_path: Path
) -> None:
    fill(store, documents())
    exam = read_exam(
        store, make_exam(store, ExamFiles(paths=[str(write_rows(tmp_path / "q.jsonl", rows()))]), "latest")
    )
    by_question = {one.question: one for one in exam.questions}

    def says(prompt: str) -> str:
        asked = next((one for text, one in by_question.items() if text in prompt), None)
        if asked is None or "miller" in asked.question:
            return "I do not know this mill."
        return f"The year is known.\nAnswer: {'ABCD'[asked.options.index(asked.answer)]}"

    asking = Asking(gradings=("short",), form="reasoned", answer_tokens=64)
    with stub_server(StubOptions(says=says)) as there:
        place = profile.model_copy(update={"serving": Servers(urls=[there.url])})
        url = ask_served(store, place, "stub", Sitting(exam, "closed", asking), quiet)
    (row,) = tabulate({"stub/closed": read_answers(url)})

    assert row["right (exact)"].startswith("50 %")
    assert row["attempted"].startswith("50 %")
    assert row["right of attempted"].startswith("100 %")


def test_an_evaluation_of_nobody_or_of_a_served_model_by_likelihood_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="no model is named"):
        require_asked((), (), Asking())
    with pytest.raises(BadInput, match="a served model is graded by what it writes"):
        require_asked((), ("stub",), Asking())
    require_asked((), ("stub",), Asking(gradings=("short",)))
