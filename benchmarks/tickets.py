"""Tickets to ask about, as many as one likes, no two alike."""

import random
from collections.abc import Iterator

from pipeline.config import Settings
from pipeline.model.questions import Question
from pipeline.stages.tickets import TicketAnswer, TicketEvent, Tickets

_OPENINGS = (
    "Hello,",
    "Hi team,",
    "Good morning,",
    "To whom it may concern,",
    "Hi,",
)
_MATTERS = (
    "I was charged twice for order {number}. Please refund one of the two payments.",
    "the app shows an error whenever I open invoice {number}, and I cannot log in any more.",
    "we would like a quote for {number} seats of the business plan, starting next month.",
    "what are your opening hours around the holidays? My customer number is {number}.",
    "my card was declined for order {number}, although there is enough money in the account.",
    "the export of report {number} has been stuck at 40 % since this morning.",
    "can I upgrade from the basic plan to the team plan? We are {number} people by now.",
    "I would like to thank your colleague who helped me with case {number}.",
)
_ENDINGS = (
    "Please let me know how to go on.",
    "It is the second time that this happens.",
    "I need it by the end of the week.",
    "Thank you for your help!",
    "Best regards, Kim",
)


def ticket(number: int) -> TicketEvent:
    """The ticket of that number, always the same."""
    draws = random.Random(number)  # noqa: S311 - repeatable, not secret
    body = " ".join(
        (
            draws.choice(_OPENINGS),
            draws.choice(_MATTERS).format(number=10_000_000 + number),
            draws.choice(_ENDINGS),
        )
    )
    return TicketEvent(id=f"T-{number}", body=body)


def tickets(begin: int = 0) -> Iterator[TicketEvent]:
    """Tickets without end, from that number on."""
    while True:
        yield ticket(begin)
        begin += 1


QUOTE = "charged twice"
"""Words of every `charged_twice`, for an answer that has to quote the ticket."""
_CHARGED_TWICE = (
    "I was charged twice for order {number:07d}: once on Monday, and once more today. Please"
    " refund one of the two payments to the card that I paid with, and tell me when I can expect"
    " it. I have attached the statement of my bank, on which both are listed. Kind regards, Kim"
)


def charged_twice(number: int) -> TicketEvent:
    """A ticket of 289 bytes, as JSON, like those that other programs were measured with."""
    return TicketEvent(id=f"T-{number:07d}", body=_CHARGED_TWICE.format(number=number))


class Questions:
    """Asks about tickets as the stage does with the labels that it has by default."""

    def __init__(self) -> None:
        self._stage = Tickets(Settings().stages.tickets)

    def of(self, event: TicketEvent) -> Question[TicketAnswer]:
        """The question about one."""
        asked = self._stage.question(event)
        if not isinstance(asked, Question):
            raise TypeError("the stage has so many labels that it asks in several steps")
        return asked
