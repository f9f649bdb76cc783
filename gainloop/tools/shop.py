"""A simulated shop for seeds and garden tools: ten tools, the rules of its service desk, and its first state."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from gainloop.tools.tool import Tool
from gainloop.tools.world import CallRefused, Effect, State, World

POLICY: Final = (
    "You work at the service desk of a shop for seeds and garden tools. Help with products, orders and returns by the "
    "tools alone, and say nothing about them that no tool has said. Find the customer by e-mail address before you "
    "change anything, and change only orders of that customer. An order may be changed or cancelled while it is open; "
    "goods of a delivered order may be returned. Prices are in cents in the tools; say them to customers in euros, "
    "with two decimals. Do what was asked for and no more, and say at the end what was done."
)

REASONS: Final = ("no longer needed", "ordered by mistake", "too expensive")

_CROPS = ["beetroot", "carrot", "chard", "cress", "fennel", "kale", "leek", "lettuce", "parsnip", "radish", "spinach"]
_TOOLS = ["dibber", "fork", "hoe", "rake", "sieve", "spade", "trowel", "watering-can"]
_NAMES = ["Adler", "Birk", "Cole", "Dorn", "Esch", "Falk", "Grau", "Holm", "Iven", "Jost", "Kern", "Lind"]
_STREETS = ["Mill Lane", "Well Street", "Orchard Row", "Ferry Road", "Station Road", "Church Hill"]
_TOWNS = ["Ottery", "Linford", "Marsham", "Overdale", "Teasel", "Wick"]


def _text(**more: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": 60} | more


def _whole(least: int = 0, most: int = 10**7) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def _object(optional: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    needed = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": needed, "additionalProperties": False}


def _list(item: dict[str, Any], most: int = 20, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def _map(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value}


_LINE = _object(product_id=_text(), quantity=_whole(1, 99))
_PRODUCT = _object(name=_text(), category={"enum": ["seeds", "tools"]}, price_cents=_whole(1), stock=_whole())
_CUSTOMER = _object(name=_text(), email=_text(), street=_text(), town=_text())
_ORDER = _object(
    customer_id=_text(),
    status={"enum": ["open", "sent", "delivered", "cancelled"]},
    lines=_list(_LINE),
    street=_text(),
    town=_text(),
    voucher={"type": "string"},
    total_cents=_whole(),
    reason={"type": "string"},
    returned=_list(_LINE),
)
STATE_SCHEMA: Final = _object(
    products=_map(_PRODUCT),
    customers=_map(_CUSTOMER),
    orders=_map(_ORDER),
    vouchers=_map(_whole(1, 90)),
    next_order=_whole(),
)


def _found(kind: str, rows: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in rows:
        raise CallRefused(f"There is no {kind} {name!r}.")
    return dict(rows[name])


def _open_order(state: State, order_id: str) -> dict[str, Any]:
    order = _found("order", state["orders"], order_id)
    if order["status"] != "open":
        raise CallRefused(f"Order {order_id} is {order['status']}; only an open one may be changed.")
    return order


def _with_order(state: State, order_id: str, order: dict[str, Any]) -> State:
    return state | {"orders": state["orders"] | {order_id: order}}


def _total(state: State, lines: list[dict[str, Any]], voucher: str) -> int:
    total = sum(state["products"][line["product_id"]]["price_cents"] * line["quantity"] for line in lines)
    return int(total - total * state["vouchers"].get(voucher, 0) // 100)


def _shown(order_id: str, order: dict[str, Any]) -> dict[str, Any]:
    return {"order_id": order_id, **order}


def _find_products(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    wanted, category = str(given.get("query", "")).casefold(), given.get("category")
    rows = [{"product_id": name, **one} for name, one in sorted(state["products"].items())]
    kept = [one for one in rows if wanted in one["name"].casefold() and category in (None, one["category"])]
    return state, {"products": kept}


def _get_product(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    return state, {"product_id": given["product_id"], **_found("product", state["products"], given["product_id"])}


def _find_customer(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    for name, one in sorted(state["customers"].items()):
        if one["email"].casefold() == given["email"].strip().casefold():
            return state, {"customer_id": name, **one}
    raise CallRefused(f"There is no customer with the address {given['email']!r}.")


def _list_orders(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    _found("customer", state["customers"], given["customer_id"])
    own = {name: one for name, one in sorted(state["orders"].items()) if one["customer_id"] == given["customer_id"]}
    return state, {"orders": [_shown(name, one) for name, one in own.items()]}


def _get_order(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    return state, _shown(given["order_id"], _found("order", state["orders"], given["order_id"]))


def _place_order(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    customer = _found("customer", state["customers"], given["customer_id"])
    products = dict(state["products"])
    for line in given["lines"]:
        product = _found("product", products, line["product_id"])
        if product["stock"] < line["quantity"]:
            raise CallRefused(f"Of {product['name']} there are {product['stock']}, not {line['quantity']}.")
        products[line["product_id"]] = product | {"stock": product["stock"] - line["quantity"]}
    order_id = f"O-{state['next_order']}"
    order = {"customer_id": given["customer_id"], "status": "open", "lines": given["lines"], "voucher": ""}
    order |= {"street": customer["street"], "town": customer["town"], "reason": "", "returned": []}
    order["total_cents"] = _total(state, given["lines"], "")
    after = _with_order(state | {"products": products, "next_order": state["next_order"] + 1}, order_id, order)
    return after, _shown(order_id, order)


def _cancel_order(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    order = _open_order(state, given["order_id"]) | {"status": "cancelled", "reason": given["reason"]}
    products = dict(state["products"])
    for line in order["lines"]:
        product = products[line["product_id"]]
        products[line["product_id"]] = product | {"stock": product["stock"] + line["quantity"]}
    return _with_order(state | {"products": products}, given["order_id"], order), _shown(given["order_id"], order)


def _change_address(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    order = _open_order(state, given["order_id"]) | {"street": given["street"], "town": given["town"]}
    return _with_order(state, given["order_id"], order), _shown(given["order_id"], order)


def _apply_voucher(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    order = _open_order(state, given["order_id"])
    if given["code"] not in state["vouchers"]:
        raise CallRefused(f"There is no voucher {given['code']!r}.")
    if order["voucher"]:
        raise CallRefused(f"Order {given['order_id']} has the voucher {order['voucher']} already.")
    order |= {"voucher": given["code"], "total_cents": _total(state, order["lines"], given["code"])}
    return _with_order(state, given["order_id"], order), _shown(given["order_id"], order)


def _return_goods(state: State, given: dict[str, Any]) -> tuple[State, Any]:
    order = _found("order", state["orders"], given["order_id"])
    if order["status"] != "delivered":
        raise CallRefused(f"Order {given['order_id']} is {order['status']}; only delivered goods may be returned.")
    bought = sum(one["quantity"] for one in order["lines"] if one["product_id"] == given["product_id"])
    gone = sum(one["quantity"] for one in order["returned"] if one["product_id"] == given["product_id"])
    # What is left out is all of it: a call without a quantity is another one than a call with one.
    quantity = given.get("quantity", bought - gone)
    if not 0 < quantity <= bought - gone:
        raise CallRefused(f"Of {given['product_id']} {bought - gone} may be returned, not {quantity}.")
    order["returned"] = [*order["returned"], {"product_id": given["product_id"], "quantity": quantity}]
    return _with_order(state, given["order_id"], order), _shown(given["order_id"], order)


_ORDER_SHOWN = _ORDER | {"properties": {"order_id": _text(), **_ORDER["properties"]}}
_PRODUCT_SHOWN = _PRODUCT | {"properties": {"product_id": _text(), **_PRODUCT["properties"]}}
_CUSTOMER_SHOWN = _CUSTOMER | {"properties": {"customer_id": _text(), **_CUSTOMER["properties"]}}
_SEARCH = _object(("query", "category"), query=_text(), category={"type": "string", "enum": ["seeds", "tools"]})
_RETURN = _object(("quantity",), order_id=_text(), product_id=_text(), quantity=_whole(1, 99))

_TABLE: Final[tuple[tuple[str, str, dict[str, Any], dict[str, Any], Callable[..., tuple[State, Any]]], ...]] = (
    ("find_products", "Find products by a part of their name, or all.", _SEARCH,
     _object(products=_list(_PRODUCT_SHOWN, 99)), _find_products),
    ("get_product", "Look a product up.", _object(product_id=_text()), _PRODUCT_SHOWN, _get_product),
    ("find_customer", "Find a customer by e-mail address.", _object(email=_text()), _CUSTOMER_SHOWN, _find_customer),
    ("list_orders", "List the orders of a customer.", _object(customer_id=_text()),
     _object(orders=_list(_ORDER_SHOWN, 99)), _list_orders),
    ("get_order", "Look an order up.", _object(order_id=_text()), _ORDER_SHOWN, _get_order),
    ("place_order", "Order goods for a customer, to be sent to the customer's address.",
     _object(customer_id=_text(), lines=_list(_LINE, 9, 1)), _ORDER_SHOWN, _place_order),
    ("cancel_order", "Cancel an open order.",
     _object(order_id=_text(), reason={"type": "string", "enum": list(REASONS)}), _ORDER_SHOWN, _cancel_order),
    ("change_address", "Change where an open order is sent.",
     _object(order_id=_text(), street=_text(), town=_text()), _ORDER_SHOWN, _change_address),
    ("apply_voucher", "Take a voucher's per cent off the price of an open order.",
     _object(order_id=_text(), code=_text()), _ORDER_SHOWN, _apply_voucher),
    ("return_goods", "Take goods of a delivered order back; without a quantity, all of them.",
     _RETURN, _ORDER_SHOWN, _return_goods),
)  # fmt: skip


def _effects() -> dict[str, tuple[Tool, Effect]]:
    return {name: (Tool(name, about, takes, gives), run) for name, about, takes, gives, run in _TABLE}


SHOP: Final = World("shop", POLICY, STATE_SCHEMA, _effects())


def first_state(rng: Random) -> State:
    """Return a shop with products, four customers and two orders of each: an open one, and a delivered one."""
    names = [
        *((f"{crop} seeds", "seeds") for crop in rng.sample(_CROPS, 5)),
        *((t, "tools") for t in rng.sample(_TOOLS, 3)),
    ]
    products = {
        f"P-{number}": {
            "name": name,
            "category": category,
            "price_cents": rng.randrange(120, 400, 5) if category == "seeds" else rng.randrange(900, 4000, 10),
            "stock": rng.randint(10, 60),
        }
        for number, (name, category) in zip(rng.sample(range(100, 1000), 8), names, strict=True)
    }
    customers = {
        f"C-{number}": {
            "name": name,
            "email": f"{name.casefold()}{rng.randint(10, 99)}@example.org",
            "street": f"{rng.choice(_STREETS)} {rng.randint(1, 90)}",
            "town": rng.choice(_TOWNS),
        }
        for number, name in zip(rng.sample(range(100, 1000), 4), rng.sample(_NAMES, 4), strict=True)
    }
    first = rng.randint(2000, 9000)
    vouchers = {f"{rng.choice(_CROPS).upper()}{percent}": percent for percent in (10, 20)}
    state: State = {
        "products": products,
        "customers": customers,
        "orders": {},
        "vouchers": vouchers,
        "next_order": first,
    }
    for number, customer_id in enumerate(customers):
        for place, status in enumerate(("open", "delivered")):
            lines = [
                {"product_id": one, "quantity": rng.randint(2, 6)}
                for one in rng.sample(sorted(products), rng.randint(1, 2))
            ]
            state["orders"][f"O-{first - 8 + 2 * number + place}"] = {
                "customer_id": customer_id,
                "status": status,
                "lines": lines,
                "street": customers[customer_id]["street"],
                "town": customers[customer_id]["town"],
                "voucher": "",
                "total_cents": _total(state, lines, ""),
                "reason": "",
                "returned": [],
            }
    return state
