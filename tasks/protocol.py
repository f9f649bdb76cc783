"""Protocols of papers: the trainings of their arms, what these are asked, and the page of all of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.sources.source import Corpus
from gainloop.store import Store, open_store
from gainloop.store.batches import stage_summary
from gainloop.store.checkpoints import checkpoint_folder, checkpoint_metrics, make_once
from gainloop.store.exams import read_exam
from gainloop.store.files import link_from, write_file
from gainloop.studies import recited
from gainloop.studies.bootstrapped import (
    ProtocolArm,
    arm_lineage,
    arm_parts,
    blank_lineage,
    blank_model,
    count_tokens,
    deal_texts,
    plan_of,
    score_checkpoint,
)
from gainloop.studies.bootstrapped_figures import Run, Scored
from gainloop.studies.protocols import EntiGraphProtocol, SBPProtocol
from gainloop.studies.recited import (
    ENTIGRAPH,
    RAW,
    REPHRASE,
    Reading,
    plan_readings,
    raw_text,
    read_stream,
    reading_lineage,
    reading_parts,
)
from schemas.exam import Asking, Condition
from schemas.profile import Profile
from schemas.protocol import Cost, ProtocolReport, TextRead
from tasks.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact
from tasks.evaluate import examine
from tasks.progress import Bar
from tasks.refresh import refresh_shown
from tasks.train import train_along

OnDone = Callable[[int, int], None]

Trained = Mapping[tuple[str, int], Sequence[str]]
"""Checkpoints along each run, by its arm and seed."""


def make_blanks(store: Store, paper: SBPProtocol, snapshot_id: str) -> list[str]:
    """Return a model that has read nothing for each seed; what is there is not made again."""

    def make(seed: int, folder: str) -> dict[str, Any]:
        from gainloop.models.start import make_model, make_tokenizer

        texts = deal_texts(store, paper, snapshot_id, "").unique
        tokenizer = make_tokenizer(texts, paper.model.vocabulary)
        model = make_model(blank_model(paper, seed), tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {"num_tokens": 0, "num_parameters": sum(weights.numel() for weights in model.parameters())}

    seeds = range(paper.seeds)
    return [make_once(store, blank_lineage(paper, snapshot_id, seed), partial(make, seed)) for seed in seeds]


def train_from_nothing(
    store: Store,
    profile: Profile,
    paper: SBPProtocol,
    arm: ProtocolArm,
    seed: int,
    snapshot_id: str,
    batch_id: str,
    bar: Bar,
) -> list[str]:
    """Return the checkpoints along one run of an arm of SBP's protocol."""
    blank_id = make_blanks(store, paper, snapshot_id)[seed]
    dealt = deal_texts(store, paper, snapshot_id, "")
    parts, plan = arm_parts(store, paper, arm, dealt, blank_id, batch_id), plan_of(paper)

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models.packing import orders_by
        from gainloop.models.pretraining import continue_pretraining

        start, orders = checkpoint_folder(store, blank_id), orders_by(f"{seed}/{blank_id}", arm.name)
        return continue_pretraining(parts, start, plan, profile.training, folder, orders, bar, notes_losses=False)

    fractions = [number / paper.points for number in range(1, paper.points + 1)]
    return train_along(store, fractions, lambda part: arm_lineage(paper, arm, parts, blank_id, batch_id, part), make)


class Ground(NamedTuple):
    """What all trainings of EntiGraph's protocol share; ``batches`` are those of rephrase and of EntiGraph."""

    snapshot_id: str
    general_id: str
    start_id: str
    batches: tuple[str, str]


def find_readings(store: Store, paper: EntiGraphProtocol, ground: Ground) -> list[Reading]:
    """Return every training of a seed, in the order in which they are run."""
    from gainloop.models.loading import load_tokenizer

    tokenizer = load_tokenizer(checkpoint_folder(store, ground.start_id))
    rephrased, stream = (read_stream(store, tokenizer, ground.snapshot_id, one, paper.seed) for one in ground.batches)
    replay = paper.replay if ground.general_id else 0.0
    return plan_readings(paper, raw_text(store, tokenizer, ground.snapshot_id), rephrased, stream, replay)


