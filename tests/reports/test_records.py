"""All kept records as a page: whole, safe, and searched by a browser without a network."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from gainloop.reports.records import as_script, group_records, save_records_page, split_groups
from gainloop.store import Store
from gainloop.store.batches import complete_stage
from tests.browser import open_page

NASTY = "</script><script>alert(1)</script> <b>bold</b> & \u2028 “quoted”"


def fill(store: Store, num_records: int, text: str = "") -> None:
    """Write a validated batch of records on half as many anchors; the last one says ``text`` as well."""
    anchors = [
        {
            "anchor_id": f"a{n:03d}",
            "text": f"Anchor {n} of the kelp works.",
            "title": f"Title {n:03d}",
            "uri": f"{n}.md",
        }
        | {"licence": "", "revision": "1", "num_bytes": 9}
        for n in range(num_records // 2)
    ]
    records = [
        {"batch_id": "b", "record_id": f"r{n:03d}", "anchor_id": f"a{n // 2:03d}", "method": "rephrase"}
        | {
            "facet": ("easy", "qa")[n % 2],
            "text": f"Record number {n} about tides.",
            "request_ids": [],
            "num_bytes": 9,
            "turns": "",
        }
        for n in range(num_records)
    ]
    records[-1]["text"] = f"{records[-1]['text']} {text}".strip()
    store.insert(anchors=anchors, records=records)
    store.insert(quarantine=[{"batch_id": "b", "record_id": "r000", "reason": "near_duplicate"}])
    complete_stage(store, "b", "validate", {"kept": num_records - 1})


def landed(folder: Path) -> list[tuple[str, str]]:
    """Return id and text of every record in the scripts beside a page."""
    found = []
    for number, path in enumerate(sorted(folder.glob("records/*.js"))):
        told = re.fullmatch(r"landed\((\d+), (.*)\);\n", path.read_text(), re.DOTALL)
        assert told
        assert int(told[1]) == number
        found += [(one[0], one[2]) for group in json.loads(told[2]) for one in group["records"]]
    return found


def test_every_kept_record_is_beside_its_anchor_and_no_other(store: Store) -> None:
    Path(store.path).parent.mkdir()
    fill(store, 40, NASTY)
    page = Path(save_records_page(store, "b"))

    found = landed(page.parent)
    assert sorted(name for name, _ in found) == [f"r{n:03d}" for n in range(1, 40)]
    assert ("r039", f"Record number 39 about tides. {NASTY}") in found
    assert NASTY not in page.read_text()
    assert re.search(r"39 kept records</h1>", page.read_text())
    assert "<option>easy</option><option>qa</option>" in page.read_text()
    assert not re.search(r"https?:|//\w", page.read_text().replace("http://www.w3.org", ""))

    before = {path: path.stat().st_mtime_ns for path in page.parent.rglob("*")}
    assert save_records_page(store, "b") == str(page)
    assert {path: path.stat().st_mtime_ns for path in page.parent.rglob("*")} == before


def test_a_batch_that_was_opened_again_has_a_page_of_its_new_records(store: Store) -> None:
    Path(store.path).parent.mkdir()
    fill(store, 40)
    page = Path(save_records_page(store, "b"))
    store.take_back(("update records set record_id = 'new', text = 'Another.' where record_id = 'r039'", []))

    save_records_page(store, "b")
    assert ("new", "Another.") in landed(page.parent)


def test_parts_have_about_the_same_size_and_all_groups(store: Store) -> None:
    kept = pl.DataFrame(
        {"record_id": [f"r{n}" for n in range(9)], "anchor_id": [f"a{n % 3}" for n in range(9)], "facet": [""] * 9}
    ).with_columns(text=pl.lit("x" * 10))
    anchors = pl.DataFrame({"anchor_id": ["a0", "a1"], "title": ["B", "A"], "text": ["y" * 10, "z" * 10]})
    groups = list(group_records(kept, anchors))
    assert [group["title"] for group in groups] == ["", "A", "B"]  # an anchor that is gone has no title
    parts = list(split_groups(iter(groups), 60))
    assert [len(part) for part in parts] == [2, 1]
    assert json.loads(as_script(0, parts[1]).decode()[len("landed(0, ") : -3])[0]["anchor"] == "y" * 10


@pytest.mark.server
def test_a_browser_finds_records_by_words_and_facet_and_asks_no_network(store: Store) -> None:
    Path(store.path).parent.mkdir()
    fill(store, 60, NASTY)
    page = Path(save_records_page(store, "b"))
    asked: list[str] = []
    with open_page("about:blank") as browser:
        browser.on("request", lambda request: asked.append(request.url))
        browser.goto(page.as_uri())
        browser.wait_for_function("document.getElementById('state').textContent.startsWith('20 of 59')")
        browser.click("#more")
        browser.wait_for_function("document.getElementById('state').textContent.startsWith('40 of 59')")
        browser.fill("#words", "number alert(1)")
        browser.wait_for_function("document.getElementById('state').textContent == '1 of 59 records have it.'")
        assert NASTY.split("\u2028")[0].strip() in (browser.text_content("#found article") or "")
        assert browser.locator("#found mark").count() == 2
        assert browser.locator("#found script, #found article b b").count() == 0
        browser.fill("#words", "kelp")
        browser.wait_for_function("document.getElementById('state').textContent.startsWith('0 of 59')")
        browser.check("#anchors")
        browser.wait_for_function("document.getElementById('found').children.length == 20")
        browser.fill("#words", "")
        browser.select_option("#facet", "qa")
        browser.wait_for_function("document.getElementById('state').textContent.startsWith('The first 20')")
    assert asked
    assert all(url.startswith(page.parent.as_uri()) for url in asked)
