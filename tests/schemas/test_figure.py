"""The words of a figure's field, and the walk over a model that finds them."""

import pytest

from schemas.figure import Figure, ReportPart, figure, figures_of, section, words_of

MEASURED = Figure(
    value=1.0, low=0.5, high=1.5, n=9, clusters=9, dropped=0, unit="words", status="ok", definition="made up"
)


class Texts(ReportPart):
    length: Figure = figure("Length", "Words of a text. Healthy: above 9.", "words", healthy="higher", predicts="rises")
    opening: str


class Whole(ReportPart):
    texts: Texts = section("How long it is")
    lone: Figure = figure("Lone", "A figure of no part.", "words", section="Alone", is_early=False)
    curve: list[Texts]
    spare: Texts | None = section("Where there is one")


WHOLE = Whole(texts=Texts(length=MEASURED, opening="It was"), lone=MEASURED, curve=[], spare=None)


def test_each_figure_is_found_once_with_its_path_its_words_and_the_heading_of_its_part() -> None:
    found = {path: (words, value) for path, words, value in figures_of(WHOLE)}
    assert list(found) == ["texts.length", "lone"]
    words, value = found["texts.length"]
    assert value is WHOLE.texts.length
    assert (words.title, words.unit, words.section) == ("Length", "words", "How long it is")
    assert (words.healthy, words.predicts, words.is_early) == ("higher", "rises", True)
    assert (found["lone"][0].section, found["lone"][0].is_early) == ("Alone", False)


def test_a_part_that_is_none_has_words_and_no_figure() -> None:
    assert words_of(Whole)["spare.length"].section == "Where there is one"
    with_it = WHOLE.model_copy(update={"spare": WHOLE.texts})
    assert [one.path for one in figures_of(with_it)] == ["texts.length", "lone", "spare.length"]


def test_the_words_stand_in_the_schema_of_the_json_and_not_in_the_json() -> None:
    field = Texts.model_json_schema()["properties"]["length"]
    assert (field["title"], field["description"], field["unit"]) == (
        "Length",
        "Words of a text. Healthy: above 9.",
        "words",
    )
    assert set(WHOLE.texts.model_dump()) == {"length", "opening"}
    assert set(WHOLE.model_dump()["lone"]) == set(Figure.model_fields)


def test_a_figure_whose_field_has_no_words_is_named() -> None:
    class Mute(ReportPart):
        length: Figure

    with pytest.raises(TypeError, match=r"Mute\.length: a figure's field has words; declare it = figure\(\.\.\.\)"):
        words_of(Mute)


def test_an_attribute_that_words_do_not_have_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="helthy"):
        figure("Length", "Words of a text.", "words", helthy="higher")


def test_a_figure_is_as_required_as_a_field_without_words() -> None:
    with pytest.raises(ValueError, match="length"):
        Texts(opening="It was")
