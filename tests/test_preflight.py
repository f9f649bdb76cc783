"""What a batch's pre-flight finds out, what it says, and that it begins nothing."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from gainloop.methods import read_method
from gainloop.methods.rephrase import Rephrase
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.draws import plan_batch
from schemas.advice import ADVICE
from schemas.errors import ServerError, TooFewTokens
from schemas.profile import Prices, Profile
from schemas.recipe import Recipe, Sampling
from schemas.rows import Anchor, Reply, Request
from tasks.preflight import FIRST_REQUESTS, WHOLE, Budget, Lengths, reason_not_usable, try_out
from tasks.refresh import refresh_snapshot
from tests.serving import stub_model
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.small_run import ROOT, command, environment, served, write_profile
from tests.test_bad_input import DOWN, HOUSE_FORM
from tests.test_generate import finish, generate, on_servers, recipe_on, write_corpus
from tests.whole_run import Place

PRICES = Prices(prompt=2.0, completion=5.0, currency="EUR")


@pytest.fixture
def snapshot_id(store: Store) -> str:
    return write_corpus(store)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_asked(stub: Stub) -> None:
    stub.requests.clear()


def asked(stub: Stub) -> list[str]:
    """Return the bodies of the batch's requests, without those that a check sends."""
    return [repr(body) for body in stub.requests if body["max_tokens"] > 1]


def begun(store: Store) -> int:
    return sum(store.query(f"from {table}").height for table in ("batches", "batch_anchors", "records", "drops"))


