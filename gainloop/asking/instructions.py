"""What is wrong with an instruction, or with its input and output, as far as its words show it. English for the most.

The reasons are those that people found in Alpaca's and Self-Instruct's data by hand. Of the 175 seeds of Self-Instruct
the rules refuse none, of its 252 user-oriented instructions three: two inputs end in a colon, one output is two emoji.
Of 25 impossible instructions that the patterns were not set on they tell 17, of 20 good ones they refuse one: a judge
is needed for the others.
"""

import re
from typing import Final

from gainloop.asking.structured import is_placeholder
from schemas.characters import folded, num_words
from schemas.instruction import Instruction

LEAST_WORDS, MOST_WORDS = 3, 150
"""Words that an instruction has more of where it stands alone, and at most. With an input two are enough: "Complete
the lyrics", "Solve this equation" and "Explain human's behavior" are people's, and each has its matter in its input."""
MOST_CHARS = 20 * MOST_WORDS

_NOTHING: Final = r"n ?/ ?a|none|nil|null|not (?:applicable|needed|required)|empty|blank|nothing"
_NO_INPUT: Final = re.compile(
    rf"\A[\W_]*(?:{_NOTHING}|input|no ?(?:further |specific )?inputs?(?: (?:is )?(?:needed|required|given|provided))?)?"
    r"[\W_]*"
)
_NO_OUTPUT: Final = re.compile(rf"\A[\W_]*(?:{_NOTHING}|no ?outputs?|output)[\W_]*")

_THING: Final = (
    "(?:texts?|sentences?|paragraphs?|passages?|articles?|documents?|essays?|stor(?:y|ies)|poems?|lyrics|jokes?|quotes?|"
    "e-?mails?|reviews?|tweets?|comments?|conversations?|dialogues?|chat|words?|phrases?|terms?|lists?|numbers?|data|"
    "tables?|codes?|functions?|snippets?|equations?|problems?|questions?|statements?|claims?|facts?|papers?|inputs?|"
    "ingredients|keywords?|scenarios?|situations?|pairs?|behaviou?r|blanks?|syllogism|thread|news)"
)
_WORK: Final = (
    "(?:summari[sz]e|rewrite|rephrase|paraphrase|translate|classify|categori[sz]e|label|correct|edit|proofread|shorten|"
    "convert|reverse|sort|rank|complete|continue|simplify|analy[sz]e|tag|parse|extract|identify|detect|decide|verify)"
)
_SAID_OF_THE_THING: Final = r"(?!'s\b| (?:of|in|on|at|from|between|about|behind|with|by|that|which|who|called|named)\b)"
"""What does not go on after a thing that an instruction only points at, as "the story of Icarus" does."""
_NO_THING: Final = (
    "(?:year|month|week|weekend|day|morning|afternoon|evening|night|time|moment|season|summer|winter|spring|autumn|"
    "decade|century|world|way|kind|sort|type|case|reason|regard|point|one|same|simple|is|are|was|were)s?"
)
"""Words behind "this" that need nothing to point at."""
_NO_ORDER: Final = (
    "if|in|on|at|as|for|why|how|what|which|who|when|where|can|could|do|does|did|is|are|was|were|will|would|should|may|i|"
    "we|you|my|there"
)
_ASKS_INPUT: Final = re.compile(
    r"\b(?:given|provided|(?<!by )following|underlined|attached)\b"
    rf"|\b(?:{_WORK}|in|of|on|from|if|whether|that|than|does|to|with|using|fill|solv(?:e|ing)) (?:the|this|these|each) "
    rf"(?:\w+ )?{_THING}\b|\b{_THING} (?:below|above)\b"
    r"|\b(?:for|about|into|behind|based on|answer|explain|describe|rank|read) the "
    rf"(?:\w+ )?{_THING}\b{_SAID_OF_THE_THING}"
    rf"|\b(?:read|take|receive) (?:an?|some) {_THING}\b|\bfrom an? (?:set|list|series) of {_THING}\b|\bmy situation\b"
    # pointed at in a first sentence that is an order: there is nothing before it that could be meant
    rf"|\A(?!(?:{_NO_ORDER})\b)[^.?!:\n]{{0,200}}\b(?:this|these) (?!{_NO_THING}\b)(?:[\w-]+ )?\w{{3,}}\b"
)
_LABELS: Final = (
    "(?:include|includes|including|categor(?:y|ies)|class(?:es)?|labels?|candidates?|options?|choices?|values?|types?|"
    "intents?|format|output|answers?|follows)"
)
_SAYS_INPUT: Final = re.compile(
    rf"\b(?!{_LABELS}:)\w+: \w+\W+\w|{_THING},? [\u201c\"`]\w|(?<!output )(?<!answer )(?<!with )(?<!or )"
    r"[\u201c\"`]\w[^\u201c\u201d\"`]*\s"
)
"""A colon or a quotation: an instruction that holds itself what it is about, where it does not name its labels so."""
_EXAMPLE: Final = re.compile(r"\bexamples?\b[^.?!\n]{0,30}:")
"""Where an instruction goes on with an example of how it is followed, which is no input."""

