"""What is asked of a document, of a part of one, and of all parts together."""

from pydantic import BaseModel, ConfigDict, Field

from pipeline.stages.stage import Answer

ANSWER_TOKENS = 3000
"""Enough for seven key points, some dozen actions and a summary of 30 sentences."""


class AnsweredAction(BaseModel):
    """Something to be done, as the model read it; empty where the document does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(description="What is to be done, in a few words.")
    owner: str = Field(description="Who does it, as the document names them, or empty.")
    due: str = Field(description="By when, in the document's own words, or empty.")


class DocumentAnswer(Answer):
    """What is asked of a document."""

    quotes: list[str] = Field(description="Passages that carry what matters, copied exactly.")
    key_points: list[str] = Field(description="What a reader must know, most important first.")
    actions: list[AnsweredAction] = Field(description="What somebody has to do.")
    summary: str = Field(description="Whole sentences, at most as many as max_sentences says.")
    language: str = Field(description="ISO 639-1 code of the document's language.")


class JoinedAnswer(Answer):
    """What is asked of the answers to all parts of a document: its quotes are the parts' own."""

    key_points: list[str] = Field(description="What a reader must know, most important first.")
    actions: list[AnsweredAction] = Field(description="What somebody has to do.")
    summary: str = Field(description="Whole sentences, at most as many as max_sentences says.")