def train_reading(
    store: Store, profile: Profile, paper: EntiGraphProtocol, reading: Reading, seed: int, ground: Ground, bar: Bar
) -> str:
    """Return the checkpoint of one training of EntiGraph's protocol."""
    training, start_id = profile.training, ground.start_id
    parts = reading_parts(store, training.device, paper, reading, ground.general_id, start_id, ground.snapshot_id)

    def make(folder: str) -> dict[str, Any]:
        from gainloop.models.packing import orders_by
        from gainloop.models.pretraining import continue_pretraining

        plan, orders = recited.plan_of(paper, reading), orders_by(f"{seed}/{start_id}", reading.arm)
        start = checkpoint_folder(store, start_id)
        return continue_pretraining(parts, start, plan, training, folder, orders, bar, notes_losses=False)

    own = {RAW: [], REPHRASE: [*ground.batches[:1]], ENTIGRAPH: [*ground.batches[1:]]}[reading.arm]
    return make_once(store, reading_lineage(paper, reading, parts, start_id, seed, own), make)


def score_runs(
    store: Store, device: str, paper: SBPProtocol, trained: Trained, snapshot_id: str, general_id: str, bar: OnDone
) -> Scored:
    """Return what every checkpoint makes of every set; what was scored before is read."""
    sets = deal_texts(store, paper, snapshot_id, general_id).sets
    runs = {
        Run(arm, seed, (place + 1) / len(along)): checkpoint_id
        for (arm, seed), along in trained.items()
        for place, checkpoint_id in enumerate(along)
    }
    scored = {}
    for done, (run, checkpoint_id) in enumerate(runs.items()):
        bar(done, len(runs))
        scored[run] = score_checkpoint(store, device, checkpoint_id, sets)
    bar(len(runs), len(runs))
    return scored


def texts_read(store: Store, trained: Trained) -> list[TextRead]:
    """Return what the first seed of each arm read."""
    found = []
    for (arm, seed), along in trained.items():
        made = checkpoint_metrics(store, along[-1])
        if not seed:
            found += [
                TextRead(arm=arm, text=text, tokens=tokens, times=made["repetitions"][text])
                for text, tokens in made["tokens"].items()
            ]
    return found


def cost_of_training(store: Store, step: str, checkpoints: Sequence[str], note: str = "") -> Cost:
    """Return the tokens and seconds of some trainings."""
    made = [checkpoint_metrics(store, one) for one in checkpoints]
    seconds = [one["speed"]["seconds"] for one in made if "speed" in one]
    tokens = sum(round(one["num_tokens"]) for one in made)
    return Cost(step=step, tokens=tokens, seconds=sum(seconds) if len(seconds) == len(made) else None, note=note)


def cost_of_text(store: Store, step: str, batch_id: str) -> Cost:
    """Return the tokens and seconds of a batch: prompts and replies together."""
    made = stage_summary(store, batch_id, "generate") or {}
    prompts, replies = made["prompt_tokens"], made["completion_tokens"]
    note = f"{prompts:,} read and {replies:,} written; {made['records']:,} texts, {made['drops']:,} replies dropped"
    return Cost(step=step, tokens=prompts + replies, seconds=made["seconds"], note=note)


def count_drops(store: Store, batch_id: str) -> dict[str, int]:
    """Return how many replies of a batch gave no text, by reason."""
    rows = store.query(
        "select reason, count(*) as n from drops where batch_id = ? group by reason order by n desc, reason", batch_id
    )
    return dict(rows.iter_rows())


def unique_tokens(store: Store, paper: SBPProtocol, snapshot_id: str, blank_id: str) -> tuple[int, int]:
    """Return the tokens of the unique documents, and of the fresh ones."""
    dealt = deal_texts(store, paper, snapshot_id, "")
    return count_tokens(store, blank_id, dealt.unique), count_tokens(store, blank_id, dealt.fresh)


def save_protocol(store: Store, report: ProtocolReport) -> str:
    """Write a run's page and its JSON, and return the path of the page."""
    from gainloop.studies.protocol_page import render_protocol

    page = f"{store.folder}/protocols/{report.protocol}/protocol.html"
    write_file(page, render_protocol(report).encode())
    write_file(page.replace(".html", ".json"), report.model_dump_json(indent=2).encode())
    return page


