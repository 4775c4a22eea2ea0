"""Mistakes that show from what a cluster says; the cluster is made up."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.config import load_settings
from pipeline.doctor.examination import Site, Verdict, findings
from pipeline.doctor.kafka_access import check_listeners, check_permissions, operations_needed
from pipeline.doctor.kafka_topics import (
    check_broker_sizes,
    check_cleaning,
    check_groups,
    check_partitions,
    check_replication,
    of_offsets,
    of_progress,
    of_topics,
)
from pipeline.kafka.cluster import BrokerAt, Cluster, GroupSeen, Member, Progress
from pipeline.stream.ledger import CommitPoint, encode
from pipeline.stream.protocols import Committed, LogBounds, TopicPartition
from tests.doctor.sites import NAMES, cluster, fine, reported, site, topic

FAILED, WARNING = Verdict.FAILED, Verdict.WARNING
GROUP = "pipeline.tickets"


def test_a_cluster_as_it_should_be_is_fine() -> None:
    for check in (
        *(of_topics, check_partitions, check_replication, check_cleaning),
        *(check_broker_sizes, check_permissions, check_groups),
    ):
        fine(check(site(), cluster()))


def test_missing_topics_are_named_with_what_to_do() -> None:
    found = of_topics(site(), cluster(missing=["review", "tickets.raw"]))
    reported(found, FAILED, "review, tickets.raw", "pipeline topics create")


def test_a_budget_needs_its_topic() -> None:
    seen = cluster(missing=["budget"])
    reported(of_topics(site(), seen), WARNING, "budget does not exist", "pipeline topics create")
    limited = site(claude={"budget_usd_per_day": 5})
    reported(of_topics(limited, seen), FAILED, "budget does not exist", "pipeline topics create")


def test_without_the_topic_of_drawn_answers_events_go_on() -> None:
    seen = cluster(missing=["trust"])
    reported(of_topics(site(), seen), WARNING, "trust does not exist", "pipeline topics create")


def test_a_process_with_a_budget_reads_and_writes_its_topic() -> None:
    assert not operations_needed(site().settings)["budget"]
    limited = site(stages={"tickets": {"budget_usd_per_hour": 1}})
    assert operations_needed(limited.settings)["budget"] == {"Read", "Write"}


def test_topics_with_other_partition_counts_are_reported() -> None:
    found = of_topics(site(), cluster(topic("tickets.raw", partitions=9)))
    reported(found, WARNING, "tickets.raw", "9 partitions", "topics.partitions is 6")


def test_a_topic_of_marks_that_forgets_them_is_reported() -> None:
    forgetful = topic("review.resolved", configs={"cleanup.policy": "delete"})
    reported(of_topics(site(), cluster(forgetful)), WARNING, "review.resolved")


def test_topics_that_may_not_be_seen_are_not_called_missing() -> None:
    forbidden = frozenset({"tickets.raw"})
    seen = cluster(missing=["tickets.raw"], forbidden=forbidden)
    fine(of_topics(site(), seen))
    reported(check_permissions(site(), seen), FAILED, "may not see tickets.raw", "--operation Read")


def test_topics_that_the_pipeline_does_not_use_itself_may_be_hidden_from_it() -> None:
    marks = "dead-letters.replayed"
    fine(check_permissions(site(), cluster(missing=[marks], forbidden=frozenset({marks}))))


def members(number: int) -> list[Member]:
    return [Member("haiku-pipeline", f"/10.0.0.{each}", frozenset()) for each in range(number)]


def test_more_members_than_partitions_are_reported() -> None:
    found = check_partitions(site(), cluster(groups=[GroupSeen(GROUP, "consumer", members(8))]))
    reported(found, WARNING, "6 partitions", "8 members", "--partitions 8")


def test_a_single_partition_is_reported() -> None:
    found = check_partitions(site(), cluster(topic("tickets.raw", partitions=1)))
    reported(found, WARNING, "one partition", "--partitions 6")


@pytest.mark.parametrize(
    ("changes", "verdict", "says"),
    [
        ({"replicas": 1, "in_sync": 1, "configs": {"min.insync.replicas": "2"}}, WARNING, "has 1."),
        ({"in_sync": 1, "configs": {"min.insync.replicas": "2"}}, FAILED, "1 of 3 at present"),
        ({"replicas": 1, "in_sync": 1}, WARNING, "one replica"),
    ],
)
def test_replicas_that_are_not_enough_are_reported(
    changes: dict[str, object], verdict: Verdict, says: str
) -> None:
    reported(check_replication(site(), cluster(topic("review", **changes))), verdict, says)


def test_a_replication_factor_above_the_number_of_brokers_is_reported() -> None:
    wants = site(topics={"replication_factor": 5})
    reported(check_replication(wants, cluster()), FAILED, "is 5, and there are 3 brokers", "-1")


@pytest.mark.parametrize(("name", "verdict"), [("tickets.raw", FAILED), ("review", WARNING)])
def test_a_compacted_topic_is_reported(name: str, verdict: Verdict) -> None:
    seen = cluster(topic(name, configs={"cleanup.policy": "compact,delete"}))
    reported(check_cleaning(site(), seen), verdict, f"{name} is compacted", "cleanup.policy=delete")


def test_a_compacted_topic_is_what_a_stage_that_passes_tombstones_on_wants() -> None:
    compacted = {"cleanup.policy": "compact"}
    seen = cluster(topic("tickets.raw", configs=compacted))
    wants = site(stages={"tickets": {"output": {"tombstones": True}}})
    fine(check_cleaning(wants, seen))
    # Another stage that reads it does not.
    other = {"input": {"topics": ["tickets.raw"]}}
    both = {"tickets": {"output": {"tombstones": True}}, "texts": other}
    mixed = site(stages=both, enabled=["tickets", "texts"])
    reported(check_cleaning(mixed, seen), FAILED, "tickets.raw is compacted")


def test_a_short_retention_is_reported_where_something_waits() -> None:
    hour = {"retention.ms": str(3_600_000)}
    seen = cluster(topic("tickets.raw", configs=hour))
    reported(check_cleaning(site(), seen), WARNING, "tickets.raw keeps records for 1 hours")
    fine(check_cleaning(site(), cluster(topic("tickets.enriched", configs=hour))))
    fine(check_cleaning(site(), cluster(topic("tickets.raw", configs={"retention.ms": "-1"}))))


def test_what_waits_for_people_must_not_expire_within_a_day() -> None:
    short = cluster(topic("review", configs={"retention.ms": "7200000"}))
    reported(check_cleaning(site(), short), WARNING, "review keeps records for 2 hours")
    wanted = site(topics={"payload_retention": 7200})
    reported(check_cleaning(wanted, short), WARNING, "review keeps", "raise topics.payload_ret")


def test_a_topic_that_keeps_payloads_for_longer_than_the_settings_say_is_reported() -> None:
    limited = site(topics={"payload_retention": 3 * 86_400, "enriched_retention": 7 * 86_400})
    three_days = {"retention.ms": str(3 * 86_400_000)}
    holding = [
        topic(name, configs=three_days)
        for name in NAMES
        if name.endswith(".raw") or name in {"escalations", "review", "dead-letters"}
    ]
    fine(of_topics(limited, cluster(*holding)))
    found = of_topics(limited, cluster(*holding, topic("review")))
    reported(found, WARNING, "review", "keeps records for 7 days", "payload_retention is 3 days")


@pytest.mark.parametrize("name", ["tickets.raw", "dead-letters"])
def test_a_topic_that_takes_less_than_a_stage_is_reported(name: str) -> None:
    seen = cluster(topic(name, configs={"max.message.bytes": "1048588"}))
    found = check_broker_sizes(site(enabled=["tickets", "escalations"]), seen)
    reported(
        found, WARNING, f"Topic {name} takes records of 1,048,588", "max.message.bytes=16777216"
    )


def test_a_topic_that_takes_more_than_can_be_put_aside_is_reported() -> None:
    seen = cluster(topic("tickets.raw", configs={"max.message.bytes": str(30 << 20)}))
    found = check_broker_sizes(site(enabled=["tickets", "escalations"]), seen)
    reported(
        found, WARNING, "tickets.raw takes records of 31,457,280", "no dead letter", "16777216"
    )


def test_brokers_that_take_no_such_request_are_reported() -> None:
    seen = cluster(configs={"socket.request.max.bytes": "1000000"})
    reported(check_broker_sizes(site(), seen), WARNING, "socket.request.max.bytes")


def test_what_has_to_be_allowed_follows_from_who_reads_and_writes() -> None:
    needed = operations_needed(site().settings)
    assert needed["tickets.raw"] == {"Read"}
    assert needed["escalations"] == {"Read", "Write"}
    assert needed["dead-letters"] == {"Write"}
    assert needed["review.resolved"] == frozenset()
    assert set(needed) == set(NAMES)


def test_missing_permissions_are_reported_one_by_one() -> None:
    user = site(kafka={"security_protocol": "SASL_SSL", "sasl_username": "ada"})
    seen = cluster(
        *(topic(name, may=frozenset({"Read", "Write", "Describe"})) for name in NAMES),
        topic("escalations", may=frozenset({"Read", "Describe"})),
        topic("tickets.raw", may=frozenset({"Describe"})),
    )
    found = list(check_permissions(user, seen))
    reported(
        found, FAILED, "ada may not Write escalations", "--operation Write --topic escalations"
    )
    reported(found, FAILED, "ada may not Read tickets.raw")
    assert len(found) == 2


@pytest.mark.parametrize(
    "group", [GroupSeen(GROUP, is_forbidden=True), GroupSeen(GROUP, may=frozenset({"Describe"}))]
)
def test_a_group_that_may_not_be_used_is_reported(group: GroupSeen) -> None:
    found = check_permissions(site(), cluster(groups=[group]))
    reported(found, FAILED, f"consumer group {GROUP}", f"--operation Read --group {GROUP}")


@pytest.mark.parametrize(
    "group",
    [
        GroupSeen(GROUP, "consumer", [Member("their-app", "/10.0.0.9", frozenset())]),
        GroupSeen(GROUP, "consumer", [Member("haiku-pipeline", "/h", frozenset({"theirs"}))]),
        GroupSeen(GROUP, "connect"),
    ],
)
def test_a_group_that_something_else_uses_is_reported(group: GroupSeen) -> None:
    reported(check_groups(site(), cluster(groups=[group])), FAILED, GROUP, "kafka.group_prefix")


def test_our_own_members_are_not_another_program() -> None:
    own = Member("haiku-pipeline", "/h", frozenset({"tickets.raw"}))
    fine(check_groups(site(), cluster(groups=[GroupSeen(GROUP, "consumer", [own])])))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1"])
async def test_a_broker_that_advertises_another_address_is_reported(host: str) -> None:
    brokers = [BrokerAt(7, host, 1)]

    class Elsewhere(Site):
        async def cluster(self) -> Cluster:
            return cluster(brokers=brokers)

    found = await findings(check_listeners(Elsewhere(site().settings)))
    reported(
        found, FAILED, f"Broker 7 says that clients reach it at {host}:1", "advertised.listeners"
    )


FIRST = TopicPartition("tickets.raw", 0)


def progress(offset: int, *, begin: int = 0, metadata: str | None = None) -> Progress:
    ledger = encode(CommitPoint(offset, offset)) if metadata is None else metadata
    return Progress(FIRST, Committed(offset, ledger), LogBounds(begin, 100))


def test_records_that_retention_took_before_they_were_processed_are_reported() -> None:
    found = of_progress(
        GROUP, "tickets.raw", [progress(10, begin=25), progress(50, begin=25)], starts_at_end=False
    )
    reported(found, FAILED, "deleted 15 records", "retention.ms")


def test_a_lag_that_retention_will_overtake_is_reported() -> None:
    late = replace(progress(10), half_expired=40)
    reported(
        of_progress(GROUP, "tickets.raw", [late], starts_at_end=False),
        WARNING,
        "half of their retention",
        "lag",
    )
    assert not list(
        of_progress(
            GROUP, "tickets.raw", [replace(progress(40), half_expired=40)], starts_at_end=False
        )
    )


def test_commits_of_another_program_are_reported() -> None:
    found = of_offsets(GROUP, "tickets", [progress(10, metadata="their own words")])
    reported(found, FAILED, "tickets.raw/0", "offsets reset tickets --to current")


def test_offsets_that_were_translated_from_another_cluster_are_reported() -> None:
    ledger = encode(CommitPoint(70, 75, (70, 72)))
    found = of_offsets(GROUP, "tickets", [progress(10, metadata=ledger)])
    reported(found, WARNING, "tickets.raw/0", "another cluster", "again")


def test_a_log_that_ends_before_what_was_done_in_it_is_reported() -> None:
    ledger = encode(CommitPoint(99, 102, (99,)))
    found = of_offsets(GROUP, "tickets", [progress(99, metadata=ledger)])
    reported(found, WARNING, "tickets.raw/0", "lost its end", "offsets reset tickets")


def test_records_from_the_future_are_reported() -> None:
    late = replace(progress(10), from_the_future=True)
    reported(
        of_progress(GROUP, "tickets.raw", [late], starts_at_end=False),
        WARNING,
        "in the future",
        "LogAppendTime",
    )


@pytest.mark.parametrize("metadata", [None, ""])
def test_progress_as_it_should_be_is_fine(metadata: str | None) -> None:
    assert (
        list(
            of_progress(
                GROUP, "tickets.raw", [progress(10, metadata=metadata)], starts_at_end=False
            )
        )
        == []
    )
    assert list(of_offsets(GROUP, "tickets", [progress(10, metadata=metadata)])) == []
    nothing = Progress(FIRST, None, LogBounds(9, 9))
    assert list(of_progress(GROUP, "tickets.raw", [nothing], starts_at_end=False)) == []


def test_what_a_new_group_will_do_with_a_topic_that_has_a_past_is_reported() -> None:
    past = [Progress(FIRST, None, LogBounds(5, 9000)), progress(10)]
    found = of_progress(GROUP, "tickets.raw", past, starts_at_end=False)
    reported(found, WARNING, "8,995 records", "paid for", '"latest"')
    found = of_progress(GROUP, "tickets.raw", past, starts_at_end=True)
    reported(found, WARNING, "8,995 records", "skipped", '"earliest"')


OF_A_TEAM: dict[str, Any] = {
    "enabled": ["cases", "shops", "escalations"],
    "stages": {
        "cases": {"kind": "texts", "input": {"topics": ["crm.cases", "crm.mails"]}},
        "shops": {"kind": "texts", "input": {"pattern": "shop.*"}, "output": {"topic": "sold"}},
    },
}


def of_a_team() -> Site:
    return Site(load_settings(**OF_A_TEAM), {})


def test_topics_that_a_team_names_are_said_where_they_are_missing() -> None:
    seen = cluster(topic("crm.cases", partitions=3), topic("shop.1"), topic("sold", partitions=2))
    reported(of_topics(of_a_team(), seen), FAILED, "crm.mails", "pipeline topics create")


def test_a_pattern_that_matches_nothing_is_said() -> None:
    seen = cluster(*map(topic, ("crm.cases", "crm.mails", "sold", "cases.enriched", "escalations")))
    reported(of_topics(of_a_team(), seen), WARNING, "stages.shops.input.pattern", "whole names")


def test_how_a_team_made_its_topics_is_not_the_pipelines_to_say() -> None:
    kept = {"retention.ms": "3600000000000"}
    seen = cluster(
        *(topic(name, partitions=2, configs=kept) for name in ("crm.cases", "crm.mails", "shop.1")),
        *(topic(name) for name in ("sold", "cases.enriched")),
    )
    fine(of_topics(of_a_team(), seen))


def test_partitions_are_counted_over_all_topics_of_a_stage() -> None:
    names = ("crm.cases", "crm.mails")
    members = [Member("haiku-pipeline", "host", frozenset(names))] * 5
    group = GroupSeen("pipeline.cases", kind="consumer", members=members)
    seen = cluster(*(topic(name, partitions=2) for name in names), groups=[group])
    found = check_partitions(of_a_team(), seen)
    said = ("crm.cases, crm.mails have 4 partitions", "5 members", "--partitions 3")
    reported(found, WARNING, *said)


def test_compaction_of_a_topic_that_a_pattern_matches_is_reported() -> None:
    seen = cluster(topic("shop.1", configs={"cleanup.policy": "compact"}))
    reported(check_cleaning(of_a_team(), seen), FAILED, "shop.1 is compacted")


def test_what_a_pattern_matches_has_to_be_readable() -> None:
    needed = operations_needed(of_a_team().settings, ["shop.1", "shop.2", "else"])
    assert needed["shop.1"] == needed["crm.mails"] == {"Read"}
    assert needed["sold"] == {"Write"}
    assert "else" not in needed
