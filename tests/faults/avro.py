"""Results in Avro by a schema registry, in a fault run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.config import TicketSettings
from pipeline.config.inputs import OutputSettings
from pipeline.inputs.outputs import targets
from pipeline.stages.tickets import Tickets
from tests.inputs.registry_server import RegistryServer


@dataclass(frozen=True, slots=True)
class AvroResults:
    """The settings of the replicas, and what the audit reads their results by."""

    settings: Mapping[str, str]
    schema: str


@contextmanager
def avro_results() -> Iterator[AvroResults]:
    """A registry that has the schema of the tickets' results, for as long as the run takes."""
    output = OutputSettings(format="avro")
    settings = TicketSettings(output=output)
    [target] = targets(Tickets(settings), settings, "tickets.enriched")
    assert target.schema is not None
    with RegistryServer().in_a_thread() as server:
        server.add(target.subject, target.schema.text)
        variables = {
            "PIPELINE_REGISTRY__URL": server.url,
            "PIPELINE_STAGES__TICKETS__OUTPUT__FORMAT": "avro",
        }
        yield AvroResults(variables, target.schema.text)
