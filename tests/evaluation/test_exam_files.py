import json
from pathlib import Path

import polars as pl
import pytest

from gainloop.evaluation.exam_files import ReadExam, read_exam_files
from gainloop.evaluation.retrieval import open_search, recall
from gainloop.measures.answers import normalised
from gainloop.store import Store
from gainloop.store.exams import read_exam, save_exam, snapshot_questions
from gainloop.store.snapshots import whole_documents
from schemas.errors import BadInput
from schemas.exam import ExamFiles, Question
from tests.exams import MILLS, documents, fill, owner, rows, write_rows


def read(store: Store, snapshot_id: str, *paths: Path, **fields: object) -> ReadExam:
    wanted = ExamFiles.model_validate({"paths": [str(path) for path in paths], **fields})
    return read_exam_files(wanted, snapshot_id, whole_documents(store, snapshot_id))


@pytest.fixture
def snapshot_id(store: Store) -> str:
    return fill(store, documents())


def test_every_kind_of_file_gives_the_same_exam(store: Store, snapshot_id: str, tmp_path: Path) -> None:
    lines = [
        {name: str(row.get(name, "")) for name in ("question", "answer", "document", "evidence")} for row in rows()
    ]
    write_rows(tmp_path / "q.jsonl", lines)  # type: ignore[arg-type]
    (tmp_path / "q.json").write_text(json.dumps(lines))
    pl.DataFrame(lines).write_csv(tmp_path / "q.csv")
    pl.DataFrame(lines).write_parquet(tmp_path / "q.parquet")

    found = [read(store, snapshot_id, tmp_path / f"q.{kind}") for kind in ("jsonl", "json", "csv", "parquet")]

    assert len({one.exam.exam_id for one in found}) == 1
    assert len(found[0].exam.questions) == 2 * len(MILLS)
    assert not any(one.drops for one in found)


def test_a_document_is_found_by_uri_by_the_end_of_it_by_its_text_and_by_its_title(
    store: Store, snapshot_id: str, tmp_path: Path
) -> None:
    text = documents()["Ashby"]
    called = [
        {"document": "mills/Ashby.md"},
        {"document": "Ashby.md"},
        {"document": "Ashby"},
        {"context": text.replace(" ", "  ").upper()},
        {"title": "the mill of  Ashby"},
    ]
    asked = [{"question": f"{n}?", "answer": "rye"} | one for n, one in enumerate(called)]
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", asked))  # type: ignore[arg-type]

    assert {one.document_id for one in found.exam.questions} == {"mills/Ashby.md"}
    assert len(found.exam.questions) == len(called)


def test_rows_that_fit_no_document_are_counted_by_reason_and_named(store: Store, tmp_path: Path) -> None:
    texts = documents()
    snapshot_id = fill(store, texts)
    lines: list[dict[str, object]] = [*rows(), {"question": "Why?", "answer": "rye", "document": "Nowhere.md"}]
    lines += [{"question": "Why?", "answer": "", "document": "Ashby.md", "is_impossible": True}]
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", lines))

    assert found.drops == {"no_document": 1, "no_answer": 1}
    assert any("q.jsonl row 21: no_document, 'Nowhere.md'" in one for one in found.examples) or len(found.examples) == 5
    assert len(found.exam.questions) + sum(found.drops.values()) == len(lines)


def test_questions_about_held_out_documents_stay_in_and_share_no_wrong_option_with_the_others(
    store: Store, tmp_path: Path
) -> None:
    snapshot_id = fill(store, documents(), heldout_fraction=0.4)
    heldout = {source.document_id for source in whole_documents(store, snapshot_id) if source.is_heldout}
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", rows()), distractors=3)

    assert {one.document_id for one in found.exam.questions} > heldout
    answers = {
        is_heldout: {one.answer for one in found.exam.questions if (one.document_id in heldout) == is_heldout}
        for is_heldout in (True, False)
    }
    assert answers[True]
    for one in found.exam.questions:
        assert set(one.options) <= answers[one.document_id in heldout]


def test_an_exam_about_held_out_documents_alone_is_refused(store: Store, tmp_path: Path) -> None:
    snapshot_id = fill(store, documents(), heldout_fraction=0.4)
    name = next(source.document_id for source in whole_documents(store, snapshot_id) if source.is_heldout)
    path = write_rows(tmp_path / "q.jsonl", [{"question": "Who?", "answer": "Ann", "document": name}])
    with pytest.raises(BadInput, match="1 held_out_document"):
        read(store, snapshot_id, path)


