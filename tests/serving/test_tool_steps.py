"""The grammar of an agent's step, as the embedded engine and vLLM have it: the calls that tools allow, no others."""

import pytest

from gainloop.methods.tool_prompts import ask_agent
from gainloop.serving.sampling import Grammar
from gainloop.tools.shop import SHOP
from schemas.conversation import Turn
from schemas.rows import Anchor, Request
from tests.tiny_model import tiny_tokenizer


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    tokenizer = tiny_tokenizer()
    return Grammar(tokenizer, len(tokenizer))


def step(can_call: bool) -> Request:
    turns = [Turn("user", "Hello.")]
    return ask_agent(Anchor("A task."), 0, "agent", SHOP.policy, SHOP.tools, turns, can_call)


@pytest.mark.parametrize(
    ("reply", "is_allowed"),
    [
        ('{"say": "Which order?"}', True),
        ('{"call": {"name": "find_customer", "arguments": {"email": "a@b"}}}', True),
        ('{"call": {"name": "find_products", "arguments": {}}}', True),
        ('{"call": {"name": "return_goods", "arguments": {"order_id": "O-1", "product_id": "P-1"}}}', True),
        (
            '{"call": {"name": "place_order", "arguments": {"customer_id": "C", "lines": [{"product_id": "P", '
            '"quantity": 3}]}}}',
            True,
        ),
        ('{"call": {"name": "cancel_order", "arguments": {"order_id": "O-1", "reason": "bored"}}}', False),
        ('{"call": {"name": "cancel_order", "arguments": {"order_id": "O-1"}}}', False),
        ('{"call": {"name": "fly", "arguments": {}}}', False),
        ('{"say": "A", "call": {}}', False),
    ],
)
def test_a_step_is_what_somebody_says_or_a_call_that_a_tool_allows(
    grammar: Grammar, reply: str, is_allowed: bool
) -> None:
    matcher = grammar.matcher(step(can_call=True).json_schema)
    assert matcher is not None
    assert matcher.accept_string(reply) is is_allowed


def test_the_last_step_can_be_no_call(grammar: Grammar) -> None:
    matcher = grammar.matcher(step(can_call=False).json_schema)
    assert matcher is not None
    assert not matcher.accept_string('{"call": {"name": "find_products", "arguments": {}}}')
