"""What a label file says is true, and which field of a result it says it about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import BaseModel, JsonValue

from pipeline.errors import WrongUse
from pipeline.evaluate.comparison import BY_THE_WAY, FREE_TEXT, Kind, kind_of, same

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "number": "invoice_number",
        "date": "issue_date",
        "total": "gross",
        "grand_total": "gross",
        "net_total": "net",
        "tax_total": "tax",
        "allowance_total": "allowances",
        "charge_total": "charges",
        "moderation": "needs_moderation",
        "legible": "legibility",
    }
)
"""Names that labels go by, and the fields of results that they mean."""

LABELS = ("intent", "queue", "document_type", "agent", "label", "category")
"""Fields that put an event into a class: the first of them that is scored is the label."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A field of the result, and the key under which the label file has its true value."""

    field: str
    key: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is compared, and what makes an answer right.

    Args:
        truths: What is compared.
        label: The field that puts an event into a class; None where none does.
        deciding: An answer is right when these are: the label, or else what the stage says
            decides, or else all that is compared.
        ignored: Keys of the label file that nothing is compared with.
    """

    truths: tuple[Truth, ...]
    label: str | None
    deciding: tuple[str, ...]
    ignored: tuple[str, ...] = field(default=())

    @property
    def rule(self) -> str:
        """In a sentence, when an answer counts as right."""
        if len(self.deciding) == 1:
            return f"An answer counts as right when its {self.deciding[0]} is."
        *most, last = self.deciding
        return f"An answer counts as right when its {', '.join(most)} and {last} are."

    def of(self, gold: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The true values of one event, by field; a field that has no label is not there."""
        return {truth.field: gold[truth.key] for truth in self.truths if truth.key in gold}

    def compare(
        self, truth: Mapping[str, JsonValue], result: Mapping[str, JsonValue]
    ) -> dict[str, bool]:
        """Which of an event's labelled fields are right in a result."""
        return {
            each.field: same(each.kind, truth[each.field], result.get(each.field), key=each.key)
            for each in self.truths
            if each.field in truth
        }

    def is_right(self, fields: Mapping[str, bool]) -> bool:
        """Whether an answer with these fields is right."""
        # An event without a label for any of what decides is judged by what it has.
        judged = [fields[name] for name in self.deciding if name in fields] or fields.values()
        return bool(judged) and all(judged)


def scoring_of(
    result: type[BaseModel],
    keys: Iterable[str],
    *,
    label: str | None = None,
    fields: Sequence[str] = (),
    deciding: Sequence[str] = (),
) -> Scoring:
    """Find out what can be compared.

    Args:
        result: What the stage publishes.
        keys: Of the label file's truths.
        label: `KEY` or `FIELD=KEY`: the class of an event.
        fields: The same for further fields; where neither is given, all that have a label.
        deciding: What the stage says decides. What is asked for by name decides instead.

    Raises:
        WrongUse: There is no such field or key, or nothing to compare.
    """
    known = tuple(dict.fromkeys(keys))
    asked = [_asked(each, result, known) for each in ([label] if label else []) + list(fields)]
    found = asked or [
        Truth(name, key, kind_of(result.model_fields[name]))
        for key in known
        if (name := _field_of(key, result)) is not None
        and name not in FREE_TEXT
        and (name not in BY_THE_WAY or key in ALIASES)
    ]
    by_field = {truth.field: truth for truth in found}
    if not by_field:
        raise WrongUse(
            "There is nothing to compare: no label is about a field of the result "
            f"({', '.join(sorted(set(result.model_fields) - FREE_TEXT))}). "
            "Say which is which with --label FIELD=KEY or --field FIELD=KEY."
        )
    chosen = asked[0].field if label else next((each for each in LABELS if each in by_field), None)
    named = [] if asked else [name for name in deciding if name in by_field]
    used = {truth.key for truth in by_field.values()}
    return Scoring(
        truths=tuple(by_field.values()),
        label=chosen,
        deciding=(chosen,) if chosen is not None else tuple(named or by_field),
        ignored=tuple(key for key in known if key not in used),
    )


def _asked(text: str, result: type[BaseModel], known: Sequence[str]) -> Truth:
    name, _, key = text.rpartition("=")
    field_name = name or _field_of(key, result) or _class_field(result)
    if key not in known:
        raise WrongUse(f"No line has a label {key!r}; there are {', '.join(known)}.")
    if field_name not in result.model_fields:
        raise WrongUse(
            f"The result has no field {field_name!r}; it has {', '.join(result.model_fields)}."
        )
    if field_name in FREE_TEXT:
        raise WrongUse(f"{field_name} is free text: no label can say what is right.")
    return Truth(field_name, key, kind_of(result.model_fields[field_name]))


def _field_of(key: str, result: type[BaseModel]) -> str | None:
    name = key if key in result.model_fields else ALIASES.get(key, "")
    return name if name in result.model_fields else None


def _class_field(result: type[BaseModel]) -> str:
    return next((name for name in LABELS if name in result.model_fields), "")
