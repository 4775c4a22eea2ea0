"""What is wrong with an installation, in plain words, and what to do about it.

`CHECKS` is all that is looked at, in the order in which faults should be fixed; `examination` runs
them. A check is a function `check_<name>` that yields findings; its docstring says what it finds,
also in docs/DOCTOR.md. `installation` and `endpoints` ask nobody, `model_api` looks at the way to
the API and the models, `registry` at the schema registry, `desk` at the ways in to the desk,
`kafka_access` at brokers and permissions, `kafka_services` at how the account is proven and at
managed services, `kafka_topics` at topics and groups.
"""

from pipeline.doctor import (
    desk,
    endpoints,
    installation,
    kafka_access,
    kafka_services,
    kafka_topics,
    model_api,
    registry,
)
from pipeline.doctor.examination import Check, Finding, Verdict, examine, of_cluster

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]

CHECKS = (
    Check(installation.check_settings),
    Check(installation.check_stages),
    Check(installation.check_extras, "All that is set can be imported."),
    Check(model_api.check_key),
    Check(model_api.check_address),
    Check(endpoints.check_credentials, "Nothing but the key in the environment is needed."),
    Check(endpoints.check_regions, "No region is set."),
    Check(model_api.check_models),
    Check(endpoints.check_platforms),
    Check(endpoints.check_fallbacks, "No tier has a fallback: one that is out is waited for."),
    Check(model_api.check_prices, "The price of both models is known."),
    Check(
        model_api.check_prompts, "By estimate, the prompts are long enough for the prompt cache."
    ),
    Check(model_api.check_opinions),
    Check(installation.check_sizes, "By the settings, topics and memory take what stages take."),
    Check(
        installation.check_certificate,
        "No certificate is set: how often answers are right is not said.",
    ),
    Check(installation.check_membership, "Members of the groups are distinguished by the brokers."),
    Check(installation.check_port),
    Check(desk.check_desk),
    Check(installation.check_files),
    Check(installation.check_paths, "What has to be written can be written."),
    Check(kafka_services.check_service, "The brokers are of no managed service known here."),
    Check(registry.check_registry, "No stage needs a schema registry."),
    Check(kafka_access.check_brokers),
    Check(kafka_services.check_authentication),
    Check(kafka_access.check_listeners, seconds=45),
    Check(kafka_topics.check_topics),
    Check(of_cluster(kafka_access.check_permissions)),
    Check(
        kafka_access.check_writers, "No publisher may write to the topics of the pipeline's own."
    ),
    Check(of_cluster(kafka_topics.check_partitions), "There are enough for those who share them."),
    Check(
        of_cluster(kafka_topics.check_replication), "Every topic has the replicas that it wants."
    ),
    Check(of_cluster(kafka_topics.check_broker_sizes), "Topics and brokers take what stages take."),
    Check(
        of_cluster(kafka_topics.check_cleaning), "No topic throws away what is not processed yet."
    ),
    Check(of_cluster(kafka_topics.check_groups), "Nobody else is in the consumer groups."),
    Check(
        kafka_topics.check_progress,
        "What was committed can be read, and nothing was lost before.",
        seconds=45,
    ),
    Check(
        kafka_access.check_limits,
        "Sessions, transactions and commits are within the brokers' limits.",
    ),
    Check(kafka_access.check_delivery, seconds=75),
    Check(model_api.check_clock, "It agrees with the API's."),
    Check(model_api.check_access, seconds=75),
)
