from gainloop.serving.queue import START, Limit


def serve(limit: Limit, seconds: float, most_at_once: int, latency: float = 0.2, refuse_above: int = 0) -> list[int]:
    """Let a server that works on so many at once answer for a while, always asked for as many as the limit lets.

    Returns:
        The limit at every tenth of a second.
    """
    values = []
    now, end = limit.now, limit.now + seconds
    while now < end:
        now += 0.1
        if 0 < refuse_above < limit.value:
            limit.refused(now, now - 0.001, limit.value)
        rate = min(limit.value, most_at_once) / latency
        for _ in range(int(rate * 0.1)):
            limit.answered(now, is_full=True)
        limit.waited(now, is_full=True)
        values.append(limit.value)
    return values


def test_it_grows_to_the_ceiling_while_throughput_grows() -> None:
    limit = Limit(1000, 0.0)
    values = serve(limit, 20, most_at_once=10_000)

    assert values == sorted(values)
    assert values[-1] == 1000


def test_it_stays_where_throughput_no_longer_grows() -> None:
    limit = Limit(4096, 0.0)
    values = serve(limit, 60, most_at_once=256)

    assert max(values) <= 1024
    assert sum(value in (256, 512) for value in values) > 0.9 * len(values)


def test_it_begins_at_the_ceiling_if_that_is_small() -> None:
    assert Limit(7, 0.0).value == 7
    assert Limit(10_000, 0.0).value == START


def test_long_replies_do_not_keep_it_small() -> None:
    limit = Limit(1024, 0.0)
    for second in range(1, 6):
        limit.waited(float(second), is_full=True)

    assert limit.value == 1024


def test_it_does_not_grow_where_nothing_waits_for_it() -> None:
    limit = Limit(1024, 0.0)
    for second in range(1, 60):
        limit.answered(float(second), is_full=False)
        limit.waited(float(second), is_full=False)

    assert limit.value == START


def test_a_refusal_halves_it_once_for_all_that_were_sent_before() -> None:
    limit = Limit(1024, 0.0)
    assert limit.refused(1.0, sent_at=0.5, num_open=128)
    assert not limit.refused(1.1, sent_at=0.9, num_open=127)
    assert limit.value == 64

    assert limit.refused(1.2, sent_at=1.15, num_open=64)
    assert limit.value == 32


def test_it_is_never_less_than_one() -> None:
    limit = Limit(2, 0.0)
    for second in range(1, 9):
        limit.refused(float(second), sent_at=second - 0.1, num_open=1)

    assert limit.value == 1


def test_it_settles_just_below_what_a_server_refuses() -> None:
    limit = Limit(512, 0.0)
    values = serve(limit, 60, most_at_once=64, refuse_above=64)[100:]

    assert sum(values) / len(values) > 0.75 * 64
    assert max(values) <= 66