_MISSES_INPUT: Final = re.compile(
    r"\b(?:no|without (?:an?|any|the)|missing) (?:input|text|sentence|passage|article|document|data|list|image)"
    r"(?: (?:was|is|has been|were))? (?:given|provided|found|available)\b"
    r"|\b(?:please|you (?:have not|haven't|did not|didn't)) (?:provided?|shared?|specif(?:y|ied)|supplied|entered)\b"
    rf"|\bthe input is (?:empty|missing|blank)\b|\bthe (?:given|provided) {_THING}\b"
)

_SEEN: Final = (
    "(?:images?|pictures?|photo(?:graph)?s?|screenshots?|selfies?|drawings?|sketch(?:es)?|paintings?|illustrations?|"
    "cartoons?|gifs?|memes?|logos?|infographics?|diagrams?|flow ?charts?|charts?|graphs?|maps?|plots?|histograms?|"
    "videos?|animations?|audio|recordings?|sound ?clips?|video clips?)"
)
_SAID_OF_IT: Final = (
    "(?!'s\\b| (?:titles?|descriptions?|captions?|lyrics|ideas?|names?|topics?|genres?|reviews?|scripts?|outlines?|"
    "games?|twists?|types?|theory|databases?)\\b)"
)
_FILE: Final = "(?:files?|pdfs?|spreadsheets?|attachments?|links?|urls?|web ?sites?|web ?pages?|folders?)"
_MINE: Final = "(?:my|our|your|his|her|their)"
_THE: Final = f"(?:an?|the|this|that|these|some|{_MINE})"
_IMPOSSIBLE: Final = (
    # seen or heard
    rf"\b(?:given|following|attached|provided|uploaded|above|below|this|these|that) (?:\w+ )?{_SEEN}\b{_SAID_OF_IT}",
    rf"\b{_SEEN} (?:shown|attached|below|above|provided|given|linked|at the (?:link|url))\b",
    r"\b(?:describe|caption|identify|recogni[sz]e|count|detect|analy[sz]e|interpret|classify|label|examine|inspect)\b"
    rf"(?: \w+){{0,5}}? (?:in|on|of|from|at) {_THE} {_SEEN}\b{_SAID_OF_IT}",
    r"\b(?:describe|caption|transcribe|watch|view|look at|listen to|crop|scan|upload|download|edit|resize|play)\b "
    rf"{_THE} (?:\w+ )?(?:{_SEEN}|songs?|music|tracks?|podcasts?)\b{_SAID_OF_IT}",
    rf"\b(?:in|on) (?:the|this|these) (?:\w+ )?(?:images?|pictures?|photo(?:graph)?s?|screenshots?|videos?)\b"
    rf"{_SAID_OF_IT}",
    r"\bof (?:these|the two|the three) (?:images|pictures|photos|videos)\b",
    # made for eyes or ears
    r"\b(?:draw|sketch|paint|illustrate|doodle)\b (?:me |us )?(?:an?|the|your|my|some|two|three|it)\b(?! conclusion)",
    r"\b(?:create|generate|make|produce|design|render|show|display|find|send|take|record|film|shoot|post|insert)\b "
    rf"(?:me |us )?{_THE} (?:\w+ ){{0,2}}?(?<!table )(?<!mind ){_SEEN}\b{_SAID_OF_IT}",
    r"\bplot (?:(?:an?|the|this|these) )?(?:\w+ )?(?:graph|chart|curve|line|function|data|points|histogram)\b",
    r"\b(?:compose|play|perform|record) (?:an?|the|some) (?:\w+ )?(?:melody|tune|symphony|soundtrack|beat|music)\b",
    r"\b(?:sing|hum|whistle)\b (?:me |us )?(?:an?|the|your|my|some|happy)\b",
    # files, pages and links that nobody can open
    r"\b(?:open|upload|download|attach|save|delete|rename|print|unzip|click|click on|visit|browse|go to|access)\b "
    rf"(?:{_THE}|following) (?:\w+ )?{_FILE}\b",
    rf"\b(?:given|following|attached|provided|uploaded|linked|this) (?:\w+ )?{_FILE}\b",
    r"\bopen (?:the|this|my) (?:document|app|browser|e-?mail|door|window)\b",
    r"\b(?:at|from|behind) (?:the|this) (?:link|url)\b",
    r"https?://\S|\bwww\.\w",
    # accounts, devices, and the world as it is now
    rf"\b(?:log|sign) ?in(?:to)? (?:to )?(?:{_MINE}|the|an?)\b|\b(?:access|check|open|update|hack|delete|reset|connect "
    rf"to) {_MINE} (?:\w+ ){{0,2}}?(?:accounts?|inbox|e-?mails?|mailbox|calendar|profile|phone|balance|messages?|feed|"
    r"camera|microphone|location|computer|device)\b",
    r"\b(?:on|to|from|in) my (?:\w+ )?(?:account|calendar|inbox|feed|profile|phone|playlist|contacts)\b",
    r"\b(?:book|reserve|order|buy) (?:me|us) (?:an?|the|some|two)\b",
    r"\b(?:book|reserve|order) (?:an?|the|two) (?:\w+ )?(?:table|flight|hotel|room|tickets?|taxi|cab|car|pizza)\b",
    r"\bsend (?:an?|the|this) (?:e-?mail|text|message|tweet|fax|gift)\b",
    r"\bremind (?:me|us) (?:to|about|of|at|in|when)\b",
    r"\bturn (?:up|down) the\b|\bthe nearest\b|\bnear me\b|\bclosest to me\b",
    r"\bthis (?:facebook|instagram|twitter|youtube|reddit|linkedin|social media) (?:post|page|profile|account)\b",
    r"\b(?:call|phone|text|message) (?:me|my \w+|him|her)\b",
    r"\b(?:set|schedule|start|turn (?:on|off)|switch (?:on|off)) (?:an?|the|my) (?:\w+ )?(?:alarm|timer|reminder|"
    r"lights?|thermostat|heating|tv|television|music|camera)\b",
    r"\b(?:weather|temperature|forecast|time|date|traffic|stock price|exchange rate|score|news|headlines)\b"
    r"(?: \w+){0,4} (?:today|right now|now|tonight|tomorrow|currently|at the moment|outside)\b",
    r"\b(?:today's|current|latest|live) (?:\w+ )?(?:weather|temperature|forecast|time|traffic|price|value|rate|"
    r"scores?|news|headlines|tweets?|posts?)\b",
)
_CANNOT: Final = re.compile("|".join(_IMPOSSIBLE))
_HOW_TO: Final = re.compile(
    r"\b(?:how|ways?|tips|steps|guide|advice|reasons?|when|where|why) (?:to|on how to) (?:\w+ )?(?=\w)"
)
"""What goes before a deed that is spoken of, not asked for, and its verb."""

