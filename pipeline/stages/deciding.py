"""Which fields of an answer are the decision: what its label is, and whether two answers agree."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel


@runtime_checkable
class Deciding(Protocol):
    """A stage that says what decides; one whose answers are prose has no such fields."""

    @property
    def deciding(self) -> tuple[str, ...]:
        """Names of fields of answer and result alike; the first is the label, if there is one."""
        ...


def label_of(stage: object, answer: BaseModel) -> str | None:
    """The label that an answer chose; None where the stage has none."""
    deciding = _deciding(stage)
    if deciding is None:
        return None
    label = getattr(answer, deciding[0])
    return label if isinstance(label, str) else None


def differences(
    stage: object, one: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The fields in which two answers, or two results, decide differently.

    Args:
        stage: Whose they are.
        one: By field.
        other: The same.

    Returns:
        Their names, empty where both decide the same; None where the stage does not say what
        decides.
    """
    deciding = _deciding(stage)
    if deciding is None:
        return None
    return tuple(name for name in deciding if _same(one[name]) != _same(other[name]))


def _deciding(stage: object) -> tuple[str, ...] | None:
    # For every event, and asking whether it is an instance of the protocol takes far longer.
    found: tuple[str, ...] | None = getattr(stage, "deciding", None)
    return found


def _same(value: object) -> object:
    return value.strip().casefold() if isinstance(value, str) else value
