"""Who may write to the topics of the pipeline's own, by Kafka's access control list."""

import pytest

from pipeline.config import KafkaSettings, Settings
from pipeline.doctor.examination import Verdict
from pipeline.doctor.kafka_access import Grant, guarded, judged, writers
from tests.doctor.sites import fine, reported

OURS = KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN",
                     sasl_username="pipeline", sasl_password="x")  # fmt: skip
SETTINGS = Settings(kafka=OURS)


def allow(principal: str, topic: str, *, is_prefix: bool = False, denied: bool = False) -> Grant:
    return Grant(f"User:{principal}", topic, is_prefix, not denied)


PUBLISHER = allow("shop", "tickets.raw")


@pytest.mark.parametrize(
    "more",
    [
        [],
        [allow("pipeline", "*")],
        [allow("pipeline", "tickets.raw"), allow("pipeline", "escalations")],
        [allow("shop", "tickets.", is_prefix=True), allow("shop", "tickets.enriched", denied=True)],
        [allow("people", "review.resolved")],
        [allow("shop", "something.else")],
        [allow("shop", "*"), allow("*", "*", denied=True)],
    ],
)
def test_publishers_that_write_raw_events_alone_are_well(more: list[Grant]) -> None:
    fine(judged(SETTINGS, [PUBLISHER, *more]))


@pytest.mark.parametrize(
    ("more", "topic"),
    [
        (allow("shop", "escalations"), "escalations"),
        (allow("shop", "dead", is_prefix=True), "dead-letters.replayed"),
        (allow("shop", "*"), "review.resolved"),
        (allow("shop", "tickets.", is_prefix=True), "tickets.enriched"),
        (allow("shop", "backfills"), "backfills"),
        (allow("shop", "audit"), "audit"),
    ],
)
def test_a_publisher_that_may_write_more_is_reported(more: Grant, topic: str) -> None:
    found = judged(SETTINGS, [PUBLISHER, more])
    reported(found, Verdict.WARNING, "User:shop may write raw events", topic, "kafka-acls.sh")


def test_everybody_is_a_publisher_too() -> None:
    found = judged(SETTINGS, [allow("*", "*")])
    reported(found, Verdict.WARNING, "User:* may write raw events", *guarded(SETTINGS))


def test_what_is_denied_is_not_allowed() -> None:
    grants = [allow("shop", "review"), allow("shop", "review", denied=True), allow("b", "review")]
    assert writers("review", grants) == {"User:b"}
