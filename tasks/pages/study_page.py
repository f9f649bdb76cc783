"""The HTML page of a simulation."""

from typing import Final

from schemas.simulation import Kind, Simulation
from tasks.pages.page import drawn, open_template
from tasks.pages.study_plots import draw_gaps, draw_setting
from tasks.study.findings import NAMES
from tasks.study.kl_gap import World

CAPTIONS: Final[dict[Kind, str]] = {
    "published": "Two histograms whose bins lie in different places, compared bin by bin.",
    "reverse": "What the trainee says that is not in the truth. Above 0, synthetic text has helped.",
    "forward": "The trainee's excess loss on new text. Above 0, synthetic text has helped.",
}

SETTING: Final = (
    "One setting with K = J = L = 2: the anchors, the generator's components (two standard deviations), and what it "
    "makes of them."
)

LETTERS: Final = {
    "k": "K, components of the truth that there are anchors of",
    "j": "J, further ones of the truth that the generator knows",
    "l": "L, components that the generator invents",
}


def render_simulation(simulation: Simulation, world: World) -> str:
    """Return the page as HTML.

    Args:
        world: Its first setting is drawn.
    """
    drawings = [drawn(draw_setting(world), SETTING)]
    drawings += [
        drawn(draw_gaps(simulation.points, kind), f"{NAMES[kind]}. {caption}") for kind, caption in CAPTIONS.items()
    ]
    return open_template("simulation.html.j2").render(
        simulation=simulation, drawings=drawings, letters=LETTERS, names=NAMES
    )
