"""The table of figures that is written into a page of the documents."""

import pytest

from gainloop.reports.figure_table import fill

PAGE = "before\n<!-- begin: figures -->\nold\n\nrows\n<!-- end: figures -->\nafter\n"


def test_a_table_stands_between_its_markers_and_nothing_else_is_touched() -> None:
    filled = fill(PAGE, {"figures": r"| new \\| rows |"})
    assert filled == "before\n<!-- begin: figures -->\n" + r"| new \\| rows |" + "\n<!-- end: figures -->\nafter\n"
    assert fill(PAGE, {}) == PAGE


@pytest.mark.parametrize(("page", "times"), [("no marker", 0), (PAGE + PAGE, 2)])
def test_a_page_without_the_markers_or_with_two_of_them_is_refused(page: str, times: int) -> None:
    with pytest.raises(ValueError, match=rf"writing the table figures: the page has its markers {times} times"):
        fill(page, {"figures": ""})
