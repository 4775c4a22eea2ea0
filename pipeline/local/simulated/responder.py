"""From a request to its answer: reads the files, then fills the schema."""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.local.simulated.answering.content import Content, read_content
from pipeline.local.simulated.answering.files import FileReader
from pipeline.local.simulated.answering.reader import Reader
from pipeline.local.simulated.answering.skill import SKILLS
from pipeline.local.simulated.media import Media
from pipeline.local.simulated.models import Line
from pipeline.local.simulated.request import MessageRequest
from pipeline.stages.checks.scope import Encoder


class Answerer:
    """Answers requests of all models; the same request is read once.

    Args:
        files: Reads images and PDF files.
        encoder: Compares contents with labels, where there is one.
        kept: Answers that are kept.
    """

    def __init__(self, files: FileReader, encoder: Encoder | None = None, kept: int = 5000) -> None:
        self._files = files
        self._kept = kept
        self._answers: OrderedDict[tuple[Line, str], Any] = OrderedDict()
        self._readers: Mapping[Line, Reader] = MappingProxyType(
            {line: Reader(skill, encoder) for line, skill in SKILLS.items()}
        )

    async def answer(self, request: MessageRequest) -> Any:  # noqa: ANN401 - any JSON value or text
        """The answer: a text, or a value of the request's schema.

        Raises:
            ApiError: 400, where a file cannot be read.
        """
        key = (request.model.line, request.digest)
        if key not in self._answers:
            self._answers[key] = self._read(request, await self._content(request))
            if len(self._answers) > self._kept:
                self._answers.popitem(last=False)
        return self._answers[key]

    def _read(self, request: MessageRequest, content: Content) -> Any:  # noqa: ANN401 - as above
        reader = self._readers[request.model.line]
        if request.schema is None:
            return reader.write(content)
        return reader.answer(request.schema, request.schema_key, request.instructions, content)

    async def _content(self, request: MessageRequest) -> Content:
        texts = [part for part in request.content if isinstance(part, str)]
        read = [await self._files.read(p) for p in request.content if isinstance(p, Media)]
        return read_content(texts, read)
