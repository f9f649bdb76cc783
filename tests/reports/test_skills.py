"""What the report says of conversations with tools and of invented instructions, beside a count by hand."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from rouge_score.rouge_scorer import RougeScorer

from gainloop.methods.self_instruct import SelfInstruct
from gainloop.methods.tool_prompts import JUDGE
from gainloop.reports.batch import measure_batch
from gainloop.reports.evidence import Evidence
from gainloop.reports.page import list_figures, render_page, write_markdown
from gainloop.reports.skills import measure_instructions, measure_tools
from gainloop.store import open_store
from gainloop.store.batches import kept_records
from schemas.conversation import read_turns, write_turns
from schemas.curation import Curation
from schemas.instruction import Instruction, instruction_of, write_group
from schemas.profile import Prices, Profile, StoreSettings
from schemas.recipe import Recipe, Sampling
from schemas.report import Report
from schemas.sections import Section
from tasks.report import gather_evidence
from tasks.validate import validate_batch
from tests.evidence import make_evidence
from tests.ledger import write_tasks, write_texts
from tests.serving.stub_model import prompt_text
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.shop_batch import IDLE, LEAKING, MUTE, REFUSED, SILENT, TASKS, says
from tests.shop_batch import RECIPE as SHOP_RECIPE
from tests.test_generate import finish, generate, on_servers

PRICES = Prices(prompt=2, completion=10)
GROUPS, ASKED = 12, 4


class Made:
    """A batch that was made by a stub server, validated and measured."""

    def __init__(self, folder: Path, stub: Stub, recipe: Recipe) -> None:
        own = StoreSettings(url=str(folder / "gainloop.duckdb"))
        bare = Profile(name="test", folder=str(folder), store=own, prices=PRICES)
        place, self.stub = on_servers(bare, stub), stub
        self.store = open_store(place)
        self.recipe, self.place = recipe, place

    def measure(self) -> "Made":
        self.summary = finish(self.place, self.recipe, generate(self.place, self.recipe))
        validate_batch(self.store, self.recipe.batch_id, Curation())
        self.kept = kept_records(self.store, self.recipe.batch_id)
        self.evidence = gather_evidence(self.store, self.recipe.batch_id)
        self.report = measure_batch(self.evidence)
        return self

    @property
    def prompts(self) -> list[str]:
        """The prompts that the server was sent, without those of its check."""
        return [prompt_text(body) for body in self.stub.requests if body["max_tokens"] > 1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with stub_server(StubOptions(says=says, context_tokens=100_000)) as stub:
        made = Made(tmp_path_factory.mktemp("shop"), stub, SHOP_RECIPE)
        write_tasks(made.store, SHOP_RECIPE.snapshot_id, TASKS)
        yield made.measure()


def test_each_stage_has_who_came_and_who_passed_with_the_share_and_its_interval(shop: Made) -> None:
    tools, num_kept = shop.report.tools, shop.kept.height
    assert tools is not None
    lost = [MUTE, LEAKING, IDLE, SILENT, REFUSED]
    came = [len(TASKS) - sum(map(len, lost[:stage])) for stage in range(len(lost) + 1)]

    assert [(one.stage, one.came, one.passed) for one in tools.stages] == [
        *zip(("played", "user", "state", "said", "rubric"), came, came[1:], strict=False),
        ("kept", 7, num_kept),
    ]
    for row in tools.stages:
        figure = getattr(tools, row.stage)
        assert (figure.value, figure.n, figure.clusters) == (row.passed / row.came, row.came, row.came)
        assert figure.low <= figure.value <= figure.high
        assert figure.low < figure.high, "a share is never certain"
    assert (tools.accepted.value, tools.accepted.n) == (num_kept / 16, 16)
    assert num_kept >= 5


def test_each_tool_has_the_share_of_kept_conversations_that_call_it(shop: Made) -> None:
    tools = shop.report.tools
    assert tools is not None
    emails = [turns.split('"email\\": \\"')[1].split("\\")[0] for turns in shop.kept["turns"]]
    kept = [one for one in TASKS if one.scenario.known["e-mail address"] in emails]
    called = Counter(name for task in kept for name in {call.name for call in task.actions} | {"find_customer"})

    shares = {one.tool: one.share.value for one in tools.calls}
    assert len(kept) == shop.kept.height
    assert {name: share for name, share in shares.items() if share} == {
        name: count / len(kept) for name, count in called.items()
    }
    assert len(shares) == 10
    assert (tools.never_called.value, tools.never_called.n) == (10 - len(called), 10)
    assert {one.share.n for one in tools.calls} == {len(kept)}


def test_an_accepted_conversation_costs_all_requests_of_users_agents_and_judges_and_all_that_was_lost(
    shop: Made,
) -> None:
    tools, num_kept = shop.report.tools, shop.kept.height
    assert tools is not None
    asked = {
        "user": sum("You are the user" in one for one in shop.prompts),
        "agent": sum("You are the agent" in one for one in shop.prompts),
        "judge": sum(one.endswith(JUDGE) for one in shop.prompts),
    }
    tokens = shop.summary["prompt_tokens"] + shop.summary["completion_tokens"]

    assert {one.part: one.requests for one in tools.spent} == asked
    assert sum(asked.values()) == len(shop.prompts) == shop.summary["requests"]
    assert sum(one.tokens for one in tools.spent) == tokens
    assert tools.requests.value == pytest.approx(len(shop.prompts) / num_kept)
    assert tools.tokens.value == pytest.approx(tokens / num_kept)
    assert tools.tokens.low is not None
    assert tools.tokens.low < tokens / num_kept
    price = (shop.summary["prompt_tokens"] * 2 + shop.summary["completion_tokens"] * 10) / 1e6
    money = shop.report.cost.money_per_1k_kept
    assert money is not None
    assert (money.amount, money.currency) == (pytest.approx(1000 * price / num_kept), "USD")


def test_page_markdown_and_json_have_the_section_and_of_other_methods_they_have_not(shop: Made) -> None:
    tools, other = shop.report.tools, measure_batch(make_evidence(num_anchors=24))
    assert tools is not None
    page, markdown = render_page(shop.report), write_markdown(shop.report)
    for line in list_figures(shop.report)[Section.TOOLS]:
        for shown in (line.words.title, line.figure.number, line.figure.interval):
            assert shown in page
            assert shown in markdown
    for one in tools.calls:
        assert f'<th scope="row">{one.tool}</th>' in page
        assert f"| `{one.tool}` | {one.share.number} {one.share.interval} share | {one.share.n} |" in markdown
    assert Report.model_validate_json(shop.report.model_dump_json()) == shop.report
    assert other.tools is other.instructions is None
    assert 'id="tools"' not in render_page(other)
    assert Section.TOOLS not in write_markdown(other)
    assert not {Section.TOOLS, Section.INSTRUCTIONS} & set(list_figures(other))


def test_the_page_of_conversations_with_tools_is_no_wider_than_its_window(shop: Made, tmp_path: Path) -> None:
    from tests.browser import open_page, require_text

    (tmp_path / "report.html").write_text(render_page(shop.report))
    with open_page((tmp_path / "report.html").as_uri()) as page:
        require_text(page, "Conversations by stage", "tools")
        for width in (1280, 800, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_judge_the_rubric_is_not_measured_and_without_records_nothing_is_by_them(shop: Made) -> None:
    unjudged = shop.recipe.model_dump(mode="json")
    unjudged["method"] |= {"judge": False}
    found = measure_tools(replace(shop.evidence, recipe=unjudged))
    none = measure_tools(replace(shop.evidence, records=shop.evidence.records.clear()))

    assert found is not None
    assert none is not None
    assert (found.rubric.value, found.rubric.status) == (None, "not measured: the recipe has no judge")
    assert none.tokens.status == "not measured: no conversation was accepted"
    assert none.never_called.status == "not measured: no conversation was kept"
    assert none.calls == []
    assert (none.accepted.value, none.kept.status) == (0, "not measured: no conversation came so far")


def test_a_request_that_was_never_answered_counts_without_tokens(shop: Made) -> None:
    lost = {"anchor_id": shop.evidence.anchors["anchor_id"][0], "facet": "level 1: user", "reason": "deadline"}
    drops = pl.concat([shop.evidence.drops, pl.DataFrame([lost | {"request_id": "never"}] * 2)], how="diagonal")
    before, after = (measure_tools(one) for one in (shop.evidence, replace(shop.evidence, drops=drops)))

    assert before is not None
    assert after is not None
    assert after.requests.value == pytest.approx((len(shop.prompts) + 1) / shop.kept.height)
    assert after.tokens == before.tokens


def rows_of(path: Path) -> list[Instruction]:
    lines = map(json.loads, path.read_text().splitlines())
    return [
        Instruction(" ".join(row["instruction"].split()), "", row["instances"][0]["output"].strip()) for row in lines
    ]


def changed(text: str, share: float) -> str:
    """Return a text whose last words, a share of them, are others."""
    words = text.split()
    num_new = max(1, round(share * len(words)))
    return " ".join([*words[:-num_new], *(f"else{number}" for number in range(num_new))])


@pytest.fixture(scope="module")
def instructed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A batch of self_instruct on groups of real seeds; its generator says other real instructions and their answers,
    and in each group a seed of another one, with a word or with four in ten that are others."""
    folder = shared_data / "self_instruct"
    seeds = [
        Instruction(one.text)
        for one in rows_of(folder / "seed_tasks.jsonl")
        if len(one.text) < 200 and one.text.isascii()
    ]
    others = [
        one
        for one in rows_of(folder / "user_oriented_instructions.jsonl")
        if one.text.isascii() and len(one.text) < 300 and 40 < len(one.output) < 600 and one.output.isascii()
    ]
    rng = Random(7)
    groups = [rng.sample(seeds, 8) for _ in range(GROUPS)]
    listed = [others[ASKED * number : ASKED * (number + 1)] for number in range(GROUPS)]
    again = [changed(groups[number - 1][0].text, 1 / 12 if number % 2 else 0.4) for number in range(GROUPS)]

    def answer(prompt: str) -> str:
        for number, group in enumerate(groups):
            if write_group(group) in prompt:
                return json.dumps({"instructions": [one.text for one in listed[number]] + [again[number]]})
        return next((one.output for one in others if f"{one.text} Write" in prompt), "It is the mill by the river.")

    recipe = Recipe(
        method=SelfInstruct(instructions=ASKED + 1, instances=1, prompts="plain").model_dump(mode="json"),
        snapshot_id="groups",
        model="stub",
        revision="/models/stub",
        sampling=Sampling(max_tokens=400),
    )
    with stub_server(StubOptions(says=answer, context_tokens=100_000)) as stub:
        made = Made(tmp_path_factory.mktemp("instructed"), stub, recipe)
        write_texts(made.store, "groups", [write_group(group) for group in groups])
        yield made.measure()


