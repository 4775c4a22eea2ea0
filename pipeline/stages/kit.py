"""What a stage of one's own is made of, in one place; docs/STAGES.md shows how.

The names here stay, whatever is moved about behind them.
"""

from pipeline.errors import Invalid, Unavailable
from pipeline.events import DeadLetterReason
from pipeline.questions import Image, Inquiry, Pdf, Question, Steps, Text
from pipeline.settings import Extracting, Label, Labels, StageSettings
from pipeline.signals import Signal
from pipeline.stages.amounts import parse_amount, read_amount
from pipeline.stages.checks import (
    blank_signals,
    language_signals,
    length_signals,
    quote_signals,
    runner_up_signals,
)
from pipeline.stages.choosing import Choosing, Matter
from pipeline.stages.dates import parse_date
from pipeline.stages.evidence import numbers_missing, quote_found, quotes_found
from pipeline.stages.extracting import Extracted, Extraction
from pipeline.stages.files import FileEvent, Files
from pipeline.stages.injection import injection_signals
from pipeline.stages.json_stage import JsonStage
from pipeline.stages.legibility import damage_signals
from pipeline.stages.likeness import Likeness
from pipeline.stages.prompt import Section, build_instructions
from pipeline.stages.rewording import backwards, reworded
from pipeline.stages.schema import answer_schema
from pipeline.stages.scope import Scope
from pipeline.stages.stage import Answer, RawEvent, Stage
from pipeline.stages.taxonomy import label_lines, label_type, narrowed
from pipeline.stages.text import is_blank, stated, visible
from pipeline.stages.text_index import TextIndex
from pipeline.stages.values import value_signals

__all__ = [
    "Answer",
    "Choosing",
    "DeadLetterReason",
    "Extracted",
    "Extracting",
    "Extraction",
    "FileEvent",
    "Files",
    "Image",
    "Inquiry",
    "Invalid",
    "JsonStage",
    "Label",
    "Labels",
    "Likeness",
    "Matter",
    "Pdf",
    "Question",
    "RawEvent",
    "Scope",
    "Section",
    "Signal",
    "Stage",
    "StageSettings",
    "Steps",
    "Text",
    "TextIndex",
    "Unavailable",
    "answer_schema",
    "backwards",
    "blank_signals",
    "build_instructions",
    "damage_signals",
    "injection_signals",
    "is_blank",
    "label_lines",
    "label_type",
    "language_signals",
    "length_signals",
    "narrowed",
    "numbers_missing",
    "parse_amount",
    "parse_date",
    "quote_found",
    "quote_signals",
    "quotes_found",
    "read_amount",
    "reworded",
    "runner_up_signals",
    "stated",
    "value_signals",
    "visible",
]
