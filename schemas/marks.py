"""Marks of thinking aloud, of the templates that chats are put into, and ours around documents.

Models write them, and no text that is put into a prompt may be taken for one.

Families differ in the mark and agree in its shape, so shapes are looked for, not names of models. A document may speak
of marks; what it has itself is no sign of a model (``held_marks``). All patterns take time in proportion to the text.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

DOCUMENT, DRAFT = "document", "draft"
RULES, SCENARIO, TALK = "rules", "scenario", "conversation"
_OURS: Final = rf"</?(?:{DOCUMENT}|{DRAFT}|{RULES}|{SCENARIO}|{TALK})(?:-[0-9a-f]{{8}})?>"

OURS: Final = re.compile(rf"^{_OURS}$", re.MULTILINE)
"""Lines around the texts of our prompts."""

# What HTML has in common with control tokens, such as <b> and <s>, is no more than <s>.
CONTROL: Final = re.compile(
    r"<(?:[|\uff5c][^<>\n]{1,60}?[|\uff5c]>|/?(?:s|bos|eos|pad|unk|mask|think|filename|reponame|tool_call|tool_response)>"
    r"|<?/?SYS>|/?[a-z]+(?:_[a-z0-9]+)+>|(?:unused|reserved)_?\d+>)"
    r"|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|CLS|SEP|MASK|PAD|UNK|BOS|EOS)\]"
)
"""Control tokens of Llama's, Qwen's, Gemma's, Mistral's, DeepSeek's, SmolLM's and BERT's vocabularies, and what may be
one: more than is a fault of a reply (``TEMPLATES``), since a space in a prompt costs nothing."""

_THINK: Final = (
    r"(?:think|thinking|thought|thoughts|reason|reasoning|reflect|reflection|deliberation|rationale|scratch_?pad|cot"
    r"|chain[_-]of[_-]thoughts?|(?:inner|internal)_monologue)"
)
_OF: Final = r"(?:[_-](?:start|end|process|content|tokens?|block))?"
_ENDS: Final = r"(?:(?:start|begin|end)_(?:of_)?)?"

_THOUGHTS: Final = re.compile(
    # <think>, </thinking>, <think effort="low">, <|think|>, <seed:think>, <antThinking>, <|START_THINKING|>
    rf"<[|\uff5c]?/?(?:[a-z]{{1,20}}[:_]|ant)?{_ENDS}{_THINK}{_OF}(?:\s[^<>\n]{{0,80}})?/?[|\uff5c]?>"
    # [THINK], [/THINK] in capitals only: plays write [thinking]
    r"|\[/?(?-i:THINK)(?-i:ING)?\]"
    # \u25c1think\u25b7, \u25c1/think\u25b7
    rf"|\u25c1/?{_THINK}\u25b7"
    # the channels of harmony
    r"|<\|channel\|>\s{0,9}(?:analysis|commentary)"
    # <unused94>thought
    r"|<unused\d{1,4}>\s{0,9}thought"
    # as consoles show it
    r"|^Thinking\.\.\.$|^\.\.\.done thinking\.$",
    re.IGNORECASE | re.MULTILINE,
)
# What is left of harmony's channels where a server leaves their marks out. Apart from the others, which begin with one
# of three signs: re looks for those alone, in a third of the time.
_BARE_CHANNELS: Final = re.compile("assistantfinal"), re.compile(r"\A\s{0,9}analysis(?=[A-Z])")

THOUGHTS: Final = (_THOUGHTS, *_BARE_CHANNELS)
"""Beginnings and ends of thinking aloud; a template may hold the one or the other, so that the text has only one."""

_TEMPLATES: Final = re.compile(
    # <|im_start|>, <|eot_id|>, <|start_header_id|>, <|user|>, <|START_OF_TURN_TOKEN|>, and those of full width
    r"<[|\uff5c]/?[^\W\d_][\w \u2581.:/-]{0,40}[|\uff5c]>"
    r"|<(?:start|end)_of_(?:turn|text|image|role)>|</?s>(?=\s*(?:\[INST\]|\Z|<))|<pad>|<unk>|<bos>|<eos>|<eod>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?-i:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|\[(?-i:gMASK|PAD|BOS|EOS|CLS|SEP|MASK|UNK)\]"
    r"|<(?:extra_id_\d{1,3}|reserved_\d{1,4}|unused\d{1,4}|sop|eop|sep|/?tool_call|/?function_calls?)>"
    rf"|{_OURS}"
    r"|^#{2,3} ?(?:instructions?|response|human|assistant|system)\b ?:"
    r"|^(?-i:USER|ASSISTANT|SYSTEM): ",
    re.IGNORECASE | re.MULTILINE,
)
TEMPLATES: Final = (_TEMPLATES,)
"""Marks of chat templates and of tokenizers: where a turn begins or ends, who speaks, what fills up a row."""

_SIGNS: Final = ("<", "[", "##", "\u25c1", "hinking", "USER: ", "ASSISTANT: ", "SYSTEM: ")
"""What every mark of the two has one of, but for bare channels: most texts have none, and to find so takes 2 us."""


def held_marks(marks: Sequence[re.Pattern[str]], text: str, anchor: str = "") -> Iterator[str]:
    """Yield each mark of a text that its anchor does not hold.

    >>> list(held_marks(THOUGHTS, "So it is.</think>It is.", "")), list(held_marks(THOUGHTS, "<think>", "A <think>."))
    (['</think>'], [])
    """
    known = anchor.casefold()
    found = (match[0] for pattern in marks for match in pattern.finditer(text))
    return (mark for mark in found if mark.casefold() not in known)


def thinks(text: str, anchor: str = "") -> bool:
    """Tell whether a text thinks aloud: it begins with a mark of that, or has one that its anchor does not hold.

    >>> thinks("<think>A mill.</think>It grinds.", "Of <think>."), thinks("It says <think>.", "Of <think>.")
    (True, False)
    """
    if not any(sign in text for sign in _SIGNS):
        return any(held_marks(_BARE_CHANNELS, text, anchor))
    return bool(_THOUGHTS.match(text.lstrip()[:200])) or any(held_marks(THOUGHTS, text, anchor))


def takes_turns(text: str, anchor: str = "") -> bool:
    """Tell whether a text has a mark of a chat template that its anchor does not hold.

    >>> takes_turns("It grinds.<|im_end|>"), takes_turns("It grinds."), takes_turns("[INST]", "A mark is [INST].")
    (True, False, False)
    """
    return any(sign in text for sign in _SIGNS) and any(held_marks(TEMPLATES, text, anchor))


def harmless(text: str) -> str:
    """Return a text whose marks of chat templates are parted by a space: no tokenizer takes them for control tokens.

    >>> harmless("A turn ends with <|im_end|>, or </s>, or [/INST]; 1 < 2 and <b>bold</b> stay.")
    'A turn ends with < |im_end|>, or < /s>, or [ /INST]; 1 < 2 and <b>bold</b> stay.'
    """
    return CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