def test_a_title_that_several_documents_have_names_none_of_them(store: Store, tmp_path: Path) -> None:
    snapshot_id = fill(store, {"Ashby": "One text of it.", "Ashby ": "Another text of it."})
    asked: list[dict[str, object]] = [
        {"question": "Who?", "answer": "Ann", "title": "The mill of Ashby"},
        {"question": "Who?", "answer": "Ann", "title": "The mill of Ashby", "context": "Another text of it."},
    ]
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", asked))

    assert found.drops == {"ambiguous_document": 1}
    assert [one.document_id for one in found.exam.questions] == ["mills/Ashby .md"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": " ", "answer": "rye"}, "q.jsonl row 1: no text in field question"),
        ({"question": "Who?"}, "no text in field answer or gold_label or answers; fields there are question, document"),
        (
            {"question": "Who?", "answer": "rye", "options": ["oats", "corn"]},
            "its answer 'rye' is none of its 2 options",
        ),
        ({"question": "Who?", "gold_label": "3", "options": ["oats", "corn"]}, "answer '3' is none of its 2 options"),
        ({"question": "Who?", "gold_label": 0, "options": ["oats", "corn"]}, "letter or number from 1 is allowed"),
        ({"question": "Who?", "answer": "C", "options": ["oats", "corn"]}, "answer 'C' is none of its 2 options"),
        ({"question": "Who?", "answer": "rye", "options": "rye"}, "options are 'rye'"),
    ],
)
def test_a_bad_row_is_an_error_that_says_which(
    store: Store, snapshot_id: str, tmp_path: Path, row: dict[str, object], said: str
) -> None:
    path = write_rows(tmp_path / "q.jsonl", [row | {"document": "Ashby.md"}])

    with pytest.raises(BadInput, match=r"reading the exam, q\.jsonl row 1: .*Mend or remove that row") as error:
        read(store, snapshot_id, path)
    assert said in str(error.value)


def test_an_exam_about_other_documents_is_refused(store: Store, snapshot_id: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "q.jsonl", [{"question": "Who?", "answer": "Ann", "document": "Nowhere.md"}])

    with pytest.raises(BadInput, match=r"none of its rows gives a question \(1 no_document; q.jsonl row 1"):
        read(store, snapshot_id, path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"frage": "Who?", "antwort": "Ann"},
            "q.jsonl row 1: no text in field question; fields there are frage, antwort; a question is needed. Mend or "
            "remove that row, or name the field that holds it with --exam.question-field, ",
        ),
        ({"question": "Who?", "answer": ""}, "no text in field answer or gold_label or answers; fields there are ques"),
        (
            {"question": "Who?", "answer": "Ann"},
            "q.jsonl row 1: no_document, no text in field document or document_id or doc_id; fields there are question",
        ),
        ({"question": "Who?", "answer": "Ann", "document": "Ashbey.md"}, "'Ashbey.md' (near it is Ashby.md)"),
    ],
)
def test_what_a_row_lacks_is_told_before_what_its_document_is(
    store: Store, snapshot_id: str, tmp_path: Path, row: dict[str, object], said: str
) -> None:
    with pytest.raises(BadInput) as error:
        read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", [row]))
    assert said in str(error.value)


def test_a_file_of_rows_is_told_by_its_rows(store: Store, tmp_path: Path) -> None:
    snapshot_id = fill(store, {f"prices.csv#{n}": f"Row {n} of the prices." for n in (1, 2, 3)}, suffix="")
    asked = [{"question": f"What is {n}?", "answer": "rye", "document": n} for n in ("prices.csv#1", "prices.csv")]
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", asked))  # type: ignore[arg-type]

    assert [one.document_id for one in found.exam.questions] == ["mills/prices.csv#1"]
    named = "documents of that file are mills/prices.csv#1, mills/prices.csv#2"
    assert found.examples == [f"q.jsonl row 2: no_document, 'prices.csv' ({named})"]


def test_labels_are_numbers_from_one_or_letters_and_options_are_shuffled_the_same_way_always(
    store: Store, snapshot_id: str, tmp_path: Path
) -> None:
    options = ["rye", "oats", "corn", "peas"]
    asked = [
        {"question": "Which?", "options": options, "document": "Ashby.md"} | label
        for label in ({"gold_label": 3}, {"gold_label": "3"}, {"answer": "C"}, {"answer": "corn"})
    ]
    asked.append(asked[0] | {"options": [{"label": n, "text": text} for n, text in enumerate(options, 1)]})
    paths = [write_rows(tmp_path / f"{n}.jsonl", [one]) for n, one in enumerate(asked)]
    found = [read(store, snapshot_id, path).exam.questions[0] for path in paths]

    assert len({one.question_id for one in found}) == 1
    assert found[0].answer == "corn"
    assert sorted(found[0].options) == sorted(options)
    (from_zero,) = read(store, snapshot_id, paths[0], first_option=0).exam.questions
    assert from_zero.answer == "peas"


