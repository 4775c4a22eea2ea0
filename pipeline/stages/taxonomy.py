"""A team's own labels: as a section of the prompt, and as the type an answer must have."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, create_model

from pipeline.settings import Label

ModelT = TypeVar("ModelT", bound=BaseModel)


def label_type(names: Iterable[str]) -> Any:  # noqa: ANN401 - a type made at run time
    """Make the type of a field that takes one of the names."""
    known = tuple(names)
    return Literal[known]


def narrowed(model: type[ModelT], **types: Any) -> type[ModelT]:  # noqa: ANN401 - of `label_type`
    """The same model with other types for some of its fields, which mean what they meant."""
    fields: dict[str, Any] = {
        name: (type_, model.model_fields[name]) for name, type_ in types.items()
    }
    made: type[ModelT] = create_model(model.__name__, __base__=model, **fields)
    return made


def label_lines(labels: Iterable[Label]) -> str:
    """Describe the labels for a prompt, one a line, examples below."""
    return "\n".join(line for label in labels for line in _lines_of(label))


def queues(labels: Sequence[Label]) -> Mapping[str, str]:
    """Map each label to the queue its events go to."""
    return {label.name: label.queue or label.name for label in labels}


def _lines_of(label: Label) -> list[str]:
    description = " ".join(label.description.split())
    lines = [f"- {label.name}: {description}" if description else f"- {label.name}"]
    return lines + [f'  Example: "{" ".join(example.split())}"' for example in label.examples]
