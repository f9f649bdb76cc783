"""A writer of a store, as a process: ``python -m tests.store.writing PROFILE NAME CALLS ROWS``.

It says ``ready``, waits for a line, and inserts CALLS times ROWS records of the batch NAME, saying after each how many
were new; NAME ``same`` is of records that others write too.
"""

import sys

import polars as pl

from gainloop.store import open_store


def records(batch_id: str, call: int, num_rows: int) -> pl.DataFrame:
    """Return the records of one call."""
    rows = range(call * num_rows, (call + 1) * num_rows)
    return pl.DataFrame(
        {
            "batch_id": batch_id,
            "record_id": [f"{row:07}" for row in rows],
            "anchor_id": [f"a{row % 97}" for row in rows],
            "method": "m",
            "facet": "",
            "text": [f'It\'s record {row} of the batch {batch_id}, and "quoted" too.\n' * 3 for row in rows],
            "request_ids": [[f"q{row}", "it's"] for row in rows],
            "num_bytes": list(rows),
            "turns": "",
        }
    )


def main(profile: str, batch_id: str, num_calls: int, num_rows: int) -> None:
    store = open_store(profile)
    store.query("select 1")
    print("ready", flush=True)
    sys.stdin.readline()
    for call in range(num_calls):
        drops = [{"batch_id": batch_id, "anchor_id": f"a{call}", "facet": "", "reason": "r", "request_id": ""}]
        added = store.insert(records=records(batch_id, call, num_rows), drops=drops)
        print(added["records"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
