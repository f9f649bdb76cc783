"""How often a 95 % interval holds the truth where clusters are unequal, rows heavy-tailed, or shares near 0 and 1.

``python -m benchmarks.coverage`` prints a table in about a minute: what ``gainloop.measures.estimate`` gives, and
beside it what was tried instead. ``--json`` prints one object as its last line.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gainloop.measures.estimate import Estimate, mean_of, over_seeds, paired_ratio, ratio_of_sums, share_of
from gainloop.measures.intervals import Floats, t_quantile

SIZES: dict[str, list[int]] = {
    "one of 100 rows, 31 of 1": [100] + [1] * 31,
    "one of 500 rows, 199 of 2": [500] + [2] * 199,
    "Zipf, 50 clusters": [max(1, round(200 / rank)) for rank in range(1, 51)],
    "Zipf, 200 clusters": [max(1, round(400 / rank)) for rank in range(1, 201)],
    "equal, 32 of 8": [8] * 32,
    "equal, 8 of 4": [4] * 8,
    "1 to 8 rows, 32 clusters": list(range(1, 9)) * 4,
    "three of 50, 30 of 1": [50] * 3 + [1] * 30,
}
"""Rows of each cluster."""

SHARED = (0.0, 0.3, 1.0)
"""Parts of the rows' variance that their cluster has in common: none, some, all."""

SHARES = (0.02, 0.1, 0.98)
SEEDS = 3


@dataclass(frozen=True, slots=True)
class Covered:
    """How often intervals held the truth; ``too_few`` is the share of draws that were given none."""

    measure: str
    sizes: str
    shared: float
    covered: float | None
    half_width: float | None
    too_few: float
    others: dict[str, float]


Draw = Callable[[np.random.Generator], tuple[Estimate, dict[str, tuple[float, float]]]]


def measure_coverage(draws: int = 1_000) -> Iterator[Covered]:
    """Yield the coverage of each kind of interval for each kind of clusters, from made-up rows whose mean is known."""
    for sizes in SIZES:
        for shared in SHARED:
            yield _cover("mean, normal rows", sizes, shared, draws, 0.0, _means(sizes, shared, normal))
            yield _cover("mean, lognormal rows", sizes, shared, draws, np.exp(0.5), _means(sizes, shared, np.exp))
        yield _cover("ratio of sums", sizes, 0.3, draws, 1.5, _ratios(sizes))
        for share in SHARES:
            yield _cover(f"share of {share:g}", sizes, 0.3, draws, share, _shares(sizes, share))
        yield _cover(f"{SEEDS} seeds, apart by 0.3", sizes, 0.3, draws, 0.0, _seeds(sizes))
    yield _cover("recovered 0.5, 24 documents", "equal, 32 of 8", 0.3, draws // 5, 0.5, _recovered)


def normal(rows: Floats) -> Floats:
    return rows


def draw_rows(rng: np.random.Generator, sizes: str, shared: float) -> tuple[Floats, Floats]:
    """Return standard normal rows of which a part of the variance is their cluster's, and their clusters."""
    names = np.repeat(np.arange(len(SIZES[sizes])), SIZES[sizes])
    common = rng.normal(size=len(SIZES[sizes]))[names]
    return np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=len(names)), names.astype(float)


def _means(sizes: str, shared: float, tail: Callable[[Floats], Floats]) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Estimate, dict[str, tuple[float, float]]]:
        rows, names = draw_rows(rng, sizes, shared)
        return mean_of(tail(rows), names, "nats"), rivals(tail(rows), np.ones_like(rows), names)

    return draw


def _ratios(sizes: str) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Estimate, dict[str, tuple[float, float]]]:
        rows, names = draw_rows(rng, sizes, 0.3)
        num_bytes = np.exp(rng.normal(0, 0.5, len(rows)))
        nats = num_bytes * (1.5 + 0.4 * rows)
        return ratio_of_sums(nats, num_bytes, names, "nats/byte"), rivals(nats, num_bytes, names)

    return draw


def _shares(sizes: str, share: float) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Estimate, dict[str, tuple[float, float]]]:
        names = np.repeat(np.arange(len(SIZES[sizes])), SIZES[sizes])
        own = rng.beta(share * 7 / 3, (1 - share) * 7 / 3, size=len(SIZES[sizes]))  # 0.3 of the variance is shared
        flags = (rng.random(len(names)) < own[names]).astype(float)
        return share_of(flags, names), rivals(flags, np.ones_like(flags), names)

    return draw


