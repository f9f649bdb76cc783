"""Trainings in the invented world: which there are, and what their losses are of."""

import numpy as np
import pytest

from gainloop.models.start import make_model
from gainloop.studies.trainee import Schedule, Vocabulary, continue_on, losses_of
from gainloop.studies.world import make_world, write_document
from gainloop.studies.world_runs import MODEL, list_jobs
from schemas.studies import InventedWorld

WORLD = make_world(0, 8, 8, 4)
VOCABULARY = Vocabulary.of(WORLD)
ROWS = [VOCABULARY.row(write_document(entity)) for entity in WORLD.anchors]


def test_every_job_has_a_name_of_its_own_and_the_probe_runs_come_first() -> None:
    jobs = list_jobs(InventedWorld(batches=6, seeds=2, updates=4))
    assert len({job.name for job in jobs}) == len(jobs) == 7 * 3
    assert {job.updates for job in jobs[:7]} == {1}
    assert {job.updates for job in jobs[7:]} == {4}


def test_online_losses_are_those_before_a_text_was_learnt_from() -> None:
    model = make_model(MODEL, VOCABULARY.tokenizer)
    before = losses_of(model, ROWS)
    (online,) = continue_on(model, [ROWS], Schedule(1, 10_000, 1e-2), 0)
    assert np.allclose(online, before, rtol=1e-4)
    assert (losses_of(model, ROWS) < before).all()


def test_what_is_only_read_is_not_predicted() -> None:
    model = make_model(MODEL, VOCABULARY.tokenizer)
    text = write_document(WORLD.anchors[0])
    alone, after = losses_of(model, [VOCABULARY.row(text), VOCABULARY.row(text, ("ka", "dan"))])
    whole, read = losses_of(model, [VOCABULARY.row(("ka", "dan", *text)), (VOCABULARY.row(("ka", "dan"))[0][:-1], 0)])
    assert after == pytest.approx(whole - read, rel=1e-5)
    assert alone != pytest.approx(after, rel=1e-5)
