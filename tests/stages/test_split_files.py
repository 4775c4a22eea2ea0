"""Files of several documents: how pages are shown, and how parts are cut."""

import io
from importlib.util import find_spec

import pikepdf
import pytest

from pipeline.config import InvoiceSettings
from pipeline.model.errors import UsageError
from pipeline.model.questions import Image, Pdf, Text
from pipeline.stages.fields.asking import answer_schema
from pipeline.stages.files import raw_events
from pipeline.stages.files.decoder_server import prepare
from pipeline.stages.files.decoding import FileLimits, Job, Prepared
from pipeline.stages.files.media import sniff
from pipeline.stages.files.raw_events import Files
from pipeline.stages.files.splitting import Beginning, Boundaries, Splitter, Splitting
from pipeline.stages.invoices import InvoiceEvent, Invoices
from tests.stages.documents import page, stack, tiff
from tests.stages.making import pdf, picture

pytestmark = pytest.mark.skipif(not find_spec("pypdfium2"), reason="the extra split")
LIMITS = FileLimits(10_000_000, 1568, 10)
LONG = "Invoice {}\n" + "\n".join(f"Line {at} of many more" for at in range(60))


def shown(data: bytes) -> Prepared:
    media_type = sniff(data)
    assert media_type is not None
    return prepare(Job(data, media_type, "file", LIMITS, "show_pages"))


def cut(data: bytes, *pages: tuple[int, int]) -> list[bytes]:
    media_type = sniff(data)
    assert media_type is not None
    parts = prepare(Job(data, media_type, "file", LIMITS, "cut", pages))
    return [part.data for part in parts if isinstance(part, Pdf)]


def text_of(data: bytes) -> str:
    from pypdf import PdfReader

    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages).strip()


def pictures_in(data: bytes) -> set[bytes]:
    with pikepdf.open(io.BytesIO(data)) as made:
        found = (each for each in made.objects if isinstance(each, pikepdf.Stream))
        return {each.read_bytes() for each in found if each.get("/Width") == 1}


def test_a_page_with_text_is_shown_by_its_beginning_and_its_end() -> None:
    first, second = shown(stack(LONG.format(1), LONG.format(2)))
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert (first.name, second.name) == ("page 1", "page 2")
    assert first.text.startswith("Invoice 1")
    assert "[...]" in first.text
    assert first.text.endswith("Line 59 of many more")
    assert len(first.text) < 1_000


def test_a_page_without_text_is_shown_small() -> None:
    parts = shown(tiff([page("one", size=(1700, 2200))] * 2))
    assert [type(part) for part in parts] == [Text, Image, Text, Image]
    picture_of_page = parts[1]
    assert isinstance(picture_of_page, Image)
    assert picture_of_page.media_type == "image/jpeg"
    assert len(picture_of_page.data) < 100_000


@pytest.mark.parametrize("data", [picture(), pdf(1), tiff([page("one")])])
def test_what_has_one_page_is_shown_as_one(data: bytes) -> None:
    assert sum(isinstance(part, Text) for part in shown(data)) == 1


def test_parts_have_their_own_pages_and_nothing_of_the_others() -> None:
    data = stack("the first", "the second", "the third")
    one, two = cut(data, (1, 1), (2, 3))
    assert text_of(one).split() == ["the", "first"]
    assert "second" in text_of(two)
    assert "third" in text_of(two)
    assert cut(data, (1, 1), (2, 3)) == [one, two], "equal input gives equal bytes"


def test_links_and_shared_pictures_do_not_carry_other_pages_along() -> None:
    with pikepdf.new() as made:
        for _ in range(2):
            made.add_blank_page()
        shared = pikepdf.Dictionary(
            XObject=pikepdf.Dictionary(
                {
                    f"/Im{at}": made.make_stream(
                        b"secret of page %d" % at,
                        Type=pikepdf.Name.XObject,
                        Subtype=pikepdf.Name.Image,
                        Width=1,
                        Height=1,
                        ColorSpace=pikepdf.Name.DeviceGray,
                        BitsPerComponent=8,
                    )
                    for at in (1, 2)
                }
            )
        )
        for at, each in enumerate(made.pages, start=1):
            each.Resources = shared
            each.Contents = made.make_stream(b"q /Im%d Do Q" % at)
        link = pikepdf.Dictionary(
            Type=pikepdf.Name.Annot,
            Subtype=pikepdf.Name.Link,
            Rect=[0, 0, 9, 9],
            Dest=[made.pages[1].obj, pikepdf.Name.Fit],
        )
        made.pages[0].Annots = pikepdf.Array([made.make_indirect(link)])
        made.save(buffer := io.BytesIO(), compress_streams=False)
    one, two = cut(buffer.getvalue(), (1, 1), (2, 2))
    assert pictures_in(one) == {b"secret of page 1"}
    assert pictures_in(two) == {b"secret of page 2"}