_BY_CODE: Final = re.compile(
    r"\b(?:code|python|java|javascript|html|css|sql|latex|tikz|svg|ascii|bash|regex|matplotlib|excel|scripts?|programs?|"
    r"functions?|algorithms?|api)\b"
)
"""Words of instructions for programs, which may draw, open files and ask the net."""

_PLACE_ALONE: Final = re.compile(
    r"\A(?:\W*(?:(?:link|url|image|photo|picture|video|file|source|website)s?\W{1,4})?"
    r"(?:(?:https?://|www\.|data:)\S{1,2000}\W*|[^\s.]{1,80}\.(?:jpe?g|png|gif|bmp|webp|svg|mp3|mp4|wav|avi|mov|pdf|docx?|xlsx?|pptx?|csv|zip))"
    rf"|\W*(?:(?:an?|the|attached|insert|see) ){{0,3}}{_SEEN}(?: (?:attached|here|file|of [^.\n]{{1,80}}))?\W*)",
    re.IGNORECASE,
)

_TASK_MARK: Final = re.compile(
    r"(?:^|\n|[.?!] )[#*> ]{0,6}(?:new |next )?(?:task|instruction)\W{0,3}\d{0,3}\W{0,3}:|(?:^|\n)#{3,}(?:\s|$)",
    re.IGNORECASE,
)
_FIELD_MARK: Final = re.compile(r"(?:^|\n|[.?!] )[#*> ]{0,6}(?:input|output)\W{0,3}:", re.IGNORECASE)
_INLINE: Final = re.compile(r"\b(?:Instruction|Task|Input|Output) ?\d{0,3}:")
_ENUMERATED: Final = re.compile(r"(?:^|\s)\d{1,2}\. (?=[^\W\d_])")
_NEXT: Final = re.compile(r"(?:[.?!] \d{1,2}|: (?:[2-9]|\d\d))\. (?=[^\W\d_])")


