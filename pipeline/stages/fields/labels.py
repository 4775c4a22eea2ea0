"""One label of a taxonomy, asked at once or, of many labels, in two levels.

The first of two levels asks for a group of labels and the group that comes second; the next
offers the labels of those alone, with everything else that the stage asks. What is offered
depends on the groups and on nothing else, so each group's instructions stay in the prompt cache.

A team's own labels: as a section of the prompt, and as the type an answer must have.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue, create_model

from pipeline.config import MOST_AT_ONCE, Label
from pipeline.model.questions import MultiStepQuery, Part, Query, Question
from pipeline.stages.fields.label_groups import Group, groups_of
from pipeline.stages.stage import Answer, Section, answer_schema, build_instructions

ModelT = TypeVar("ModelT", bound=BaseModel)


def label_type(names: Iterable[str]) -> Any:  # noqa: ANN401 - a type made at run time
    """Make the type of a field that takes one of the names."""
    known = tuple(names)
    return Literal[known]


def restrict_labels(model: type[ModelT], **types: Any) -> type[ModelT]:  # noqa: ANN401 - of `label_type`
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


AnswerT = TypeVar("AnswerT", bound=Answer)
_GROUP_TOKENS = 300
_GROUP_FIELDS = """\
- `quote`: the few words of the content, at most twenty, that decide. Copied exactly; an empty \
string only if there are no words.
- `group`: the group whose labels cover what it is about. Its labels are offered next.
- `runner_up`: the group that comes second, if a careful person could defend it; otherwise null. \
Its labels are then offered as well, so name it whenever the right label could be one of them."""
_CHOSEN = """\
These labels are a part of all there are: those of the groups that fit best. If none of them \
fits, take the closest, and set `unclear` to true."""


class GroupAnswer(Answer):
    """What is asked first where there are many labels; the groups are the taxonomy's."""

    quote: str = Field(description="Words of the content, copied exactly, that decide.")
    group: str = Field(description="The group of labels that fits.")
    runner_up: str | None = Field(description="The second-best group, or null.")


@dataclass(frozen=True, slots=True)
class Form(Generic[AnswerT]):
    """What a stage asks of all events that are offered the same labels."""

    instructions: str
    answer_model: type[AnswerT]
    answer_schema: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """What the stage brings to the question for a group.

    Args:
        stage: Its name.
        role: How its instructions begin.
        how_to_choose: What helps to tell labels apart.
        labels: What it calls its labels, as a title, e.g. `Intents`.
    """

    stage: str
    role: str
    how_to_choose: str
    labels: str


class LabelClassifier(Generic[AnswerT]):
    """Asks for one of a team's labels.

    Args:
        matter: What the stage brings.
        labels: All of them.
        offer: Makes the stage's instructions for a section that offers labels.
        answer: Makes the answer's model for the type of a label.
    """

    def __init__(
        self,
        matter: LabelSet,
        labels: Sequence[Label],
        *,
        offer: Callable[[Section], str],
        answer: Callable[[Any], type[AnswerT]],
    ) -> None:
        self._matter = matter
        self._labels = tuple(labels)
        self._offer = offer
        self._answer = answer
        self._forms: dict[tuple[str, ...], Form[AnswerT]] = {}
        self._groups: Mapping[str, Group] = {}
        if len(self._labels) <= MOST_AT_ONCE:
            self._whole = _form(self._offer_of(self._labels), self._answer_of(self._labels))
        else:
            self._groups = {group.name: group for group in groups_of(self._labels)}
            self._first = _form(
                _group_instructions(matter, tuple(self._groups.values())),
                _group_answer(self._groups),
            )

    def about(self, parts: tuple[Part, ...], *, max_output_tokens: int) -> Query[AnswerT]:
        """Ask about an event.

        Args:
            parts: The event's content.
            max_output_tokens: Enough for the stage's longest answer that makes sense.
        """
        if not self._groups:
            return _question(self._matter.stage, self._whole, parts, max_output_tokens)

        def then(answers: tuple[GroupAnswer, ...]) -> MultiStepQuery[AnswerT]:
            (chosen,) = answers
            question = _question(
                self._matter.stage, self._form_of(chosen), parts, max_output_tokens
            )
            return MultiStepQuery((question,), lambda labelled: both_levels(chosen, labelled[0]))

        first = _question(self._matter.stage, self._first, parts, _GROUP_TOKENS)
        return MultiStepQuery((first,), then)

    def _form_of(self, chosen: GroupAnswer) -> Form[AnswerT]:
        wanted = {chosen.group, chosen.runner_up}
        names = tuple(name for name in self._groups if name in wanted)
        if names not in self._forms:
            labels = [label for name in names for label in self._groups[name].labels]
            self._forms[names] = _form(self._offer_of(labels, _CHOSEN), self._answer_of(labels))
        return self._forms[names]

    def _offer_of(self, labels: Sequence[Label], *remarks: str) -> str:
        return self._offer(Section(self._matter.labels, "\n".join([*remarks, label_lines(labels)])))

    def _answer_of(self, labels: Sequence[Label]) -> type[AnswerT]:
        return self._answer(label_type(label.name for label in labels))


def both_levels(group: GroupAnswer, answer: AnswerT) -> AnswerT:
    """The answer, no surer than its group was, unless the second group was offered as well."""
    settled = group.runner_up not in {None, group.group}
    stated = answer.confidence if settled else min(answer.confidence, group.confidence)
    if not 0 <= group.confidence <= 1:
        stated = group.confidence  # no confidence at all, which has to be seen
    unclear = group.unclear or answer.unclear
    return answer.model_copy(update={"confidence": stated, "unclear": unclear})


def _form(instructions: str, answer_model: type[AnswerT]) -> Form[AnswerT]:
    return Form(instructions, answer_model, answer_schema(answer_model))


def _question(
    stage: str, form: Form[AnswerT], parts: tuple[Part, ...], max_output_tokens: int
) -> Question[AnswerT]:
    return Question(
        stage=stage,
        instructions=form.instructions,
        parts=parts,
        answer_model=form.answer_model,
        answer_schema=form.answer_schema,
        max_output_tokens=max_output_tokens,
    )


def _group_instructions(matter: LabelSet, groups: Sequence[Group]) -> str:
    return build_instructions(
        matter.role,
        Section("What to answer", _GROUP_FIELDS),
        Section(f"Groups of labels ({matter.labels.lower()})", _group_lines(groups)),
        Section("How to choose", matter.how_to_choose),
    )


def _group_lines(groups: Sequence[Group]) -> str:
    """Describe groups by their labels, one group a line."""
    return "\n".join(
        f"- {group.name}: {'; '.join(_in_short(label) for label in group.labels)}"
        for group in groups
    )


def _in_short(label: Label) -> str:
    said = label.description or next(iter(label.examples), "")
    said = " ".join(said.split())
    return f"{label.name} ({said})" if said else label.name


def _group_answer(groups: Mapping[str, Group]) -> type[GroupAnswer]:
    names: Any = label_type(groups)
    return restrict_labels(GroupAnswer, group=names, runner_up=names | None)