# What is checked of an answer.


def boundaries(*firsts: int, confidence: float = 0.95) -> Boundaries:
    found = [Beginning(begins_with="", first_page=at, confidence=confidence) for at in firsts]
    return Boundaries(documents=found, confidence=0.95, unclear=False)


@pytest.fixture
def splitter() -> Splitter:
    files = Files(InvoiceSettings(split=True), decode=prepare)
    found = files.splitter("invoices")
    assert found is not None
    return found


EVENT = InvoiceEvent.model_validate(
    {
        "id": "i",
        "room": "blue",
        "file": {"media_type": "application/pdf", "data": stack("a" * 90, "b" * 90, "c" * 90)},
    },
)


@pytest.mark.parametrize(
    ("firsts", "codes"),
    [
        ([1], set()),
        ([1, 2, 3], set()),
        ([2, 3], {"boundaries"}),
        ([1, 3, 2], {"boundaries"}),
        ([1, 1], {"boundaries"}),
        ([1, 4], {"boundaries"}),
        ([], {"boundaries"}),
    ],
)
def test_pages_that_cannot_be_are_contradictions(
    firsts: list[int], codes: set[str], splitter: Splitter
) -> None:
    question = splitter.question(EVENT)
    assert question is not None
    found = splitter.checks(question).signals(EVENT, boundaries(*firsts))
    assert {each.code for each in found if each.strength >= 0.5} == codes


@pytest.mark.parametrize(("confidence", "strength"), [(0.4, 0.6), (95.0, 1.0), (1.0, 0.0)])
def test_each_beginning_counts_with_its_own_confidence(
    confidence: float, strength: float, splitter: Splitter
) -> None:
    question = splitter.question(EVENT)
    assert question is not None
    answer = boundaries(1, confidence=confidence)
    [found] = splitter.checks(question).signals(EVENT, answer)
    assert (found.code, found.strength) == ("low_confidence", strength)


def test_parts_are_events_with_their_own_pages_and_all_else_of_the_event(
    splitter: Splitter,
) -> None:
    question = splitter.question(EVENT)
    assert question is not None
    one, two = splitter.parts(EVENT, question, boundaries(1, 3))
    assert (one.part.first_page, one.part.last_page, one.part.of) == (1, 2, 2)
    assert (two.part.first_page, two.part.last_page, two.part.number) == (3, 3, 2)
    assert text_of(two.event.file.data) == "c" * 90
    assert two.event.unknown_fields == {"room": "blue"}
    [whole] = splitter.parts(EVENT, question, boundaries(1))
    assert whole.event is EVENT


def test_a_text_is_one_document(splitter: Splitter) -> None:
    assert splitter.question(InvoiceEvent(id="i", text="Invoice 1")) is None


def test_a_file_behind_a_uri_becomes_parts_that_hold_their_pages() -> None:
    class Store:
        def fetch(self, uri: str, *, max_bytes: int) -> bytes:
            return stack("a" * 90, "b" * 90)

    files = Files(InvoiceSettings(split=True), claims=Store(), decode=prepare)
    event = InvoiceEvent(id="i", uri="s3://bucket/stack.pdf")
    first, _ = files.cut(event, [(1, 1), (2, 2)])
    assert first.uri is None
    assert first.file is not None
    assert text_of(first.file.data) == "a" * 90


def test_a_stage_splits_only_where_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Invoices(InvoiceSettings()).splitter is None
    stage = Invoices(InvoiceSettings(split=True))
    assert isinstance(stage, Splitting)
    assert stage.splitter is not None
    monkeypatch.setattr(raw_events, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"haiku-pipeline\[split\]"):
        Invoices(InvoiceSettings(split=True))


def test_the_question_takes_the_schema_that_the_api_takes() -> None:
    assert list(answer_schema(Boundaries)["properties"]) == ["documents", "confidence", "unclear"]  # type: ignore[arg-type]