def test_the_likeness_of_instructions_to_seeds_is_what_rouge_score_says_of_every_pair(instructed: Made) -> None:
    found, peer = instructed.report.instructions, RougeScorer(["rougeL"])
    assert found is not None
    seeds = {
        line.partition(". ")[2] for text in instructed.evidence.anchors["text"] for line in text.split("\n") if line
    }
    texts = {instruction_of(read_turns(turns)) for turns in instructed.kept["turns"]}
    scores = [max(peer.score(seed, text)["rougeL"].fmeasure for seed in seeds) for text in texts]

    assert len(texts) > 15
    assert found.likeness.value == pytest.approx(np.median(scores))
    assert (found.likeness.n, found.likeness.unit) == (len(texts), "ROUGE-L")
    assert found.likeness.low is not None
    assert found.likeness.low <= found.likeness.value <= (found.likeness.high or 0)
    assert found.new.value == pytest.approx(np.mean(np.array(scores) <= 0.7 + 1e-9))
    assert found.far.value == pytest.approx(np.mean(np.array(scores) <= 0.5 + 1e-9))
    assert 0 < found.far.value < 1


def test_the_most_common_start_is_counted_over_instructions_and_over_seeds(instructed: Made) -> None:
    found = instructed.report.instructions
    assert found is not None
    texts = [instruction_of(read_turns(turns)) for turns in instructed.kept["turns"]]
    starts = Counter(" ".join(text.split()[:3]) for text in texts)

    assert found.common_start.value == pytest.approx(max(starts.values()) / len(texts), abs=1 / len(texts))
    assert sum(text.startswith(found.start) for text in texts) == round(found.common_start.value * len(texts))
    assert found.seeds_common_start.n > 50
    assert 'id="instructions"' in render_page(instructed.report)
    assert instructed.report.tools is None


def test_a_generator_that_says_one_thing_over_and_over_is_seen_by_its_start(instructed: Made) -> None:
    records = instructed.evidence.records
    asked = [Instruction(f"Write a poem about {number}.", output="No.").turns for number in range(records.height)]
    same = records.with_columns(turns=pl.Series([write_turns(one) for one in asked]))
    found = measure_instructions(replace(instructed.evidence, records=same))

    assert found is not None
    assert (found.common_start.value, found.start) == (1, "Write a poem")


def test_without_seeds_or_records_nothing_is_compared(instructed: Made) -> None:
    evidence: Evidence = instructed.evidence
    no_seeds = measure_instructions(replace(evidence, anchors=evidence.anchors.with_columns(text=pl.lit("A mill."))))
    no_records = measure_instructions(replace(evidence, records=evidence.records.clear()))

    assert no_seeds is not None
    assert no_records is not None
    assert no_seeds.likeness.status == "not measured: no anchor of the batch is a group of instructions"
    assert no_records.new.status == "not measured: no record was kept"
    assert no_records.common_start.value is None
