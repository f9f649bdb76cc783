from itertools import product

import pytest

from gainloop.models.batches import Places
from gainloop.models.conversations import IGNORED
from gainloop.models.shares import Shares, share_out

SHARES = [share_out(*sizes) for sizes in product((1, 7, 23, 60), (1, 2, 5, 12, 17), (1, 3, 9), (1, 2, 3, 5))]
"""Rows, rows of an update, rows of a pass at most, processes."""


def test_every_update_has_the_rows_that_one_process_has_in_it() -> None:
    for shares in SHARES:
        for step in range(shares.num_steps):
            read = [row for process in range(shares.processes) for row in shares.rows_of(process, step)]
            first = step * shares.rows_per_step
            until = min(first + shares.rows_per_step, shares.num_rows)
            assert sorted(row for row in read if row is not None) == list(range(first, until)), shares


def test_processes_share_every_update_as_evenly_as_it_can_be() -> None:
    for shares in SHARES:
        each = -(-shares.rows_per_step // shares.processes)
        assert each <= shares.rows_at_once * shares.batches < each + shares.batches, shares
        assert shares.processes > 1 or shares.slots == shares.rows_per_step


@pytest.mark.parametrize("most", [1, 3, 9])
def test_a_pass_has_no_more_rows_than_there_is_memory_for(most: int) -> None:
    assert max(share_out(60, 17, most, processes).rows_at_once for processes in range(1, 6)) <= most


def test_the_places_of_a_process_are_those_that_accelerate_deals_to_it() -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    shares: Shares = share_out(23, 5, 2, 2)
    places = BatchSampler(range(shares.num_places), shares.rows_at_once, drop_last=False)
    for process in range(2):
        dealt = [shares.row_at(place) for batch in BatchSamplerShard(places, 2, process) for place in batch]
        assert dealt == [row for step in range(shares.num_steps) for row in shares.rows_of(process, step)]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_stands_at_an_empty_place_carries_no_loss(processes: int) -> None:
    rows = [{"input_ids": [n, n], "labels": [n, n]} for n in range(1, 4)]
    shares = share_out(len(rows), 3, 8, processes)
    read = [Places(rows, shares, pad=0)[place] for place in range(shares.num_places)]

    assert read[:3] == rows
    assert read[3:] == [{"input_ids": [0], "labels": [IGNORED]}] * (processes - 1)
