"""The HTML page of a verification."""

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from schemas.verification import Verification, Worth
from tasks.measures.findings import DELTA_I
from tasks.pages.page import drawn, open_template
from tasks.pages.verification_plots import draw_batches, draw_regret, draw_worth

CAPTIONS: Final = {
    "worth": (
        "How closely each predictor goes with the verdict, with 95 % intervals over batches. Blue: the one hypothesis. "
        "Orange: its interval lies on the expected side of 0. The grey line is the most that can be expected."
    ),
    "regret": (
        "What is lost by training on the batch that a predictor likes best, with 95 % intervals over batches. 0 is the "
        "choice of someone who knows the verdict."
    ),
    "primary": "Every batch by the one hypothesis and its verdict: what was foretold, and what came.",
    "delta_i": "Every batch by Delta I per byte and its verdict: high Delta I can be insight, or noise.",
}

FINDINGS: Final = {
    "predicts": "The interval of the rank correlation lies on the expected side of 0.",
    "predicts the opposite": "It lies on the other side.",
    "not shown": "It holds 0: on these batches the figure is no guide.",
    "not measured": "There are too few batches that have it, or all are alike.",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One predictor as the page shows it."""

    name: str
    meaning: str
    expected: str
    is_primary: bool
    worth: Worth

    @property
    def p(self) -> str:
        """The share of shuffles with as strong a correlation."""
        p = self.worth.chance.value
        return "" if p is None else f"{p:.4f}"


def list_worth(verification: Verification) -> list[Line]:
    """Return what each predictor is worth: the primary one first, then the strongest."""
    about = {predictor.key: predictor for predictor in verification.predictors}
    lines = []
    for worth in verification.worth:
        predictor = about[worth.predictor]
        is_primary = predictor.key == verification.primary
        lines.append(Line(predictor.name, predictor.meaning, predictor.expected, is_primary, worth))
    return sorted(lines, key=lambda line: (not line.is_primary, -abs(line.worth.correlation.value or 0.0)))


def render_verification(verification: Verification) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    return open_template("verification.html.j2").render(
        verification=verification,
        lines=list_worth(verification),
        drawings=_draw(verification),
        batches=sorted(verification.batches, key=lambda batch: -(batch.verdict.value or 0.0)),
        readings={name: FINDINGS[name] for name in FINDINGS if name in {worth.finding for worth in verification.worth}},
        delta_i=DELTA_I if any(each.key == DELTA_I for each in verification.predictors) else "",
        names={predictor.key: predictor.name for predictor in verification.predictors},
    )


def _draw(verification: Verification) -> list[tuple[Markup, str]]:
    about = {predictor.key: predictor for predictor in verification.predictors}
    canvases = {"worth": draw_worth(verification), "regret": draw_regret(verification)}
    for name, key in (("primary", verification.primary), ("delta_i", DELTA_I)):
        if key in about:
            canvases[name] = draw_batches(verification, about[key])
    return [drawn(canvas, CAPTIONS[name]) for name, canvas in canvases.items() if canvas]
