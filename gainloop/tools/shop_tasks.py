"""Tasks of the simulated shop, made by seed and level, each with reference actions and what must be so after them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from gainloop.tools.shop import REASONS, SHOP, first_state
from gainloop.tools.task import Assertion, Scenario, ToolTask
from gainloop.tools.world import State
from schemas.conversation import ToolCall

LEVELS: Final = 3
"""1: one wish, and the user knows the order's number. 2: the user does not know it. 3: two wishes, and neither."""

PERSONAS: Final = (
    "A busy gardener who writes in short sentences.",
    "A patient beginner who thanks for everything.",
    "A grumpy allotment holder who wants no small talk.",
    "A school caretaker who writes very politely.",
    "A cook with a kitchen garden, cheerful and chatty.",
)
STREETS: Final = ("Quay Side", "Bell Street", "Long Acre", "Smithy Lane")
TOWNS: Final = ("Harwell", "Nettle Cross", "Sandford", "Upton")
RUBRIC: Final = (
    "The agent did what the customer asked for, and nothing that nobody asked for.",
    "What the agent said agrees with what the tools gave.",
)


@dataclass
class _Draft:
    """A task in the making: the customer, the wishes so far, and the state that the actions so far lead to."""

    rng: Random
    state: State
    customer_id: str
    wishes: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    actions: list[ToolCall] = field(default_factory=list)
    assertions: list[Assertion] = field(default_factory=list)
    must_say: list[str] = field(default_factory=list)

    def do(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Add a reference action, and return what its tool gives."""
        step = SHOP.call(self.state, call := ToolCall(name, arguments))
        assert step.kind == "success", step.result
        self.state = step.state
        self.actions.append(call)
        return dict(step.result)

    def order(self, status: str, level: int) -> str:
        """Return the customer's order of a status; the user knows its number at the first level only."""
        orders = self.state["orders"].items()
        (order_id, one), *_ = [
            it for it in orders if it[1]["customer_id"] == self.customer_id and it[1]["status"] == status
        ]
        (self.known if level == 1 else self.unknown)[f"number of the {status} order"] = order_id
        self.known[f"goods of the {status} order"] = ", ".join(
            f"{line['quantity']} {self.state['products'][line['product_id']]['name']}" for line in one["lines"]
        )
        return str(order_id)

    def expect(self, value: Any, *path: str) -> None:
        self.assertions.append(Assertion(path, value))


def _cancel(draft: _Draft, level: int) -> None:
    order_id, reason = draft.order("open", level), draft.rng.choice(REASONS)
    draft.wishes.append("cancel the open order")
    draft.known["reason for cancelling"] = reason
    draft.do("cancel_order", order_id=order_id, reason=reason)
    draft.expect("cancelled", "orders", order_id, "status")


def _move(draft: _Draft, level: int) -> None:
    order_id = draft.order("open", level)
    street, town = f"{draft.rng.choice(STREETS)} {draft.rng.randint(1, 90)}", draft.rng.choice(TOWNS)
    draft.wishes.append("have the open order sent to another address")
    draft.known["new address"] = f"{street}, {town}"
    draft.do("change_address", order_id=order_id, street=street, town=town)
    draft.expect(street, "orders", order_id, "street")


def _voucher(draft: _Draft, level: int) -> None:
    order_id, code = draft.order("open", level), draft.rng.choice(sorted(draft.state["vouchers"]))
    draft.wishes.append("use a voucher for the open order, and hear what it costs then")
    draft.known["voucher"] = code
    total = draft.do("apply_voucher", order_id=order_id, code=code)["total_cents"]
    draft.must_say.append(in_euros(total))
    draft.expect(code, "orders", order_id, "voucher")


def _return(draft: _Draft, level: int) -> None:
    order_id = draft.order("delivered", level)
    line = draft.rng.choice(draft.state["orders"][order_id]["lines"])
    quantity = draft.rng.randint(1, line["quantity"] - 1)
    name = draft.state["products"][line["product_id"]]["name"]
    draft.wishes.append("send back a part of the delivered order")
    draft.known["goods to send back"] = f"{quantity} {name}"
    draft.do("return_goods", order_id=order_id, product_id=line["product_id"], quantity=quantity)
    returned = [{"product_id": line["product_id"], "quantity": quantity}]
    draft.expect(returned, "orders", order_id, "returned")


def _buy(draft: _Draft, level: int) -> None:
    product_id = draft.rng.choice(sorted(draft.state["products"]))
    quantity, product = draft.rng.randint(1, 4), draft.state["products"][product_id]
    draft.wishes.append("buy something, and hear the number of the new order and what it costs")
    draft.known["goods to buy"] = f"{quantity} {product['name']}"
    lines = [{"product_id": product_id, "quantity": quantity}]
    order = draft.do("place_order", customer_id=draft.customer_id, lines=lines)
    draft.must_say += [order["order_id"], in_euros(order["total_cents"])]
    draft.expect("open", "orders", order["order_id"], "status")


_WISHES: Final[tuple[Callable[[_Draft, int], None], ...]] = (_cancel, _move, _voucher, _return, _buy)
_PAIRS: Final = ((_move, _voucher), (_cancel, _buy), (_return, _move), (_buy, _voucher), (_return, _cancel))


def in_euros(cents: int) -> str:
    """Return a price as it is said to customers.

    >>> in_euros(1905)
    '19.05'
    """
    return f"{cents // 100}.{cents % 100:02d}"


def make_task(seed: int | str, level: int) -> ToolTask:
    """Return the task of a seed and a level, 1 to ``LEVELS``; its own actions solve it."""
    rng = Random(f"{seed}/{level}/shop")  # noqa: S311
    state = first_state(rng)
    draft = _Draft(rng, state, rng.choice(sorted(state["customers"])))
    customer = state["customers"][draft.customer_id]
    draft.known |= {"own name": customer["name"], "e-mail address": customer["email"]}
    for wish in rng.choice(_PAIRS) if level >= LEVELS else (rng.choice(_WISHES),):
        wish(draft, level)
    return ToolTask(
        Scenario(
            persona=rng.choice(PERSONAS),
            reason=f"To {', and to '.join(draft.wishes)}.",
            known=draft.known,
            unknown=draft.unknown,
            instructions="Say at first only what you want. Give facts when you are asked for them.",
        ),
        world=SHOP.name,
        state=state,
        actions=tuple(draft.actions),
        assertions=tuple(draft.assertions),
        must_say=tuple(draft.must_say),
        rubric=RUBRIC,
        level=level,
    )


def make_tasks(number: int, seed: int | str) -> list[ToolTask]:
    """Return so many tasks of a seed, from simple to hard in turn."""
    return [make_task(f"{seed}/{one}", 1 + one % LEVELS) for one in range(number)]
