"""Which topics the stages read and write, by their settings alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.config import Settings, StagesSettings, TopicSettings, load_settings
from pipeline.config.topic_names import Subscription, TopicNames
from pipeline.model.errors import UsageError

NAMES = st.text("abcdefghijklmnopqrstuvwxyz.-_", min_size=1, max_size=20)


def names(prefix: str = "", **stages: object) -> TopicNames:
    return TopicNames.under(load_settings(stages=stages, topics={"prefix": prefix}))


def named(*topics: str, **more: object) -> dict[str, object]:
    return {"kind": "texts", "input": {"topics": list(topics)}, **more}


def test_names_that_a_stage_gives_are_whole_and_the_others_have_the_prefix() -> None:
    found = names(
        "acme.",
        complaints=named("crm.cases", "crm.mails", output={"topic": "crm.cases.enriched"}),
        letters={"kind": "texts"},
    )

    assert found.read_by("complaints") == Subscription(("crm.cases", "crm.mails"))
    assert found.raw("complaints") == "crm.cases"
    assert found.enriched("complaints") == "crm.cases.enriched"
    assert found.read_by("letters") == Subscription(("acme.letters.raw",))
    assert found.enriched("letters") == "acme.letters.enriched"
    assert {"crm.cases", "crm.mails", "acme.letters.raw"} < set(found.of(["complaints", "letters"]))


def test_several_stages_may_read_one_topic() -> None:
    found = names(urgency=named("crm.cases"), topic=named("crm.cases", "crm.mails"))

    assert found.readers_of("crm.cases") == ("urgency", "topic")
    assert found.readers_of("crm.mails") == ("topic",)
    assert found.readers_of("tickets.raw") == ("tickets",)
    assert found.readers_of("nobody.reads.it") == ()


def test_a_pattern_matches_whole_names() -> None:
    read = names(shops={"kind": "texts", "input": {"pattern": r"shop\.\d+|kiosk"}}).read_by("shops")

    tried = ("shop.7", "shop.7x", "a.shop.7", "kiosk", "kiosks")
    assert list(filter(read.takes, tried)) == ["shop.7", "kiosk"]
    assert read.among(["shop.9", "shop.10", "other"]) == ("shop.10", "shop.9")
    assert str(read) == "what input.pattern matches"


def test_a_pattern_matches_nothing_that_the_pipeline_itself_writes() -> None:
    found = names(
        "acme.",
        every={"kind": "texts", "input": {"pattern": ".*"}, "output": {"topic": "all.results"}},
        letters={"kind": "texts"},
    )
    written = {*found.shared, "all.results", "acme.letters.enriched", "acme.tickets.enriched"}

    read = found.read_by("every")

    assert not any(map(read.takes, written))
    assert not read.takes("__consumer_offsets")
    assert read.takes("acme.letters.raw")
    assert read.takes("all.results.of.others")


def test_a_pattern_and_topics_are_read_together() -> None:
    read = names(shops={"kind": "texts", "input": {"topics": ["old"], "pattern": "new.*"}}).read_by(
        "shops"
    )

    assert read.among(["new.1", "old", "else"]) == ("old", "new.1")
    assert read.takes("old")


def test_where_a_pattern_says_what_is_read_a_topic_to_publish_to_has_to_be_named() -> None:
    with pytest.raises(UsageError, match="shops reads topics by a pattern: name one"):
        names(shops={"kind": "texts", "input": {"pattern": "shop.*"}}).raw("shops")


@given(st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=6))
def test_what_is_among_the_topics_is_what_is_taken(topics: list[str], existing: list[str]) -> None:
    read = Subscription(tuple(topics), r"(?!(?:__.*|b)\Z)(?:a.*)\Z")
    found = read.among(existing)

    assert set(found) == {*topics, *(each for each in existing if read.takes(each))}
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"a": named("x", output={"topic": "x"})}, "stages.a: it would read x, which it writes"),
        ({"a": named("a.enriched")}, "it would read a.enriched, which it writes"),
        (
            {"a": named("b.enriched"), "b": named("a.enriched")},
            "records would go round for ever, a to b to a|b to a to b",
        ),
        ({"a": named("escalations")}, "escalations is what the pipeline writes"),
        ({"a": named("dead-letters")}, "dead-letters is what the pipeline writes"),
        ({"a": named("x", output={"topic": "review"})}, "output: review is for all stages"),
        (
            {"a": {"kind": "texts", "output": {"flat_topic": "a.raw"}}},
            "it would read a.raw, which it writes",
        ),
        (
            {"a": named("x", output={"flat_topic": "a.enriched"})},
            "a.output: flat_topic is a.enriched, too",
        ),
        ({"a": named("x", output={"flat_topic": "no!"})}, "'no!' cannot be the name of a topic"),
        (
            {"a": named("x", output={"topic": "z"}), "b": named("x", output={"flat_topic": "z"})},
            "stages.b.output: a writes z, too",
        ),
        (
            {each: named("x", output={"topic": "z", "format": "avro"}) for each in "ab"},
            "stages.b.output: a writes z, too",
        ),
        ({"a": named("not legal!")}, "'not legal!' cannot be the name of a topic"),
        ({"a": named("x", output={"topic": "é"})}, "'é' cannot be the name of a topic"),
        ({"a": {"kind": "texts", "input": {"pattern": "(("}}}, "not a regular expression"),
    ],
)
def test_what_cannot_be_is_refused_as_the_settings_are_read(
    stages: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_settings(stages=stages)


@pytest.mark.parametrize("form", [{}, {"format": "avro", "subject": "record"}])
def test_several_stages_may_write_their_envelopes_to_one_topic(form: dict[str, object]) -> None:
    both = named("x", output={"topic": "z", **form})
    found = names(a=both, b=both)

    assert found.results_of("a") == found.results_of("b") == ("z",)


def test_a_stage_may_read_what_another_writes() -> None:
    found = names(first=named("mails"), second=named("first.enriched"))

    assert found.readers_of("first.enriched") == ("second",)
    assert found.is_written("first.enriched")


def test_what_a_team_names_is_not_held_to_how_the_pipeline_makes_topics() -> None:
    found = names(
        a=named("crm.cases", output={"topic": "crm.out"}),
        b={"kind": "texts", "input": {"pattern": "shop.*"}},
    )

    assert all(map(found.is_given, ("crm.cases", "crm.out", "shop.1")))
    assert not any(map(found.is_given, ("tickets.raw", "a.raw", "b.enriched", "escalations")))
    assert found.is_written("crm.out")
    assert not found.is_written("crm.cases")


def test_retention_follows_what_a_topic_is_for_and_not_what_it_is_called() -> None:
    found = names(a=named("x.enriched", output={"topic": "y.raw"}))

    assert found.retention_of("x.enriched")[0] == "topics.payload_retention"
    assert found.retention_of("y.raw")[0] == "topics.enriched_retention"
    assert found.retention_of("tickets.raw")[0] == "topics.payload_retention"
    assert found.retention_of("tickets.enriched")[0] == "topics.enriched_retention"
    assert found.retention_of("nobodys.raw") == ("", None)


def test_settings_that_name_no_topics_are_read_as_before() -> None:
    assert TopicNames.under(Settings()).of(["tickets"]) == TopicNames(
        TopicSettings(), StagesSettings().by_name()
    ).of(["tickets"])


def test_whatever_asks_for_names_asks_for_those_of_all_stages() -> None:
    """Made of `[topics]` alone they would be the default ones, whatever a stage's table says."""
    sources = (Path(pipeline.__file__).parent).rglob("*.py")

    assert not [path for path in sources if "TopicNames(settings.topics)" in path.read_text()]
