"""What is wrong with an installation, in plain words, and what to do about it.

`CHECKS` is all that is looked at, in the order in which faults should be fixed; `examination` runs
them. A check is a function that yields findings: `installation` asks nobody, `model_api` looks at
the way to the API and the models, `kafka_access` at brokers and permissions, `kafka_topics` at
topics and groups.
"""

from pipeline.doctor import installation, kafka_access, kafka_topics, model_api
from pipeline.doctor.examination import Check, Finding, Verdict, examine, of_cluster

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]

CHECKS = (
    Check(
        "settings",
        "a value that cannot be, a name in pipeline.toml that is no setting, a file that is no "
        "TOML, a variable PIPELINE_... that is meant as a setting and is none",
        installation.check_settings,
    ),
    Check(
        "stages",
        "a stage in `enabled` that does not exist; escalations that nobody would read",
        installation.check_stages,
    ),
    Check(
        "extras",
        "a package that a setting needs and that is not installed; the extra `local` missing",
        installation.check_extras,
        fine="All that is set can be imported.",
    ),
    Check(
        "key",
        "no API key, an empty one, one with quotes or whitespace, an example's, an Admin key, "
        "one under another variable's name",
        model_api.check_key,
    ),
    Check(
        "address",
        "a base URL that is none, ends with /v1, was forgotten, or has no TLS",
        model_api.check_address,
    ),
    Check(
        "models",
        "a model that has retired or will, is not Claude's, is the same as the other; Haiku and "
        "Sonnet swapped",
        model_api.check_models,
    ),
    Check(
        "prices",
        "a model whose price is not known",
        model_api.check_prices,
        fine="The price of both models is known.",
    ),
    Check(
        "prompts",
        "a prompt that is too short for the prompt cache",
        model_api.check_prompts,
        fine="By estimate, the prompts are long enough for the prompt cache.",
    ),
    Check("opinions", "second opinions that are set and do not pay", model_api.check_opinions),
    Check(
        "sizes",
        "events that stages take and topics do not; that cannot be escalated; that fetches or "
        "memory are too small for",
        installation.check_sizes,
        fine="By the settings, topics and memory take what stages take.",
    ),
    Check(
        "membership",
        "static membership with one id for several processes",
        installation.check_members,
        fine="Members of the groups are distinguished by the brokers.",
    ),
    Check(
        "port",
        "the HTTP port is taken, or shows records to others than this machine",
        installation.check_port,
    ),
    Check("files", "too low a limit on open files", installation.check_files),
    Check(
        "paths",
        "a budget file or an answer cache that cannot be written",
        installation.check_paths,
        fine="What has to be written can be written.",
    ),
    Check(
        "brokers",
        "a wrong address, a name that does not resolve, nobody listening, TLS spoken to a plain "
        "port and the reverse, a CA that is not trusted, a certificate for another host, a "
        "wrong mechanism, user or password, certificate files that cannot be used",
        kafka_access.check_brokers,
    ),
    Check(
        "listeners",
        "brokers that advertise an address that is not reached from here",
        kafka_access.check_listeners,
        seconds=45,
    ),
    Check(
        "topics",
        "a topic that does not exist, or is not what the settings say",
        kafka_topics.check_topics,
    ),
    Check(
        "permissions",
        "an ACL that is missing for a topic or a consumer group",
        of_cluster(kafka_access.check_permissions),
    ),
    Check(
        "writers",
        "accounts of publishers that may write to the pipeline's own topics, where the brokers "
        "show their ACLs; else it says which to look at",
        kafka_access.check_writers,
        fine="No publisher may write to the topics of the pipeline's own.",
    ),
    Check(
        "partitions",
        "fewer partitions than members; a single one",
        of_cluster(kafka_topics.check_partitions),
        fine="There are enough for those who share them.",
    ),
    Check(
        "replication",
        "a replication factor or min.insync.replicas that cannot be met; a single replica",
        of_cluster(kafka_topics.check_replication),
        fine="Every topic has the replicas that it wants.",
    ),
    Check(
        "broker-sizes",
        "max.message.bytes of a topic (which limits what is compressed), or the brokers' limit "
        "on requests, below what stages take; raw topics that take more than a dead letter may "
        "have",
        of_cluster(kafka_topics.check_broker_sizes),
        fine="Topics and brokers take what stages take.",
    ),
    Check(
        "cleaning",
        "compaction of a topic, which deletes events that are not processed; a short retention",
        of_cluster(kafka_topics.check_cleaning),
        fine="No topic throws away what is not processed yet.",
    ),
    Check(
        "groups",
        "a consumer group that something else uses",
        of_cluster(kafka_topics.check_groups),
        fine="Nobody else is in the consumer groups.",
    ),
    Check(
        "progress",
        "a lag that retention will overtake, or has: records deleted before they were "
        "processed; commits of another program; records from the future; a group that has "
        "committed nothing on a topic with a past, and what its first start will do",
        kafka_topics.check_progress,
        fine="What was committed can be read, and nothing was lost before.",
        seconds=45,
    ),
    Check(
        "limits",
        "transaction.max.timeout.ms, session time-outs or offset.metadata.max.bytes of the "
        "brokers below ours",
        kafka_access.check_limits,
        fine="Sessions, transactions and commits are within the brokers' limits.",
    ),
    Check(
        "delivery",
        "brokers without transactions; transactions that are not permitted",
        kafka_access.check_delivery,
        seconds=75,
    ),
    Check(
        "clock", "a clock that is wrong", model_api.check_clock, fine="It agrees with the API's."
    ),
    Check(
        "access",
        "an API key that is refused, a model that the key may not ask or the API does not know, "
        "no way to the API",
        model_api.check_access,
        seconds=75,
    ),
)
