"""Talk in place of a text: with the asker, about the text to be written, about the writer itself. English only.

What could as well be a letter or a page on its own (I hope this helps; let me know if you come) is not taken for talk;
what an anchor says itself neither.
"""

import re
from typing import Final

from schemas.characters import folded
from schemas.marks import TEMPLATES, THOUGHTS, held_marks

OPENING_CHARS: Final = 300
CLOSING_CHARS: Final = 300

_GLAD = (
    "(?:sure(?: thing)?|certainly|of course|absolutely|great(?: question| choice)?|okay|ok|alright|got it|understood|"
    "sounds (?:great|good|like a plan|interesting)|no problem|you're welcome|happy to help|perfect|wonderful|excellent)"
)
_WORK = (
    "(?:version|rewrites?|rewritten|rephras\\w+|paraphras\\w+|reformulat\\w+|retelling|summar\\w+|text|passage|list|"
    "implications?|answers?|responses?|questions?|examples?|chapter|exercises?|table|tutorial|faqs?|translations?|"
    "conversation|letter|dialogue|explanation|breakdown|outline|strateg\\w+|ways)"
)
_DO = (
    "(?:help|assist|try|rewrite|retell|rephrase|paraphrase|summari[sz]e|reformulate|translate|write|create|provide|"
    "generate|answer|respond|start by|begin by|do my best|think|read|analy[sz]e|break (?:it|this) down)"
)
_USER = (
    "the user(?:'s (?:request|question|query|message)| (?:asks|asked|is asking|has asked|requests|requested) "
    "(?:for|me|us|that|about|to|how|what)\\b| (?:wants|wanted|needs|gave) (?:me|us|it|this|an?|the)\\b)"
)
_OPENING = re.compile(
    rf"\A[^a-z\"'\u201c\u2018]*(?:{_GLAD}!|{_GLAD}[,.:]? (?:here|i |i'|let|below|so i |the user|we need)"
    rf"|(?:below|here)(?:'s| is| are) (?:the|an?|your|my|some|one|two|three|\d+) (?:[\w'-]+ ){{0,5}}{_WORK}\b"
    r"[^.]{0,90}:"
    rf"|(?:(?:i'll|i will|let me|i can|i'd be happy to|i would be happy to|i need to|i have to|i should|we need to|"
    rf"we should|we have to|let's) {_DO}\b)"
    rf"|(?:(?:okay|ok|alright|hmm|well|so|first),? ){{0,2}}{_USER}"
    r"|please (?:go ahead|provide (?:me|the|your)|share (?:the|your)|paste|specify|give me)"
    r"|(?:what|which|how) (?:would you like|can i (?:help|assist)|may i (?:help|assist))"
    r"|thank(?:s| you) for (?:providing|sharing|your (?:request|question|message))"
    rf"|(?:to|in order to) {_DO} (?:this|the) (?:text|passage|request|task)\b)"
)
_CLOSING = re.compile(
    r"\b(?:would you like me to|do you want me to|is there anything else (?:you|i can)"
    r"|let me know if (?:you(?:'d like| would like| need| want)|there(?:'s| is)) (?:me to|any|further|more|additional|"
    r"another|help|other|to (?:adjust|change|modify|revise))"
    r"|feel free to ask|i hope this (?:meets|satisfies|fulfil|is what you)|(?:i'd|i would) be happy to (?:help|assist|"
    r"provide|rewrite|revise|answer)|please (?:go ahead and|provide (?:me with )?the (?:text|passage)))\b"
)
_SELF = re.compile(
    r"\b(?:i'm|i am) (?:an? |your )?(?:(?:helpful|friendly) )?(?:ai\b|artificial intelligence|(?:large )?language model"
    r"|chatbot|virtual assistant|helpful assistant)"
    r"|\bas an ai\b|\bmy (?:knowledge cut-?off|training data)\b|\bdo my best to (?:provide|answer|respond|help you)\b"
    r"|\b(?:named|called) (?:smollm|qwen|chatgpt|llama|gemma|mistral|deepseek)\b"
    r"|\b(?:trained|developed|created) by (?:hugging ?face|openai|alibaba cloud|anthropic|meta ai|deepseek)\b"
)
_BEGINS = r"(?:\A|[.!?:] )\W{0,4}(?:the|this) (?:given |provided |above )?"
_HOW = "(?:(?:well|clearly|mainly|primarily|also|then) )?"
_PARTS = (
    "(?:in (?:two|three|four|five|six|several|\\d+) (?:main )?parts|structured|divided|organi[sz]ed|composed of|broken|"
    "split|about|based on|an? (?:\\w+ )?(?:summary|rewrite|retelling|excerpt|description|rephras\\w+|paraphras\\w+))"
)
_DOES = (
    "(?:consists of|contains|begins (?:with|by)|ends (?:with|by)|covers|provides|explains|focuses on|outlines|presents|"
    "explores|details|gives|introduces|concludes)"
)
_ABOUT = re.compile(
    rf"{_BEGINS}(?:text|passage|excerpt) (?:is|was) {_HOW}{_PARTS}\b|{_BEGINS}text {_DOES}\b"
    r"|\bmain (?:idea|theme|topic|point|purpose)s? of (?:the|this) (?:text|passage|paragraph|excerpt)\b"
    r"|\bthe (?:rewritten|rephrased|reformulated|paraphrased) (?:text|version|passage|sentence|paragraph)\b"
    r"|\bthe (?:provided|given) passage\b"
)

_PLACES = re.compile(
    r"\{\{ ?[\w .-]{1,40} ?\}\}"
    r"|[\[<](?:insert|your|enter|fill in|add|recipient|sender|company|name of|other)\b[^\[\]<>\n]{0,60}[\]>]"
    r"|\[(?:[a-z]{1,12} ){0,2}(?:name|date|address|title|city|number|topic|signature|phone|email)\]",
    re.IGNORECASE,
)


def talks(text: str, anchor: str = "") -> bool:
    """Tell whether a text talks with its asker or of its writer, or holds marks of a template or of thinking aloud.

    >>> talks("Sure! The mill grinds rye."), talks("I am a helpful AI named Rye."), talks("Rye.<|im_end|>")
    (True, True, True)
    >>> talks("The mill grinds. I hope this helps."), talks('"Sure," said Ann, "I can help."')
    (False, False)
    """
    if any(held_marks((*TEMPLATES, *THOUGHTS), text, anchor)):
        return True
    said, known = folded(text), folded(anchor)
    found = (
        _OPENING.match(said[:OPENING_CHARS]),
        _CLOSING.search(said[-CLOSING_CHARS:]),
        _SELF.search(said),
    )
    return any(match and match[0] not in known for match in found)


def describes_text(text: str, anchor: str = "") -> bool:
    """Tell whether a text speaks of a text and its parts, where it should say what the text says.

    >>> describes_text("This text is structured into paragraphs."), describes_text("The text is in two parts.")
    (True, True)
    >>> describes_text("When the text is bold, it stands out."), describes_text("The passage is narrow.")
    (False, False)
    """
    return bool(_ABOUT.search(folded(text)) and not _ABOUT.search(folded(anchor)))


def leaves_places(text: str, anchor: str = "") -> bool:
    """Tell whether a text holds places that someone else should fill in, as drafts of letters do.

    >>> leaves_places("Dear [Your Name],"), leaves_places("On {{date}} it burned."), leaves_places("He said [sic] so.")
    (True, True, False)
    """
    return any(held_marks((_PLACES,), text, anchor))