def test_the_budget_of_a_batch_that_is_asked_for_whole_is_what_it_takes(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    place = on_servers(profile, stub).model_copy(update={"prices": PRICES})
    recipe = recipe_on(snapshot_id, "sbp", max_anchors=5)
    recipe = recipe.model_copy(update={"method": recipe.method | {"draws": 1}})
    budget = try_out(store, place, recipe, None)
    generate(place, recipe)
    summary = finish(place, recipe)

    assert (budget.num_anchors, budget.requests, budget.max_requests) == (5, 5, 5)
    assert (summary["anchors"], summary["requests"]) == (5, 5)
    assert (budget.prompt_tokens, budget.completion_tokens) == (summary["prompt_tokens"], summary["completion_tokens"])
    assert budget.max_completion_tokens == 5 * recipe.sampling.max_tokens
    assert budget.max_cost == pytest.approx((2 * summary["prompt_tokens"] + 5 * 5 * 64) / 1e6)
    assert budget.max_cost > budget.cost == summary["cost"] > 0
    assert (budget.num_usable, budget.num_tried) == (5, 5)
    assert budget.logprob_semantics == "raw"


@pytest.mark.parametrize(("method", "per_anchor"), [("rephrase", 2), ("entigraph", 1 + 3 + 1), ("sbp", 2)])
def test_a_larger_batch_is_estimated_from_its_first_anchors_of_which_some_are_whole(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, method: str, per_anchor: int
) -> None:
    recipe = recipe_on(snapshot_id, method)
    place = on_servers(profile, stub)
    budget = try_out(store, place, recipe, None)
    tried = len(asked(stub))

    assert FIRST_REQUESTS < tried <= FIRST_REQUESTS + WHOLE * (per_anchor - 1)
    assert budget.num_anchors == plan_batch(store, recipe)
    assert budget.max_requests == budget.num_anchors * per_anchor == budget.num_anchors * max_requests(recipe)
    progress = generate(place, recipe)
    summary = finish(place, recipe, progress)
    assert summary["requests_sent"] == summary["requests"] - tried
    for found in ("requests", "prompt_tokens", "completion_tokens"):
        assert getattr(budget, found) == pytest.approx(summary[found], rel=0.35), found
    assert budget.completion_tokens < budget.max_completion_tokens == budget.max_requests * 64


def max_requests(recipe: Recipe) -> int:
    return read_method(recipe.method).max_requests


def test_a_budget_says_what_it_costs_on_a_line_and_in_a_table() -> None:
    lengths, dropped = Lengths(24, 3, 192, 320), {"echo": 1, "cut_off": 3}
    budget = Budget(
        "b1",
        1200,
        4500,
        4800,
        960_000,
        500_000,
        921_600,
        4.42,
        6.528,
        "EUR",
        7,
        8,
        2,
        9,
        1,
        "raw",
        "2 up",
        lengths,
        dropped,
    )

    assert budget.summary == (
        "Batch b1: 1,200 anchors, about 4,500 requests (at most 4,800), 960,000 prompt tokens and 500,000 completion "
        "tokens (at most 921,600), about 4.42 EUR (some 6.53 if all is asked and replies are long): estimated from 2 "
        "whole anchors (9 records, 1 drops); 2 up; log-probabilities are the model's own (raw); 7 of 8 first "
        "replies can be used; 3 of 24 replies are cut off at 192 tokens (12%): raise text.sampling.max_tokens to about "
        "320; dropped: 3 cut_off (12%), 1 echo (4%) of 24 replies"
    )
    rows = dict(re.findall(r"^\| (.+) \| (.+) \|$", budget.as_markdown(), re.MULTILINE))
    assert rows["requests, at most"] == "4,800"
    assert rows["cost"] == "about 4.42 EUR (some 6.53 if all is asked and replies are long)"
    assert rows["first replies that can be used"] == "7 of 8"
    assert rows["replies that are cut off"].endswith("raise text.sampling.max_tokens to about 320")
    assert rows["replies that are dropped"] == "3 cut_off (12%), 1 echo (4%) of 24 replies"


def replies_of(*ends: tuple[int, str]) -> pl.DataFrame:
    return pl.DataFrame(ends, {"completion_tokens": pl.Int64, "finish_reason": pl.String}, orient="row")


def test_the_advised_limit_is_what_nearly_all_replies_would_keep() -> None:
    rng = Random(7)
    lengths = [max(1, round(rng.expovariate(1 / 150))) for _ in range(4000)]
    cut = [(min(one, 192), "length" if one > 192 else "stop") for one in lengths]
    found = Lengths.of(replies_of(*cut), 192, 0)

    assert found.num_cut_off == sum(one > 192 for one in lengths)
    assert 0.93 < sum(one <= found.enough_tokens for one in lengths) / 4000 < 0.97
    none_ended = Lengths.of(replies_of((192, "length")), 192, 0)
    assert (none_ended.enough_tokens, str(none_ended)[:16]) == (768, "1 of 1 replies a")
    assert str(Lengths.of(replies_of((20, "stop"), (30, "stop")), 64, 0)) == "0 of 2 replies are cut off at 64 tokens"
    assert "some are asked for that may take 350" in str(Lengths.of(replies_of((20, "stop")), 192, 350))
    assert "to about 384" in str(Lengths.of(replies_of((64, "length"), (60, "stop")), 64, 350))


@pytest.mark.parametrize("method", ["rephrase", "entigraph"])
def test_its_replies_are_kept_and_not_asked_for_again(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, method: str
) -> None:
    place, recipe = on_servers(profile, stub), recipe_on(snapshot_id, method)
    try_out(store, place, recipe, None)
    first = set(asked(stub))
    assert begun(store) == 0
    progress = generate(place, recipe)
    summary = finish(place, recipe, progress)

    assert sum(one.replies_reused for one in progress) == len(first) > FIRST_REQUESTS
    assert len(asked(stub)) == len(set(asked(stub))) == summary["requests"]
    assert summary["requests_sent"] == summary["requests"] - len(first)
    sent = len(asked(stub))
    assert try_out(store, place, recipe, None).num_usable == FIRST_REQUESTS
    assert len(asked(stub)) == sent


def no_json(asked: dict[str, Any], _num_words: int) -> str:
    return "Sure! Here are the people and things it is about: a mill, a river."


@pytest.mark.parametrize(
    ("about", "options", "found", "advice"),
    [
        ({}, None, r"asking http://127\.0\.0\.1:9/v1 for its models: no connection", "Start "),
        (
            {"model": "another"},
            {},
            r"'another' at .* is not served there; served are stub",
            "Set the model to one of them",
        ),
        (
            {},
            {"faults": {"no_logprobs": 1.0}},
            "the reply has no log-probability per token",
            "Serve the model with vLLM",
        ),
        ({}, {"faults": {"overloaded": 1.0}}, "it is overloaded", "Wait, or add servers"),
        ({}, {"faults": {"empty": 1.0}}, r"\(8 empty\)", "Choose an instruction-tuned model"),
        ({"sampling": Sampling(max_tokens=3)}, {}, r"\(8 cut_off\)", "Raise text.sampling.max_tokens"),
        ({}, {"context_tokens": 40}, r"\(8 rejected\)", "Lower text.sampling.max_tokens or the source's max_chars"),
    ],
)
def test_what_cannot_work_is_one_error_that_says_what_to_do_and_begins_nothing(
    profile: Profile,
    store: Store,
    snapshot_id: str,
    about: dict[str, Any],
    options: dict[str, Any] | None,
    found: str,
    advice: str,
) -> None:
    recipe = recipe_on(snapshot_id, **about)
    with stub_server(StubOptions(**options or {})) as stub:
        message = refusal(store, on_servers(profile, DOWN if options is None else stub), recipe)

    assert re.search(found, message)
    assert f". {advice}" in message
    assert begun(store) == 0


def refusal(store: Store, place: Profile, recipe: Recipe) -> str:
    """Return the one sentence that a pre-flight fails with."""
    with pytest.raises(ServerError) as caught:
        try_out(store, place, recipe, None)
    message = str(caught.value)
    assert HOUSE_FORM.fullmatch(message), message
    return message


def test_lists_that_are_no_json_are_found_out_before_a_corpus_is_turned_into_drops(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_model, "_write", no_json)
    place = on_servers(profile, stub)
    message = refusal(store, place, recipe_on(snapshot_id, "entigraph"))

    assert "trying out entigraph on 'stub': none of the first 8 replies can be used (8 malformed)" in message
    assert "Serve the model with structured outputs" in message
    assert begun(store) == 0
    assert try_out(store, place, recipe_on(snapshot_id, "rephrase"), None).num_usable == FIRST_REQUESTS


def test_verdicts_that_nobody_can_read_are_found_out_before_every_record_is_refused_for_them(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_model, "_instance", lambda _schema, _rng: "not an object")
    recipe = recipe_on(snapshot_id, filters=({"kind": "judge"},))
    message = refusal(store, on_servers(profile, stub), recipe)

    assert "2 anchors worked on to their end gave no record (4 unjudged); one at least must" in message
    assert begun(store) == 0


def test_replies_that_think_aloud_are_found_out_with_what_to_do(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_model, "_write", lambda _asked, _num: "They want it plain.\n</think>\n\nThe mill grinds.")
    message = refusal(store, on_servers(profile, stub), recipe_on(snapshot_id))

    assert "(8 chain_of_thought)" in message
    assert "thinking switched off" in message


def test_what_of_the_tried_replies_is_dropped_is_told_by_reason(
    profile: Profile, store: Store, snapshot_id: str
) -> None:
    with stub_server(StubOptions(faults={"empty": 0.5})) as stub:
        budget = try_out(store, on_servers(profile, stub), recipe_on(snapshot_id), None)

    assert budget.dropped.keys() == {"empty"}
    assert budget.dropped["empty"] >= FIRST_REQUESTS - budget.num_usable
    assert "Choose an instruction-tuned model" in budget.losses
    assert f"{budget.dropped['empty']} empty" in budget.summary


def test_first_replies_that_fail_do_not_make_the_rest_of_their_round_cheaper(
    profile: Profile, store: Store, snapshot_id: str
) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(faults={"empty": 0.5})) as stub:
        budget = try_out(store, on_servers(profile, stub), recipe, None)

    assert budget.num_usable < FIRST_REQUESTS
    assert budget.requests == budget.max_requests == 2 * budget.num_anchors


