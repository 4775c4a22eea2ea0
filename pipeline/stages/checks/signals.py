"""Checks that several stages make of an answer; each gives the signals it finds, or none."""

from collections.abc import Collection

from pipeline.model.questions import Signal
from pipeline.stages.checks.evidence import quotes_found
from pipeline.stages.checks.text_quality import about_tokens, is_blank, is_foreign, known_language

_LONGEST_TOKENS = 100_000
"""Where the signal has its full strength, and Haiku's prompts begin to cost five times as much."""


def quote_signals(quote: str, *texts: str | None) -> list[Signal]:
    """Check that the quote an answer rests on occurs in one of the texts."""
    given = [text for text in texts if text]
    if is_blank(quote):
        return [Signal("evidence_not_found", 0.6, "The answer quotes nothing.")]
    if quotes_found([quote], *given)[0]:
        return []
    return [Signal("evidence_not_found", 1.0, "What the answer quotes is not in the text.")]


def runner_up_signals(label: str, runner_up: str | None, confidence: float) -> list[Signal]:
    """Weigh a second label that was considered: the odds that it is the right one after all."""
    if runner_up is None or runner_up == label:
        return []
    odds = min(1.0, (1 - confidence) / confidence) if confidence > 0 else 1.0
    return [Signal("runner_up_close", round(max(0.0, odds), 6), f"It could also be {runner_up}.")]


def length_signals(*texts: str | None) -> list[Signal]:
    """Weigh the length of the input: what is long needs the larger model."""
    tokens = sum(about_tokens(text) for text in texts if text)
    strength = min(1.0, tokens / _LONGEST_TOKENS)
    return [Signal("long_input", strength, f"The text has about {tokens:,} tokens.")]


def language_signals(language: str, expected: Collection[str], *texts: str | None) -> list[Signal]:
    """Check that the language of an event could be told, and that it is one that is expected.

    Args:
        language: The code that the answer states.
        expected: ISO 639-1 codes; empty where any language will do.
        texts: Of the event; their script must be one of the language's.
    """
    code = known_language(language)
    if code is None:
        return [Signal("unknown_language", 0.6, "language: not a code of ISO 639-1.")]
    if expected and code not in expected:
        return [Signal("unknown_language", 1.0, f"language: {code} is not expected here.")]
    if is_foreign(code, *texts):
        return [Signal("unknown_language", 0.8, f"language: {code} is not written like this.")]
    return []


def blank_signals(*texts: str | None) -> list[Signal]:
    """Notice an event without anything to read."""
    return [Signal("unclear", 1.0, "There is no text to judge.")] if is_blank(*texts) else []
