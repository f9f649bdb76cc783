import json

import pytest
from pydantic import TypeAdapter, ValidationError

from gainloop.sources import SOURCES, AnySource
from gainloop.sources.files import Files
from gainloop.sources.huggingface import HuggingFace
from gainloop.sources.python_docs import PythonDocs
from schemas.plan import NewModel
from schemas.recipe import Sampling

SOURCE = TypeAdapter(AnySource)


def test_every_kind_is_known_under_its_name() -> None:
    assert {"python_docs": PythonDocs, "files": Files, "huggingface": HuggingFace}.items() <= SOURCES.items()
    assert set(SOURCE.json_schema()["discriminator"]["mapping"]) == set(SOURCES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"kind": "fils"},
            f"source.kind 'fils' not found in gainloop/sources/: known are {', '.join(sorted(SOURCES))}",
        ),
        ({"kind": "files"}, "source 'files': paths is not set; it is required"),
        ({"kind": "files", "paths": []}, "source 'files': paths is []; list should have at least 1 item"),
        (
            {"kind": "python_docs", "path": "x"},
            "'path' is not a parameter; its parameters are kind, max_bad_share, max_chars, min_chars",
        ),
        (
            {"kind": "python_docs", "max_chars": 100},
            "max_chars is 100 and min_chars 100; max_chars of twice min_chars or more is allowed",
        ),
    ],
)
def test_a_wrong_source_is_told_what_may_be_set(value: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SOURCE.validate_python(value)

    assert expected in str(caught.value)


def test_a_source_survives_json_under_the_same_id() -> None:
    source = Files(paths=["docs"], max_chars=500)

    again = SOURCE.validate_python(json.loads(source.model_dump_json()))
    assert again == source
    assert again.source_id == source.source_id != Files(paths=["docs"]).source_id


def test_a_piece_of_the_default_source_and_a_reply_fit_the_default_start_together() -> None:
    """At three characters a token, as the small vocabulary that is made of the anchors has at least."""
    assert PythonDocs().max_chars / 3 + Sampling().max_tokens <= NewModel().context_tokens
    assert Files(paths=["docs"]).max_chars == 2 * PythonDocs().max_chars