def test_a_fenced_object_can_be_read_and_a_list_cannot(profile: Profile) -> None:
    anchor, request = Anchor("A mill."), Request("List them.", json_schema="{}")
    said = [
        Reply("q", "p", text, (), (), "stop", 1, 1, 0.1, "s") for text in ('```json\n{"a": 1}\n```', "[1]", '{"a": 1}')
    ]

    assert [reason_not_usable(Rephrase(), anchor, request, reply) for reply in said] == ["", "malformed", ""]


def test_one_first_reply_that_can_be_used_is_enough(profile: Profile, store: Store, snapshot_id: str) -> None:
    recipe = recipe_on(snapshot_id)
    with stub_server(StubOptions(faults={"empty": 0.3, "filtered": 0.2})) as stub:
        budget = try_out(store, on_servers(profile, stub), recipe, None)

    assert 0 < budget.num_usable < budget.num_tried == FIRST_REQUESTS
    assert f"{budget.num_usable} of 8 first replies can be used" in budget.summary


def test_the_error_counts_every_fault_and_advises_on_the_commonest(
    profile: Profile, store: Store, snapshot_id: str
) -> None:
    recipe = recipe_on(snapshot_id, sampling=Sampling(max_tokens=3))
    with stub_server(StubOptions(faults={"empty": 0.6})) as stub:
        message = refusal(store, on_servers(profile, stub), recipe)

    found = re.search(r"none of the first 8 replies can be used \((\d) (\w+), (\d) (\w+)\)", message)
    assert found
    assert {found[2], found[4]} == {"cut_off", "empty"}
    assert int(found[1]) + int(found[3]) == 8
    assert ADVICE[found[2]] in message


