"""Words of an option's help: its values and its defaults."""

from typing import Any


def of_kinds(meaning: str, defaults: dict[str, list[str]]) -> str:
    """Return the help of kinds that have one meaning, by their defaults.

    >>> of_kinds("Characters.", {"Default: 1000.": ["python_docs"], "Default: 2000.": ["files", "huggingface"]})
    'Characters. Default: 1000 [python_docs], 2000 [files, huggingface].'
    """
    if len(defaults) > 1 and all(one.startswith("Default: ") for one in defaults):
        values = (f"{one[len('Default: ') : -1]} [{', '.join(kinds)}]" for one, kinds in defaults.items())
        return f"{meaning} Default: {', '.join(values)}."
    return " ".join(f"{f'{meaning} {one}'.strip()} [{', '.join(kinds)}]" for one, kinds in defaults.items())


def as_word(value: Any) -> str:
    """Return a value as a person writes it.

    >>> [as_word(value) for value in (None, True, 1e-5, 0.5, "auto")]
    ['none', 'true', '1e-05', '0.5', 'auto']
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
