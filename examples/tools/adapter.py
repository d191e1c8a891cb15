"""Python that works with what the Rust program has, by calling tools of the host during its calls.

Run by `cargo run -p snakepit --example tools`.
"""

from __future__ import annotations

import asyncio

from snakepit import ToolError, context, tool


@tool
def invoice(customer: str) -> dict[str, object]:
    """Adds up what a customer has ordered. Orders and prices are the host's.

    Args:
        customer: Who has ordered.

    Returns:
        The customer, the sum, and what had no price.
    """
    total, unknown = 0.0, []
    for order in context.call_tool("orders", customer=customer):
        try:
            total += context.call_tool("price", product=order["product"]) * order["count"]
        except ToolError as error:
            if error.kind != "no_price":
                raise
            unknown.append(error.details["product"])
    return {"customer": customer, "total": round(total, 2), "unknown": unknown}


@tool
async def compare(products: list[str]) -> str:
    """Finds the cheapest product; all prices are asked for at the same time.

    Args:
        products: What to compare.

    Returns:
        The name of the cheapest one.
    """
    asked = [context.call_tool_async("price", product=product) for product in products]
    prices = await asyncio.gather(*asked)
    return products[prices.index(min(prices))]


@tool
def discount(total: float) -> float:
    """Says how much is taken off a sum; the host's tool `offer` calls it in turn.

    Args:
        total: The sum.

    Returns:
        The discount.
    """
    return round(total * 0.1, 2) if total > 20 else 0.0


@tool
def negotiate(customer: str) -> dict[str, object]:
    """Makes an offer with the help of a tool of the host that calls Python again.

    Args:
        customer: For whom.

    Returns:
        The offer, and the tools there were to help with it.
    """
    return {
        "offer": context.call_tool("offer", customer=customer),
        "tools": sorted(context.tools),
    }