def _seeds(sizes: str) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Estimate, dict[str, tuple[float, float]]]:
        rows, names = draw_rows(rng, sizes, 0.3)
        table = rows + rng.normal(0, 0.3, (SEEDS, 1)) + rng.normal(0, 0.5, (SEEDS, len(rows)))
        alone = mean_of(table.mean(axis=0), names, "share")
        held = {} if alone.low is None or alone.high is None else {"clusters alone": (alone.low, alone.high)}
        return over_seeds(table, names, "share"), held

    return draw


def _recovered(rng: np.random.Generator) -> tuple[Estimate, dict[str, tuple[float, float]]]:
    names = np.repeat(np.arange(24), 6)
    before = rng.beta(2, 4, 24)[names]
    most = before + 0.7 * (1 - before)
    after = (before + most) / 2 + rng.normal(0, 0.03, (SEEDS, 1))
    right = [(rng.random(np.shape(chance)) < chance).astype(float) for chance in (before, after, most)]
    return paired_ratio(*right, names), {}


def rivals(top: Floats, bottom: Floats, names: Floats) -> dict[str, tuple[float, float]]:
    """Return the intervals that were tried: t with clusters - 1, the same with CR2 residuals, and bootstrap-t."""
    _, members = np.unique(names, return_inverse=True)
    tops, bottoms = (np.bincount(members, weights=column) for column in (top, bottom))
    value, plain, reduced = _errors(tops[None], bottoms[None])
    half = t_quantile(len(tops) - 1)
    found = {"t": (value[0] - half * plain[0], value[0] + half * plain[0])}
    found["CR2"] = (value[0] - half * reduced[0], value[0] + half * reduced[0])
    chosen = np.random.default_rng(0).integers(len(tops), size=(199, len(tops)))
    values, _, errors = _errors(tops[chosen], bottoms[chosen])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (values - value[0]) / errors
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) > 50:
        low, high = np.quantile(ratios, [0.025, 0.975])
        found["bootstrap-t"] = (value[0] - high * reduced[0], value[0] - low * reduced[0])
    return found


def _errors(tops: Floats, bottoms: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the ratio of each row's sums, its plain cluster-robust standard error, and that of CR2."""
    sums = bottoms.sum(axis=1)
    values = tops.sum(axis=1) / sums
    residuals = (tops - values[:, None] * bottoms) / sums[:, None]
    number = tops.shape[1]
    weights = np.minimum(bottoms / sums[:, None], 0.999)
    plain = np.sqrt(number / (number - 1) * (residuals**2).sum(axis=1))
    return values, plain, np.sqrt((residuals**2 / (1 - weights)).sum(axis=1))


def _cover(measure: str, sizes: str, shared: float, draws: int, truth: float, draw: Draw) -> Covered:
    rng = np.random.default_rng(0)
    found = [draw(rng) for _ in range(draws)]
    given = [(one.low, one.high) for one, _ in found if one.low is not None and one.high is not None]
    names = sorted({name for _, others in found for name in others})
    return Covered(
        measure,
        sizes,
        shared,
        float(np.mean([low <= truth <= high for low, high in given])) if given else None,
        float(np.median([(high - low) / 2 for low, high in given])) if given else None,
        1 - len(given) / draws,
        {name: float(np.mean([_holds(others.get(name), truth) for _, others in found])) for name in names},
    )


def _holds(ends: tuple[float, float] | None, truth: float) -> bool:
    return ends is not None and ends[0] <= truth <= ends[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400, help="number of made-up samples a line")
    parser.add_argument("--json", action="store_true", help="print one object as the last line")
    asked = parser.parse_args()
    lines = []
    print(f"{'':28}{'clusters':28}{'shared':>7}{'covered':>9}{'half':>8}   instead")
    for line in measure_coverage(asked.draws):
        lines.append(line)
        covered = "too few" if line.covered is None else f"{line.covered:.3f}"
        half = "" if line.half_width is None else f"{line.half_width:.3g}"
        others = ", ".join(f"{name} {share:.3f}" for name, share in line.others.items())
        print(f"{line.measure:28}{line.sizes:28}{line.shared:7.1f}{covered:>9}{half:>8}   {others}", flush=True)
    if asked.json:
        print(json.dumps([{name: getattr(one, name) for name in Covered.__slots__} for one in lines]))


if __name__ == "__main__":
    main()
