"""Two hundred answers that no careful model writes, and what may be said of each."""

from collections.abc import Iterator
from typing import Final, NamedTuple

RIGHT, WRONG, OPEN, UNREADABLE = {"right"}, {"wrong"}, {"wrong", "timeout", "unreadable"}, {"unreadable"}

NINES: Final = "9" * 10_000


class Hostile(NamedTuple):
    """An answer, the known one, and the verdicts that it may have."""

    gold: str
    text: str
    allowed: set[str]


def powers() -> Iterator[Hostile]:
    towers = ("9**9**9**9", "9^{9^{9^{9}}}", "2^{2^{2^{2^{2^{2}}}}}", "(10^{10^{10}})!", "10^{10^{10}}", "99999999!")
    for tower in towers:
        yield Hostile("18", f"The answer is \\boxed{{{tower}}}", OPEN)
    yield Hostile("18", "\\boxed{\\sum_{i=1}^{10^{12}} i^{i}}", OPEN)
    yield Hostile("18", "\\boxed{\\int_0^{10} e^{x^{x^{x}}} dx}", OPEN)
    yield Hostile("18", "\\boxed{\\prod_{n=1}^{99999999} n}", OPEN)


def numbers() -> Iterator[Hostile]:
    same = (
        *("18", "18.", "18.0", "18.000", "+18", " 18 ", "$18", "\\$18", "18$", "18 dollars", "18 %", "18\\%", "**18**"),
        *("18 eggs", "$18.00 dollars", "= 18", "\\text{18}", "18\\text{ cm}", "36/2", "\\frac{36}{2}", "\uff11\uff18"),
        *("\u0661\u0668", "018", "18 cm\u00b2", "18 m/s", "\\mathrm{18}", "_18_", "18\u00a0kg", "\u202f18"),
    )
    for text in same:
        yield Hostile("18", f"A: {text}", RIGHT)
    for text in same:
        yield Hostile("17", f"A: {text}", {"wrong", "unreadable"})
    for text in ("1,000", "1000.00", "$1,000", "1{,}000", "1\u202f000", "1 thousand", "2000/2", "1,000 km", "10^3"):
        yield Hostile("1000", f"#### {text}", RIGHT)
    yield Hostile("1000", "#### 1.000", WRONG)
    yield Hostile("1/3", "\\boxed{0.333}", WRONG)
    yield Hostile("1/3", "\\boxed{\\frac{2}{6}}", RIGHT)
    yield Hostile("1/3", "\\boxed{1/0}", OPEN)
    yield Hostile("0.1", "\\boxed{10\\%}", RIGHT)
    yield Hostile("-5", "A: \u22125", RIGHT)
    yield Hostile("-5", "A: 5", WRONG)
    yield Hostile(NINES, f"A: {NINES}", RIGHT)
    yield Hostile(NINES, f"A: {NINES}0", WRONG)
    yield Hostile("18", f"A: {NINES}", WRONG)
    yield Hostile("18", f"\\boxed{{{NINES}}}", WRONG)
    yield Hostile("18", f"A: 18.{'0' * 10_000}", RIGHT)
    yield Hostile("18", f"A: 0.{NINES}", WRONG)
    yield Hostile("18", f"\\boxed{{{NINES} + 1}}", OPEN)
    yield Hostile("18", f"\\boxed{{{NINES}^{{{NINES}}}}}", OPEN)
    yield Hostile("18", "A: 1e999999999", OPEN)
    yield Hostile("18", "A: inf", UNREADABLE | WRONG)
    yield Hostile("18", "A: NaN", UNREADABLE | WRONG)


