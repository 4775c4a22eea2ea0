"""The templates in use: one for each stage, tier and answer schema, built once."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from pipeline.claude.requests import Style, Template
from pipeline.events import Tier
from pipeline.questions import Question
from pipeline.settings import ClaudeSettings

_MOST = 256


class Templates:
    """Finds the template of a question.

    A stage hands in the same schema object with each of its questions, so the object's identity
    finds the template without comparing schemas.

    Args:
        settings: Effort and prompt cache.
    """

    def __init__(self, settings: ClaudeSettings) -> None:
        self._settings = settings
        # The schema is kept beside its template: an identity is only good while the object lives.
        self._found: dict[tuple[Tier, str, str, int], tuple[Mapping[str, JsonValue], Template]] = {}

    def of(self, question: Question[Any], tier: Tier, model: str) -> Template:
        """The template for a question to a model.

        Raises:
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        key = (tier, model, question.instructions, id(question.answer_schema))
        found = self._found.get(key)
        if found is not None:
            return found[1]
        if len(self._found) >= _MOST:
            self._found.clear()
        template = Template(self._style(tier, model), question.instructions, question.answer_schema)
        self._found[key] = question.answer_schema, template
        return template

    def _style(self, tier: Tier, model: str) -> Style:
        claude = self._settings
        return Style(
            model,
            effort=claude.haiku_effort if tier is Tier.HAIKU else claude.sonnet_effort,
            cache_ttl=claude.prompt_cache_ttl if claude.prompt_cache else None,
        )