def test_a_question_without_options_gets_wrong_ones_of_its_kind_from_other_questions(
    store: Store, snapshot_id: str, tmp_path: Path
) -> None:
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", rows()), distractors=3)

    for one in found.exam.questions:
        assert len(set(one.options)) == 4
        assert one.answer in one.options
        assert len({option.isdigit() for option in one.options}) == 1
        rights = {normalised(right) for right in one.right_answers}
        assert sum(normalised(option) in rights for option in one.options) == 1
    places = {one.options.index(one.answer) for one in found.exam.questions}
    assert places == {0, 1, 2, 3}
    assert not any(one.options for one in read(store, snapshot_id, tmp_path / "q.jsonl", distractors=0).exam.questions)


def test_an_exam_is_kept_as_rows_and_read_again_as_it_was(store: Store, snapshot_id: str, tmp_path: Path) -> None:
    found = read(store, snapshot_id, write_rows(tmp_path / "q.jsonl", rows()))
    exam_id = save_exam(store, found.exam, "files", {"paths": []}, found.drops)

    assert save_exam(store, found.exam, "files", {"paths": []}, found.drops) == exam_id
    assert read_exam(store) == read_exam(store, exam_id) == found.exam
    assert store.query("select count(*) from exams").item() == 1
    assert {one.question_id for one in snapshot_questions(store, snapshot_id)} == {
        one.question_id for one in found.exam.questions
    }
    assert {one.part for one in found.exam.questions} == {"dev", "final"}
    with pytest.raises(BadInput, match="finding exam 'none'"):
        read_exam(store, "none")


def squad_snapshot(store: Store, shared_data: Path, num_passages: int) -> str:
    path = shared_data / "squad" / "squad_val.jsonl"
    passages = [json.loads(line) for line in path.read_text().splitlines()[:num_passages]]
    return fill(store, {str(n): passage["context"] for n, passage in enumerate(passages, 1)})


def test_squads_passages_are_read_as_they_are_and_found_by_their_text(store: Store, shared_data: Path) -> None:
    snapshot_id = squad_snapshot(store, shared_data, 24)
    found = read(store, snapshot_id, shared_data / "squad" / "squad_val.jsonl")

    assert len(found.exam.questions) > 150
    assert set(found.drops) <= {"no_document", "duplicate"}
    assert all(len(one.options) == 4 for one in found.exam.questions)
    texts = {source.document_id: source.text for source in whole_documents(store, snapshot_id)}
    assert all(one.answer in texts[one.document_id] for one in found.exam.questions)


def test_a_search_finds_squads_passages_about_as_often_as_published(store: Store, shared_data: Path) -> None:
    snapshot_id = squad_snapshot(store, shared_data, 400)
    exam = read(store, snapshot_id, shared_data / "squad" / "squad_val.jsonl", distractors=0).exam
    found = recall(open_search(whole_documents(store, snapshot_id)), exam.questions[:1500], titled=False)

    assert found[1] > 0.6
    assert found[1] < found[5] < found[10]
    assert found[10] > 0.85


def test_qualitys_articles_are_read_as_they_are(store: Store, shared_data: Path) -> None:
    path = shared_data / "quality" / "quality.jsonl"
    articles = [json.loads(line) for line in path.read_text().splitlines()]
    snapshot_id = fill(store, {one["doc_id"]: one["article"] for one in articles[:3]}, suffix="")
    found = read(store, snapshot_id, path)

    asked = [question for one in articles[:3] for question in one["questions"]]
    wanted = {(one["question"].strip(), one["options"][int(one["gold_label"]) - 1].strip()) for one in asked}
    assert {(one.question, one.answer) for one in found.exam.questions} == wanted
    assert found.drops["no_document"] == sum(len(one["questions"]) for one in articles[3:])
    assert all(one.answer in one.options for one in found.exam.questions)


def test_squads_published_shapes_are_read(store: Store, snapshot_id: str, tmp_path: Path) -> None:
    text = documents()["Ashby"]
    qas = [{"id": "1", "question": "Who was the miller?", "answers": [{"text": owner(0), "answer_start": 3}]}]
    whole = {"version": "1.1", "data": [{"title": "Mills", "paragraphs": [{"context": text, "qas": qas}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(whole))
    flat = {"context": text, "question": "Who was the miller?", "answers": {"text": [owner(0)], "answer_start": [3]}}
    paths = (tmp_path / "squad.json", write_rows(tmp_path / "flat.jsonl", [flat]))

    first, second = (read(store, snapshot_id, path).exam.questions for path in paths)
    assert first == second == (Question("Who was the miller?", owner(0), "mills/Ashby.md", title="The mill of Ashby"),)