def marks() -> Iterator[Hostile]:
    two = ("18 or 20", "18 \\text{ or } 20", "either 18 or 20", "20 or 18 eggs")
    for text in two:
        yield Hostile("18", f"\\boxed{{{text}}}", WRONG)
        yield Hostile("18", f"The answer is {text}.", WRONG)
    yield Hostile("18", "\\boxed{20} No, \\boxed{18}", RIGHT)
    yield Hostile("18", "\\boxed{18} No, \\boxed{20}", WRONG)
    yield Hostile("18", "The answer is 20.\nWait.\nThe answer is 18.", RIGHT)
    yield Hostile("18", "\\boxed{" + "{" * 5000 + "18" + "}" * 5000 + "}", {"right", *OPEN})
    for depth in (1, 2, 3):
        yield Hostile("18", "\\boxed{" + "{" * depth + "18" + "}" * depth + "}", {"right", *OPEN})
    yield Hostile("18", "\\boxed{18, 19, 20}", OPEN)
    yield Hostile("18", "\\boxed{\\boxed{18}}", RIGHT)
    yield Hostile("18", "\\fbox{18}", RIGHT)
    for text in ("", " ", "\n", "\x00", "I cannot say.", "\\boxed{}", "####", "A:", "\u200b", "...", "\ud800", "}{"):
        yield Hostile("18", text, UNREADABLE)
    for text in ("\\boxed{18", "\\frac{18}{", "$18", "\\text{18", "18}", "\\left( 18", "{18"):
        yield Hostile("18", text, {"right", *OPEN})
    for text in ("\\boxed{\\frac{1}{2}", "\\boxed{\\sqrt[", "\\boxed{\\begin{matrix} 1 & 2", "\\frac{\\frac{\\frac{"):
        yield Hostile("18", text, OPEN)


def noise() -> Iterator[Hostile]:
    for text in (
        "A: 18\x00",
        "A:\x00 18",
        "\ud800 A: 18",
        "A: 18 \U0001f600",
        "\u202eA: 18",
        "A: 18\u200b",
        "A: 1\u200b8",
    ):
        yield Hostile("18", text, {"right", *OPEN})
    for unit in (
        "(",
        "[",
        "{",
        "\\frac{1}{",
        "\\left(",
        "x^",
        "-",
        "+",
        "\\sqrt{",
        "\\boxed{",
        "####",
        "$",
        "1/",
        "A: ",
    ):
        yield Hostile("18", "A: " + unit * 3000, OPEN)
        yield Hostile("18", f"\\boxed{{{unit * 40}}}", OPEN)
    yield Hostile("18", "9" * 1_000_000, WRONG)
    yield Hostile("18", "x" * 1_000_000, UNREADABLE)
    yield Hostile("18", "\\boxed{" + "x+" * 2000 + "x}", OPEN)
    yield Hostile("18", "\\boxed{__import__('os').system('exit')}", OPEN)
    yield Hostile("18", "\\boxed{exit()}", OPEN)
    yield Hostile("18", "\\boxed{open('/etc/passwd')}", OPEN)
    yield Hostile("18", "\\boxed{\\text{eighteen}}", OPEN)
    for name in ("x", "\\alpha", "\\infty", "\\emptyset", "\\mathbb{R}", "x=18", "(1,2)", "[1,2)", "1<x<2", "\\{18\\}"):
        yield Hostile("18", f"\\boxed{{{name}}}", {"right", *OPEN} if "18" in name else OPEN)
    yield Hostile("x^2+2x+1", "\\boxed{(x+1)^2}", RIGHT)
    yield Hostile("x^2+2x+1", "\\boxed{(x+2)^2}", WRONG)
    yield Hostile("\\frac{\\sqrt{2}}{2}", "\\boxed{\\frac{1}{\\sqrt{2}}}", RIGHT)
    yield Hostile("(1,2)", "\\boxed{(2,1)}", WRONG)
    yield Hostile("\\text{Tuesday}", "\\boxed{tuesday}", RIGHT)


def forms() -> Iterator[Hostile]:
    yield Hostile("18", "A: 18 or more precisely 18.0", WRONG)
    yield Hostile("1800000", "A: 1.8 million", RIGHT)
    yield Hostile("5", "The answer is x = 5", RIGHT)
    yield Hostile("5", "Answer: 2 + 3 = 5", RIGHT)
    yield Hostile("12", "The answer is 12 eggs for every two hens.", RIGHT)
    yield Hostile("18", "The answer to the question is 18.", RIGHT)
    yield Hostile("18", "Final Answer: $18$", RIGHT)
    yield Hostile("18", "**Answer:** 18", RIGHT)
    yield Hostile("18", "So she has 18.\n\n$$\\boxed{18}$$", RIGHT)
    yield Hostile("18", "A:18", RIGHT)
    yield Hostile("3:30", "A: 3:30", RIGHT)
    yield Hostile("18", "A: 18,19", OPEN)


HOSTILE: Final = (*powers(), *numbers(), *marks(), *noise(), *forms())