def test_a_budget_that_pays_for_no_reply_says_nothing_of_the_model(
    profile: Profile, store: Store, snapshot_id: str, stub: Stub
) -> None:
    recipe = recipe_on(snapshot_id, budget_tokens=100)
    with pytest.raises(TooFewTokens) as caught:
        try_out(store, on_servers(profile, stub), recipe, None)

    message = str(caught.value)
    assert HOUSE_FORM.fullmatch(message), message
    assert "with text.budget_tokens 100: 8 of the first requests may take more than is left of it" in message
    assert not asked(stub)
    assert begun(store) == 0


@pytest.mark.server
def test_a_dry_run_stops_there_and_the_run_after_it_begins_with_its_replies(
    tmp_path: Path, corpus: Path, api_url: str, stub: Stub
) -> None:
    place = Place(tmp_path)
    serving = {"kind": "servers", "urls": [stub.url]}
    profile = write_profile(tmp_path, serving=serving, prices=PRICES.model_dump())
    refresh_snapshot(place.store, Files(paths=[str(corpus / "*.md")], max_chars=400), 0.05)
    given = served(profile, 12)
    dry = run(tmp_path, api_url, given, "--dry-run")

    assert dry.returncode == 0, dry.stderr
    assert re.search(
        r"12 anchors, about 48 requests \(at most 192\), .*, about [\d.]+ EUR \(some [\d.]+ if .*\): estimated from 2 "
        r"whole anchors \(8 records, 0 drops\); server up; .* \(raw\); 8 of 8",
        dry.stderr,
    )
    assert dry.stdout == f"batch: {place.batch.name}\n"
    assert "its pre-flight is passed. Run the same again without --dry-run." in dry.stderr
    assert begun(place.store) == 0
    assert len(asked(stub)) == FIRST_REQUESTS + WHOLE * 3
    whole = run(tmp_path, api_url, given)
    assert (whole.returncode, whole.stdout) == (0, dry.stdout), whole.stderr
    assert len(asked(stub)) == len(set(asked(stub))) == place.summary("generate")["requests"] == 48
    complete = run(tmp_path, api_url, given, "--dry-run")
    assert (complete.returncode, complete.stdout) == (0, dry.stdout), complete.stderr
    assert re.search(r"Batch \w+ is complete: 4\d records and \d drops of 12 anchors, 48 requests", complete.stderr)


def run(folder: Path, api_url: str, given: dict[str, Any], *flags: str) -> "subprocess.CompletedProcess[str]":
    """Run the flow generate as a person does, to its end."""
    return subprocess.run(
        [*command("generate", given), *flags],
        cwd=ROOT,
        env=environment(folder, api_url),
        capture_output=True,
        text=True,
        check=False,
    )
