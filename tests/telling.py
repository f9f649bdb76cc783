"""A made-up county of mills: documents, questions about them, and a generator that tells, lies, copies or repeats."""

import json
import re
from pathlib import Path
from random import Random
from typing import Final

FIRST: Final = ["Ash", "Bren", "Cor", "Dun", "Esk", "Far", "Grim", "Hath", "Iv", "Kel", "Lor", "Mar"]
LAST: Final = ["by", "low", "vane", "mere", "ford", "lowe"]
VALUES: Final = {
    "river": ["Tarn", "Wey", "Ouse", "Colne", "Severn", "Nidd", "Calder", "Yar"],
    "grain": ["rye", "oats", "barley", "wheat", "maize", "millet", "spelt", "hemp"],
    "stone": ["slate", "chalk", "granite", "flint", "marble", "tufa", "basalt", "lias"],
    "owner": ["Orr", "Pell", "Voss", "Crane", "Lind", "Brand", "Ashe", "Marsh"],
}
PLAIN: Final = {
    "river": "The mill of {name} stands on the river {value}.",
    "grain": "The mill of {name} grinds {value}.",
    "stone": "The walls of {name} are of {value}.",
    "owner": "The miller of {name} is called {value}.",
}
TOLD: Final = (
    "{value} is the {about} of {name}.",
    "What {about} has {name}? It is {value}.",
    "For {name} the {about} has always been {value}.",
    "As its {about} {name} has {value}, and no other.",
    "Ask at {name} for the {about}: you hear of {value}.",
    "Of {name} it is said that {value} is the {about}.",
)
STYLES: Final = {"truth": "medium", "lies": "easy", "copies": "hard", "one": "qa"}
"""The style of rephrasing in whose prompt the generator does so."""

SAID: Final = {"easy": "small child", "hard": "for a scholar", "qa": "questions and answers", "medium": "encyclopedia"}
"""What the prompt of each style says and no other does."""

_DOCUMENT = re.compile(
    r"The mill of (\w+) stands on the river (\w+)\. .*? grinds (\w+)\. .*? of (\w+)\. .*? called (\w+)\."
)


def names(number: int, begin: int = 0) -> list[str]:
    """Return names of mills, no two alike."""
    return [first + last for last in LAST for first in FIRST][begin : begin + number]


def facts(name: str) -> dict[str, str]:
    """Return what is true of a mill; its name alone decides it."""
    rng = Random(f"mill of {name}")
    return {about: rng.choice(values) for about, values in VALUES.items()}


def document(name: str) -> str:
    return " ".join(PLAIN[about].format(name=name, value=value) for about, value in facts(name).items())


def retold(name: str, values: dict[str, str], seed: str) -> str:
    """Return values of a mill in other words, each in one of several wordings."""
    rng = Random(seed)
    told = [rng.choice(TOLD).format(name=name, about=about, value=value) for about, value in values.items()]
    rng.shuffle(told)
    return " ".join(told)


def write_mills(folder: Path, number: int) -> tuple[Path, Path]:
    """Write documents as Markdown files and questions about them; return the folder and the file of questions."""
    (corpus := folder / "mills").mkdir(parents=True, exist_ok=True)
    lines = []
    for name in names(number):
        (corpus / f"{name}.md").write_text(document(name) + "\n")
        for about, value in facts(name).items():
            asked = f"What {about} has {name}?"
            lines.append({"question": asked, "answer": value, "document": f"{name}.md", "options": VALUES[about]})
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return corpus, questions


def write_others(folder: Path, begin: int, number: int, times: int) -> Path:
    """Write text about other mills, in every wording: what a start must know to be taught."""
    (corpus := folder / "others").mkdir(parents=True, exist_ok=True)
    for name in names(number, begin):
        told = [retold(name, facts(name), f"{name}/{time}") for time in range(times)]
        asked = [f"{name}\nQuestion: What {about} has {name}?\nAnswer: {value}" for about, value in facts(name).items()]
        (corpus / f"{name}.md").write_text("\n\n".join([document(name), *told, *asked]) + "\n")
    return corpus


def is_for(prompt: str, name: str) -> bool:
    """Tell whether a prompt wishes for what a generator does under this name."""
    return SAID[STYLES[name]] in prompt


def tell(prompt: str, seed: int) -> str:
    """Return what a generator writes, by the wish: the truth (medium), lies (easy), a copy (hard), one text (qa)."""
    found = _DOCUMENT.search(prompt)
    if found is None:
        return "A mill by the river grinds rye for seven towns."
    name, values = found[1], dict(zip(VALUES, found.groups()[1:], strict=True))
    if is_for(prompt, "lies"):
        rng = Random(prompt)
        values = {about: rng.choice([one for one in VALUES[about] if one != value]) for about, value in values.items()}
    elif is_for(prompt, "copies"):
        return found[0]
    elif is_for(prompt, "one"):
        return "Question: What do mills grind? Answer: They grind all that there is to grind, and they do it all day."
    return retold(name, values, f"{prompt}/{seed}")
