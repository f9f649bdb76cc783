"""How new invented instructions are: the nearest of those that were shown, by ROUGE-L."""

from collections.abc import Iterable, Sequence

import numpy as np

from gainloop.measures.estimate import Floats
from gainloop.measures.rouge import AlikeTexts, rouge_tokens


def nearest_seeds(instructions: Sequence[str], seeds: Iterable[str]) -> Floats:
    """Return ROUGE-L of each instruction with the seed that it is most like; 0 where none has a word of it.

    It is exact: see ``AlikeTexts.closest``. It takes 0.15 ms an instruction beside 175 seeds, and grows with them.

    >>> nearest_seeds(["Name a grain.", "Dance!"], ["Name two grains.", "Name a grain that is old."])
    array([0.66666667, 0.        ])
    """
    known = AlikeTexts()
    for one in dict.fromkeys(tuple(rouge_tokens(seed)) for seed in seeds):
        known.add(one)
    found = (known.closest(rouge_tokens(one)) for one in instructions)
    return np.array([score[1] if score else 0.0 for score in found])