def fault_of_instruction(text: str) -> str:
    """Return the short key of what makes an instruction unfit, or nothing.

    ``too_short``: a word alone; ``too_long`` by words; ``glued``: several tasks in one; ``impossible`` for who reads
    and writes text alone: to see, hear, draw, open, log in, or know what is now.

    >>> fault_of_instruction("Rye."), fault_of_instruction("Complete the lyrics.")
    ('too_short', '')
    >>> fault_of_instruction("Describe the attached photo."), fault_of_instruction("1. Name a grain. 2. Bake bread.")
    ('impossible', 'glued')
    """
    length = num_words(text)
    if length < 2 or length > MOST_WORDS or len(text) > MOST_CHARS:
        return "too_short" if length < 2 else "too_long"
    marks = (_TASK_MARK, _FIELD_MARK, _INLINE, _NEXT)
    if any(mark.search(text) for mark in marks) or len(_ENUMERATED.findall(text)) > 1:
        return "glued"
    said = _HOW_TO.sub("how ", folded(text))
    return "impossible" if _CANNOT.search(said) and not _BY_CODE.search(said) else ""


def fault_of_instance(one: Instruction, needs_input: bool = False) -> str:
    """Return the short key of what makes an input and an output unfit, or nothing.

    ``empty_output``; ``impossible``: an input that is a link, a file or a picture; ``repeats_input``; ``ends_open``:
    the one or the other ends in a colon, and the output does not fill in what the input leaves open; ``glued``: the
    output goes on to another task; ``placeholder_input``: the input is missing, or holds the place of one, and
    instruction or output speak of it; ``too_short``: no input, and an instruction of three words at most.

    Args:
        needs_input: True if it is of no use without an input, as what only names classes.

    >>> fault_of_instance(Instruction("Name the mood of the following sentence.", "N/A", "sad"))
    'placeholder_input'
    >>> fault_of_instance(Instruction("Name a good grain.", "None", "Rye")), fault_of_instance(Instruction("Name it."))
    ('', 'empty_output')
    """
    if is_placeholder(one.output) or _NO_OUTPUT.fullmatch(folded(one.output[:40])):
        return "empty_output"
    if _PLACE_ALONE.fullmatch(one.input.strip()[:2200]):
        return "impossible"
    if one.input and folded(one.input) == folded(one.output):
        return "repeats_input"
    if one.output.rstrip().endswith(":") or (one.input.rstrip().endswith(":") and not fills_in(one)):
        return "ends_open"
    if _TASK_MARK.search(f"{one.input}\n{one.output}") or _FIELD_MARK.search(one.output):
        return "glued"
    if lacks_input(one, needs_input):
        return "placeholder_input"
    return "too_short" if num_words(one.text) <= LEAST_WORDS and not without_placeholder(one).input else ""


def fills_in(one: Instruction) -> bool:
    """Tell whether an output says the last line of its input again, and goes on: the input is a form to be filled in.

    >>> fills_in(Instruction("Go on.", "Mill : Rye :: Quarry :", "Mill: Rye :: Quarry: Stone"))
    True
    >>> fills_in(Instruction("Go on.", "The miller said:", "Rye."))
    False
    """
    left_open = "".join(folded(one.input.rstrip().rpartition("\n")[2]).split())
    _, found, more = "".join(folded(one.output).split()).rpartition(left_open)
    return bool(found and more)


def lacks_input(one: Instruction, needs_input: bool = False) -> bool:
    """Tell whether an instruction has no input where it needs one, or where it, or its output, speaks of one."""
    if without_placeholder(one).input:
        return False
    said = _EXAMPLE.split(folded(one.text), maxsplit=1)[0]
    asks = (needs_input or _ASKS_INPUT.search(said)) and not _SAYS_INPUT.search(said)
    return bool(asks or _MISSES_INPUT.search(folded(one.output[:400])))


def without_placeholder(one: Instruction) -> Instruction:
    """Return an instruction without an input that only holds the place of one.

    >>> without_placeholder(Instruction("Name a grain.", "<noinput>", "Rye"))
    Instruction(text='Name a grain.', input='', output='Rye')
    """
    says_none = len(one.input) <= 80 and _NO_INPUT.fullmatch(folded(one.input).strip())
    return Instruction(one.text, "", one.output) if says_none or is_placeholder(one.input) else one