@task(cache_policy=NO_CACHE, task_run_name="read {source.kind}")
def read_corpus(profile: Profile, source: Corpus, heldout_fraction: float) -> str:
    """Return the snapshot of a protocol's corpus, which is never the latest: few of its documents are trained on."""
    title = f"reading {source.kind}"
    return refresh_shown(profile, source, heldout_fraction, title, is_latest=False).snapshot_id


@task(cache_policy=NO_CACHE, task_run_name="make untrained models")
def prepare_blanks(profile: Profile, paper: SBPProtocol, snapshot_id: str) -> list[str]:
    return make_blanks(open_store(profile), paper, snapshot_id)


@task(cache_policy=NO_CACHE, task_run_name="train {arm.name} with seed {seed}")
def train_protocol_arm(
    profile: Profile, paper: SBPProtocol, arm: ProtocolArm, seed: int, snapshot_id: str, batch_id: str = ""
) -> list[str]:
    with Bar(f"train {arm.name}, seed {seed + 1} of {paper.seeds}", "steps") as bar:
        return train_from_nothing(open_store(profile), profile, paper, arm, seed, snapshot_id, batch_id, bar)


@task(cache_policy=NO_CACHE, task_run_name="score checkpoints")
def score_arms_along(profile: Profile, paper: SBPProtocol, trained: Trained, snapshot_id: str, general_id: str) -> None:
    """Score all checkpoints, so that ``score_runs`` finds it done."""
    with Bar("score checkpoints", "checkpoints") as bar:
        store, device = open_store(profile), profile.training.device
        score_runs(store, device, paper, trained, snapshot_id, general_id, bar)


@task(cache_policy=NO_CACHE, task_run_name="train reading {number} with seed {seed}")
def train_protocol_reading(profile: Profile, paper: EntiGraphProtocol, number: int, seed: int, ground: Ground) -> str:
    store = open_store(profile)
    reading = find_readings(store, paper, ground)[number]
    what = f"train on {reading.budget:,} tokens of {reading.arm}, seed {seed + 1} of {paper.seeds}"
    with Bar(what, "steps") as bar:
        return train_reading(store, profile, paper, reading, seed, ground, bar)


@task(cache_policy=NO_CACHE, task_run_name="ask {name}")
def ask_models(
    profile: Profile,
    exam_id: str,
    name: str,
    checkpoints: Sequence[str],
    conditions: Sequence[Condition],
    asking: Asking,
) -> dict[str, list[str]]:
    """Return the urls of the answers of all seeds of one model by condition; nothing is asked twice."""
    store = open_store(profile)
    exam = read_exam(store, exam_id)
    with Bar(f"ask {name}", "questions") as bar:
        urls = [examine(store, profile, exam, one, conditions, asking, bar) for one in checkpoints]
    return {condition: [found[condition] for found in urls] for condition in conditions}


def publish_protocol(profile: Profile, report: ProtocolReport, page: str) -> None:
    """Show a run on its page in Prefect."""
    from gainloop.reports.plots import as_png_uri
    from gainloop.studies.protocol_page import draw_protocol, list_lines

    key, url = f"protocol-{report.protocol}", link_from(profile, page)
    head = "| asked | arm | value | 95 % interval | unit | n |\n|---|---|---:|---|---|---:|"
    rows = [
        f"| {name} | {arm} | {one.number} | {one.interval} | {one.unit} | {one.n:,} |"
        for name, arm, one in list_lines(report)
    ]
    link = f"[The whole page]({url}), where `gainloop serve` runs."
    markdown = "\n".join([f"**{report.headline}**", "", *report.limits, "", head, *rows, "", link])
    create_markdown_artifact(markdown, key=key, description=report.headline)
    for title, canvas in draw_protocol(report)[:1]:
        create_image_artifact(as_png_uri(canvas, title), f"{key}-plot", title)
    create_link_artifact(
        url, key=f"{key}-page", link_text=f"The whole page ({Path(page).name})", description=report.headline
    )
