"""What is wrong with an installation, in plain words, and what to do about it.

`CHECKS` is all that is looked at, in the order in which faults should be fixed; `examination` runs
them. A check is a function that yields findings; its docstring says what it finds, also in
docs/DOCTOR.md. `installation` asks nobody, `model_api` looks at the way to the API and the models,
`kafka_access` at brokers and permissions, `kafka_topics` at topics and groups.
"""

from pipeline.doctor import installation, kafka_access, kafka_topics, model_api
from pipeline.doctor.examination import Check, Finding, Verdict, examine, of_cluster

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]

CHECKS = (
    Check("settings", installation.check_settings),
    Check("stages", installation.check_stages),
    Check("extras", installation.check_extras, "All that is set can be imported."),
    Check("key", model_api.check_key),
    Check("address", model_api.check_address),
    Check("models", model_api.check_models),
    Check("prices", model_api.check_prices, "The price of both models is known."),
    Check(
        "prompts",
        model_api.check_prompts,
        "By estimate, the prompts are long enough for the prompt cache.",
    ),
    Check("opinions", model_api.check_opinions),
    Check(
        "sizes",
        installation.check_sizes,
        "By the settings, topics and memory take what stages take.",
    ),
    Check(
        "membership",
        installation.check_members,
        "Members of the groups are distinguished by the brokers.",
    ),
    Check("port", installation.check_port),
    Check("files", installation.check_files),
    Check("paths", installation.check_paths, "What has to be written can be written."),
    Check("brokers", kafka_access.check_brokers),
    Check("listeners", kafka_access.check_listeners, seconds=45),
    Check("topics", kafka_topics.check_topics),
    Check("permissions", of_cluster(kafka_access.check_permissions)),
    Check(
        "writers",
        kafka_access.check_writers,
        "No publisher may write to the topics of the pipeline's own.",
    ),
    Check(
        "partitions",
        of_cluster(kafka_topics.check_partitions),
        "There are enough for those who share them.",
    ),
    Check(
        "replication",
        of_cluster(kafka_topics.check_replication),
        "Every topic has the replicas that it wants.",
    ),
    Check(
        "broker-sizes",
        of_cluster(kafka_topics.check_broker_sizes),
        "Topics and brokers take what stages take.",
    ),
    Check(
        "cleaning",
        of_cluster(kafka_topics.check_cleaning),
        "No topic throws away what is not processed yet.",
    ),
    Check(
        "groups", of_cluster(kafka_topics.check_groups), "Nobody else is in the consumer groups."
    ),
    Check(
        "progress",
        kafka_topics.check_progress,
        "What was committed can be read, and nothing was lost before.",
        seconds=45,
    ),
    Check(
        "limits",
        kafka_access.check_limits,
        "Sessions, transactions and commits are within the brokers' limits.",
    ),
    Check("delivery", kafka_access.check_delivery, seconds=75),
    Check("clock", model_api.check_clock, "It agrees with the API's."),
    Check("access", model_api.check_access, seconds=75),
)
