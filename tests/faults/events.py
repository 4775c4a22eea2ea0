"""The events of a run: tickets, each with an id, a key and its number among those of its key."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

MARK = r"E-[0-9]{6}"
"""What an event's id looks like in the content of a call about it."""

_TICKETS = (
    ("Charged twice", "I was charged twice on my last invoice. Please refund one payment."),
    ("Error on log-in", "Logging in fails with an error since this morning; I cannot work."),
    ("Quote for a plan", "We want to buy the Business plan. Please send a quote with the price."),
    ("Opening hours", "What are your opening hours, and where is the company based?"),
    ("Refund", "Please refund the payment of the last invoice; the charge is wrong."),
    ("Log-in fails", "The page does not load and shows an error when I try to log in."),
    ("Upgrade", "We would like to upgrade and buy more seats. Please send me a quote."),
)
_UNCLEAR = ("The matter", "It is about the matter that we talked about.")
"""Haiku does not know what it is about, so it goes on to Sonnet."""


@dataclass(frozen=True, slots=True)
class Event:
    """One raw ticket.

    Args:
        id: Occurs nowhere else.
        key: The record's key.
        number: Counts the events of the key from 1, in the order in which they are published.
        value: The record's value. The id is part of its text: each event is a question of its own.
    """

    id: str
    key: str
    number: int
    value: bytes


def make_events(*, keys: int, seed: int, unclear: float = 0.08) -> Iterator[Event]:
    """Make events over keys that are drawn at random, without end.

    Args:
        keys: How many different keys.
        seed: Equal seeds make equal events.
        unclear: Share of the events that the simulated Haiku does not decide.
    """
    draw = random.Random(seed)
    numbers: Counter[str] = Counter()
    for index in itertools.count():
        key = f"customer-{draw.randrange(keys)}"
        numbers[key] += 1
        subject, body = _UNCLEAR if draw.random() < unclear else draw.choice(_TICKETS)
        event_id = f"E-{index:06d}"
        value = orjson.dumps(
            {
                "id": event_id,
                "subject": subject,
                "body": f"{body} My reference is {event_id}.",
                "number": numbers[key],
            }
        )
        yield Event(event_id, key, numbers[key], value)
