"""Document images: what kind of document, how readable, and whether a person has to look."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from pipeline.config import ImageSettings
from pipeline.model.questions import Query, Signal
from pipeline.model.records import LONGEST_QUOTE, Evidence
from pipeline.stages.checks import text_quality
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.fields import asking
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.media import PICTURE_TYPES
from pipeline.stages.files.raw_events import FileEvent, Files

Defect = Literal["blurred", "dark", "glare", "skewed", "cut_off", "low_resolution", "obstructed"]
_ROLE = """\
You sort the document images that arrive at a company: scans, photographs and screenshots. What \
you answer decides where each one is filed, without anybody looking at it first."""
_FIELDS = """\
- `quote`: the few words on the document, at most fifteen, that show best what kind of document \
it is: a title, a heading, a typical phrase. Copied exactly as printed; an empty string if no \
word can be read.
- `document_type`: one of the labels below.
- `runner_up`: the label that comes second, if a careful person could defend it; otherwise null.
- `description`: one line in English, at most 20 words: what the document is, from whom, about \
what. Only what can be read or seen; no personal judgement of people.
- `legibility`: see below.
- `defects`: what is wrong with the image as an image; an empty list if nothing is.
- `needs_moderation`: see below."""
_LEGIBILITY = """\
- legible: the text that matters (title, parties, dates, amounts) can be read without guessing.
- partly: some of it can be read, but at least one part that matters cannot.
- illegible: too blurred, dark, small, covered or cut to tell what it says. Then choose the \
label from the layout if it shows one, set `unclear` to true, and do not invent words.
Handwriting counts as legible if you can read it. A sharp image of a blank page is legible."""
_MODERATION = """\
True if a person should check the image before colleagues or customers see it: nudity or sexual \
content, violence or injuries, hateful symbols or words, self-harm, threats, weapons or drugs on \
offer. Ordinary business documents, signatures, stamps, faces on a badge, medical forms and \
overdue notices are none of that: false."""
_HOW_TO_CHOOSE = """\
Go by what the document is for, not by single words on it: a letter that mentions an invoice is \
a letter; an invoice with a thank-you note is an invoice; a till slip that is headed "tax \
invoice" but shows that cash or a card was taken is a receipt. A filled-in form stays a form, \
even if it asks for a payment. A page of terms with lines to sign is a contract. Photographs \
without a document, empty pages, charts, advertisements and anything that fits nothing take the \
label for the rest, if there is one. If several documents lie in one image, take the largest, \
name the other as `runner_up` and say so in the description. A logo, a table or a coloured frame \
proves nothing: all kinds of documents have them."""


class ImageEvent(FileEvent):
    """A record of `images.raw`: exactly one of `file` and `uri`."""


class ImageAnswer(asking.Answer):
    """What is asked of an image; the labels of document types are the settings'."""

    quote: str = Field(description="Words on the document, copied exactly, that show its type.")
    document_type: str = Field(description="What kind of document it is.")
    runner_up: str | None = Field(description="The second-best document type, or null.")
    description: str = Field(description="One line in English: what, from whom, about what.")
    legibility: text_quality.Legibility = Field(
        description="Whether the text that matters can be read."
    )
    defects: list[Defect] = Field(description="What is wrong with the image as an image.")
    needs_moderation: bool = Field(description="True if a person should check it before others.")


class ImageResult(asking.Strict):
    """`result` of a record of `images.enriched`."""

    document_type: str = Field(description="One of the labels that the pipeline is set up with.")
    description: str = Field(description="One line in English.")
    legibility: text_quality.Legibility
    defects: list[Defect] = Field(description="What is wrong with the image as an image.")
    needs_moderation: bool = Field(description="A person should check it before others see it.")
    runner_up: str | None = Field(description="A second type that was considered.")
    fields: Extracted = Field(default_factory=dict)


class Images:
    name = "images"
    raw_model = ImageEvent
    result_model = ImageResult
    deciding = ("document_type", "needs_moderation")
    reads_files = True

    def __init__(self, settings: ImageSettings) -> None:
        self._files = Files(settings)
        self.splitter = self._files.splitter(self.name)
        self._extraction = FieldExtractor(settings.fields)
        self._choosing = asking.classifier_of(
            asking.LabelSet(self.name, _ROLE, _HOW_TO_CHOOSE, "Document types"),
            settings.document_types,
            self._extraction.extended(ImageAnswer),
            field="document_type",
            before=[asking.Section("What to answer", _FIELDS)],
            after=[
                asking.Section("Legibility", _LEGIBILITY),
                asking.Section("Moderation", _MODERATION),
                asking.Section("Pictures in parts", asking.PARTS_OF_A_PICTURE),
                *self._extraction.sections,
            ],
        )

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> ImageEvent:
        return self._files.read_event(ImageEvent, value, key=key, headers=headers)

    def question(self, event: ImageEvent) -> Query[ImageAnswer]:
        return self._choosing.about(self._files.open(event), max_output_tokens=600)

    def second_question(self, event: ImageEvent) -> Query[ImageAnswer]:
        return self._choosing.rephrased(self._files.open(event), max_output_tokens=600)

    def signals(self, event: ImageEvent, answer: ImageAnswer) -> Sequence[Signal]:  # noqa: ARG002
        is_empty = not answer.description.strip()
        return [
            *text_quality.legibility_signals(answer.legibility),
            *asking.runner_up_signals(
                answer.document_type, answer.runner_up, answer.stated_confidence
            ),
            *(
                [Signal("missing_field", 0.6, "description: empty.", ("description",))]
                if is_empty
                else []
            ),
            *self._extraction.signals(answer),
            *injection_signals(answer.quote, answer.description, *self._extraction.texts(answer)),
        ]

    def evidence(self, event: ImageEvent, answer: ImageAnswer) -> Iterator[Evidence]:
        """The words that the model quotes, which nothing here can look up in a picture."""
        quote, file = answer.quote.strip(), event.file
        if quote and len(quote) <= LONGEST_QUOTE:
            has_one_page = file is not None and file.media_type in PICTURE_TYPES
            yield Evidence(
                field="/document_type",
                source="file",
                input="uri" if file is None else "file",
                page=1 if has_one_page else None,
                quote=quote,
            )

    def result(self, event: ImageEvent, answer: ImageAnswer) -> ImageResult:  # noqa: ARG002
        return ImageResult(
            document_type=answer.document_type,
            description=answer.description.strip(),
            legibility=answer.legibility,
            defects=sorted(set(answer.defects)),
            needs_moderation=answer.needs_moderation,
            runner_up=answer.runner_up if answer.runner_up != answer.document_type else None,
            fields=self._extraction.read(answer),
        )
