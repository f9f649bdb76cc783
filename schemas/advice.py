"""What to do where many replies are dropped for one reason."""

from typing import Final

ADVICE: Final = {
    "chain_of_thought": "Choose a model that does not think aloud, or serve it with thinking switched off in its chat "
    "template (enable_thinking false); where its server parts thoughts from text, serving.logprobs false in the "
    "profile leaves them out, and no information is measured",
    "turn_marks": "Serve the model with the chat template that it was trained with, or choose another model",
    "holds_key": "Ask the server's owner why it gives the key back",
    "placeholder": "Choose a model that follows instructions, or a method with shorter ones",
    "cut_off": "Raise text.sampling.max_tokens, or choose a model that comes to an end",
    "rejected": "Lower text.sampling.max_tokens or the source's max_chars, or serve the model with a longer context",
    "malformed": "Serve the model with structured outputs, as vLLM does",
    "echo": "Choose an instruction-tuned model, or another method",
    "refusal": "Choose another model or other anchors",
    "deadline": "Raise generation.deadline_seconds, or lower generation.max_in_flight",
    "empty": "Choose an instruction-tuned model, or another method",
    "over_budget": "Raise text.budget_tokens: so few do not pay for the first anchors",
}
"""By the reason of the drops; a sentence without its full stop. Other reasons are faults of single texts."""
