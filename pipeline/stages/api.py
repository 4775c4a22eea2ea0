"""What a stage of one's own is made of, in one place; docs/STAGES.md shows how.

The names here stay, whatever is moved about behind them.
"""

from pipeline.config import Extracting, Label, Labels, StageSettings
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.questions import Image, MultiStepQuery, Pdf, Query, Question, Signal, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.checks.evidence import numbers_missing, quote_found, quotes_found
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.scope import Likeness, Scope
from pipeline.stages.checks.signals import (
    blank_signals,
    language_signals,
    length_signals,
    quote_signals,
    runner_up_signals,
)
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import damage_signals, is_blank, stated, visible
from pipeline.stages.checks.values import value_signals
from pipeline.stages.fields.amounts import parse_amount, read_amount
from pipeline.stages.fields.dates import parse_date
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.fields.labels import (
    LabelClassifier,
    LabelSet,
    label_lines,
    label_type,
    restrict_labels,
)
from pipeline.stages.files import FileEvent, Files
from pipeline.stages.files.raw_events import JsonStage
from pipeline.stages.stage import (
    Answer,
    RawEvent,
    Section,
    Stage,
    answer_schema,
    build_instructions,
    rephrase,
    reverse_labels,
)

__all__ = [
    "Answer",
    "DeadLetterReason",
    "Extracted",
    "Extracting",
    "FieldExtractor",
    "FileEvent",
    "Files",
    "Image",
    "InvalidEvent",
    "JsonStage",
    "Label",
    "LabelClassifier",
    "LabelSet",
    "Labels",
    "Likeness",
    "MultiStepQuery",
    "Pdf",
    "Query",
    "Question",
    "RawEvent",
    "Scope",
    "Section",
    "Signal",
    "Stage",
    "StageSettings",
    "Text",
    "TextIndex",
    "Unavailable",
    "answer_schema",
    "blank_signals",
    "build_instructions",
    "damage_signals",
    "injection_signals",
    "is_blank",
    "label_lines",
    "label_type",
    "language_signals",
    "length_signals",
    "numbers_missing",
    "parse_amount",
    "parse_date",
    "quote_found",
    "quote_signals",
    "quotes_found",
    "read_amount",
    "rephrase",
    "restrict_labels",
    "reverse_labels",
    "runner_up_signals",
    "stated",
    "value_signals",
    "visible",
]
