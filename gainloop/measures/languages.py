"""Which language a text is in, as far as its letters and its commonest words say, and whether that changes on the way.

Nothing is loaded and nothing guessed: a text of few words, of code or of a language that is not listed has none.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from gainloop.measures.words import script_of
from schemas.characters import words

WINDOW_WORDS: Final = 40
FEWEST_WORDS: Final = 12
"""Words from which on a language can be told."""

LEAST_SHARE: Final = 0.2
"""Share of a window's words that must be common words of a language. Real prose has 0.3 to 0.5 of its own language."""
LEAST_KINDS: Final = 4
"""Different common words of a language that a window must have: code says x and y again and again."""
MOST_SHARE: Final = 0.6
"""Share of those words that another language may have as well, for the language to be told from it."""

_COMMON: Final = {
    "en": "the of and to in a is was that for as with on by his from at are were be it an which this or had not have "
    "they their has but its he she who one you we been when would there if what can will so do how your more than",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er "
    "hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis",
    "fr": "le la les de des du et à un une en est que qui dans pour par sur au pas plus ne se ce il elle sont avec son "
    "sa ses ou mais on nous vous cette ces aux été être leur comme l d c s n qu j je tout fait dont deux",
    "es": "el la los las de y a en que un una es por con para su se del al no lo como más pero sus le ya o fue este ha "
    "sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos son era está ser",
    "it": "il lo la i gli le di e a che è un una in per con del della dei delle da non si al alla nel nella sono come "
    "più anche ma su suo sua dal dalla questo questa essere ha ho era o se ci loro l d dell all nell quando",
    "pt": "o a os as de e que do da em um uma para com não por mais dos das se na no ao como mas foi ele ela são sua "
    "seu ou ser quando muito há nos já está eu também só pelo pela até isso entre era depois sem mesmo aos",
    "nl": "de het een en van in is dat op te met voor zijn niet aan er die ook als bij door maar om uit over naar dan "
    "werd wordt hij zij deze dit nog wel geen tot was of hun meer kan worden heeft ze heb ik je",
    "sv": "och i att det som en på är av för med till den har de inte om ett han men var jag sig från vi så kan när "
    "år säger hon under också efter eller nu sin där vid mot ska skulle kommer ut får finns vara hade",
    # Danish and Norwegian, which share most of these.
    "da": "og i at det som en på er af av for med til den har de ikke om et han men var jeg sig seg fra vi så kan når "
    "der blev ble hun efter etter også eller nu nå sin hvor ved mod mot skal ville blive bli ut over være havde hadde",
    "pl": "i w na z do się że nie to jest o jak po co dla od za przez ale tak czy jego był była być oraz są ich tym "
    "które który która już tylko może przed pod także lub jej bardzo było ten ta",
    "cs": "a v se na je že s z do o k i to jako za by ve byl byla které který pro ale od po tak jeho jsou nebo také "
    "si co podle už jeho při jen bylo být má svou mezi aby ještě není její",
    "fi": "ja on ei että se oli joka hän ovat myös mutta sen kun kuin tai olla niin hänen ole jotka mukaan sekä vain "
    "voi jo nyt ovat noin kanssa jonka oli sitä tämä vuonna",
    "hu": "a az és hogy nem is egy ez volt meg de csak mint vagy már azt még ki el ha szerint van kell lehet volna "
    "után között amely aki majd pedig sem ezt minden",
    "ro": "și în de la cu a care pe nu din este un o pentru mai că se sunt prin fost sau al ale lui după dar ca fi "
    "are au această acest unui unei către între când",
    "tr": "ve bir bu için ile de da olarak çok daha olan gibi en sonra kadar ne o ise var ancak ya her mi değil "
    "tarafından olduğu ama iki ki",  # noqa: RUF001
    "id": "yang dan di dari untuk dengan pada ini itu dalam adalah tidak oleh akan sebagai ke juga atau karena telah "
    "dapat ada lebih mereka seperti kepada bahwa",
    "vi": "và của là có được trong cho các không một người với những này đã từ khi để ra đến vào năm về như tại sau "
    "cũng nhiều theo",
}
_KANA: Final = frozenset({"HIRAGANA", "KATAKANA"})


def language_of(text: str) -> str:
    """Return the language that most of a text is in, or its script where that is not Latin; "" if it cannot be told.

    >>> language_of("The mill that stands by the river was built for the miller and his three sons in 1874.")
    'en'
    >>> language_of("Die Mühle, die an dem Fluss steht, ist für den Müller und seine Söhne gebaut worden.")
    'de'
    """
    told = Counter(_languages(text))
    language, count = max(told.items(), key=lambda one: one[1], default=("", 0))
    return language if 2 * count > told.total() else ""


def other_language(text: str, anchor: str) -> float:
    """Return the share of a text's windows that are in another language than its anchor; 0 if that has none.

    >>> english, german = "The mill is by the river, as it was before. ", "Die Mühle ist an dem Fluss und das Korn. "
    >>> other_language(german * 8, english * 8), other_language(english * 8, english * 8)
    (1.0, 0.0)
    """
    own = _own_language(anchor)
    told = _languages(text)
    return sum(bool(one) and one != own for one in told) / len(told) if own and told else 0.0


@lru_cache(maxsize=64)
def _own_language(anchor: str) -> str:
    return language_of(anchor)


def _languages(text: str) -> list[str]:
    """Return the language of each window of a text."""
    found = words(text)
    starts = range(0, max(len(found) - FEWEST_WORDS, 0) + 1, WINDOW_WORDS)
    return [_language_of_words(found[start : start + WINDOW_WORDS]) for start in starts]


def _language_of_words(found: Sequence[str]) -> str:
    if len(found) < FEWEST_WORDS:
        return ""
    scripts = Counter(script_of(letter) for word in found for letter in word if letter.isalpha())
    if not scripts:
        return ""
    kana, total = sum(scripts[one] for one in _KANA), scripts.total()
    script = max(scripts, key=lambda one: scripts[one])
    if 10 * kana > total:
        return "JAPANESE"
    if 10 * scripts[script] < 7 * total:
        return ""
    return _by_common_words(found) if script == "LATIN" else script


def _by_common_words(found: Sequence[str]) -> str:
    """Return the language whose common words are many, unless another has nearly as many."""
    counts = Counter(language for word in found for language in _languages_with().get(word, ()))
    (first, most), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    kinds = sum(first in _languages_with().get(word, ()) for word in set(found))
    is_told = kinds >= LEAST_KINDS and most >= LEAST_SHARE * len(found) and second <= MOST_SHARE * most
    return first if is_told else ""


@cache
def _languages_with() -> dict[str, tuple[str, ...]]:
    """Return the languages in which each word is common."""
    listed = {language: set(common.split()) for language, common in _COMMON.items()}
    every = set().union(*listed.values())
    return {word: tuple(language for language, common in listed.items() if word in common) for word in every}
