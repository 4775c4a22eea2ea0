"""Tokens end every few seconds, and with them the sessions of connections, under load.

Brokers take OAUTHBEARER alone and close a connection on which a request comes after its token's
end. Meanwhile replicas are ended and killed, so that groups form and transactions are settled
across such ends, and for two fifths of a token's life there are no tokens. Nothing may be lost,
doubled, out of order or repeated but for the kills, and brokers may hardly ever have had to close a
connection.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pipeline.config import KafkaSettings, OauthSettings
from pipeline.local.apache import ApacheKafka, Further
from tests.faults.conclusion import conclude
from tests.faults.events import make_events
from tests.faults.exposure import Fault, Kind
from tests.faults.report import Result
from tests.faults.world import make_world
from tests.kafka.issuer import (
    CLIENT,
    SCOPE,
    SECRET,
    TokenKeys,
    TokenServer,
    broker_properties,
    java_options,
)

_KEYS = 500
_LATENCY = {"median": 0.5, "sigma": 0.3, "tail": 0.03, "tail_factor": 4.0}
_TRANSACTION_TIMEOUT = 15.0
_SETTINGS = {
    "PIPELINE_STREAM__TRANSACTION_TIMEOUT": str(_TRANSACTION_TIMEOUT),
    # What one simulated API on a small machine can answer in time.
    "PIPELINE_CLAUDE__CONCURRENCY": "32",
    "PIPELINE_STREAM__MAX_IN_FLIGHT": "48",
}
_JOINED_WITHIN = 60.0
_DRAINED_WITHIN = 180.0
_CLOSED_BY_BROKER = "Disconnecting expired channel"
_LOGGED = "-Dorg.slf4j.simpleLogger.log.kafka.network.Processor=debug"
"""Has a broker write that."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """How it is set up.

    Args:
        seconds: How long events come.
        token_seconds: What a token lasts.
        away_seconds: For how long nobody gives tokens out, before each of those ends.
        rounds: How often one replica is ended, and another killed.
        rate: Events a second.
        partitions: Of each topic.
        replicas: Processes of the pipeline.
        seed: Of the events.
    """

    seconds: float = 360.0
    token_seconds: float = 10.0
    away_seconds: float = 4.0
    rounds: int = 6
    rate: float = 40.0
    partitions: int = 12
    replicas: int = 3
    seed: int = 1


class KafkaWithTokens(ApacheKafka):
    """Lets the pipeline in by tokens; what publishes and audits reaches it without.

    Args:
        nodes: How many.
        keys: What signs the tokens.
        server: What gives them out.
    """

    def __init__(self, nodes: int, keys: TokenKeys, server: TokenServer) -> None:
        further = Further(
            properties=broker_properties(keys), java_options=[*java_options(keys), _LOGGED]
        )
        super().__init__(nodes=nodes, secure=True, further=further)
        self.server = server

    @property
    def settings(self) -> KafkaSettings:
        oauth = OauthSettings(
            token_endpoint=self.server.url,
            client_id=CLIENT,
            client_secret=SecretStr(SECRET),
            scope=SCOPE,
        )
        by_token = {"sasl_mechanism": "OAUTHBEARER", "oauth": oauth}
        nobody = {"sasl_username": None, "sasl_password": None}
        return super().settings.model_copy(update=by_token | nobody)

    @property
    def bootstrap_servers(self) -> str:
        return self.servers_of("INTERNAL")

    @property
    def closed(self) -> int:
        """Connections that a broker closed because their session was over."""
        logs = (node.plan.directory / "kafka.log" for node in self.nodes)
        return sum(log.read_text(errors="replace").count(_CLOSED_BY_BROKER) for log in logs)


@asynccontextmanager
async def kafka_with_tokens(nodes: int, token_seconds: float) -> AsyncIterator[KafkaWithTokens]:
    with tempfile.TemporaryDirectory(prefix="haiku-tokens-") as directory:
        keys = TokenKeys(Path(directory))
        async with (
            TokenServer(
                make=lambda subject, life: keys.token(subject, life=life), life=token_seconds
            ) as server,
            KafkaWithTokens(nodes, keys, server) as broker,
        ):
            yield broker


async def run_expiring(
    setup: Expiring,
    broker: KafkaWithTokens,
    report: Callable[[str], None],
    *,
    keep: Path | None = None,
) -> Result:
    """Run it on brokers that run.

    Args:
        setup: How it is set up.
        broker: The brokers.
        report: Takes sentences about what goes on.
        keep: See `make_world`.
    """
    faults = []
    async with make_world(
        broker,
        replicas=setup.replicas,
        partitions=setup.partitions,
        settings=_SETTINGS,
        keep=keep,
    ) as world:
        await world.api.take(**_LATENCY)
        for replica in world.replicas:
            replica.start()
        for replica in world.replicas:
            await replica.joined(_JOINED_WITHIN)
        before, over = broker.server.issued, asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(replica.watch()) for replica in world.replicas]
            events = make_events(keys=_KEYS, seed=setup.seed)
            publishing = group.create_task(
                world.publisher.publish(events, rate=setup.rate, enough=over.is_set)
            )
            pause = setup.seconds / (2 * setup.rounds + 1)
            for round_ in range(2 * setup.rounds):
                await asyncio.sleep(max(0.0, pause - setup.away_seconds))
                for replica in world.replicas:
                    await replica.joined(_JOINED_WITHIN)
                broker.server.is_away = True
                await asyncio.sleep(setup.away_seconds)
                broker.server.is_away = False
                replica = world.replicas[round_ % setup.replicas]
                caller, is_kill = replica.caller, bool(round_ % 2)
                at = await (replica.kill() if is_kill else replica.terminate())
                kind = Kind.KILL if is_kill else Kind.TERM
                faults.append(Fault(kind, replica.name, caller, at))
                replica.start()
                report(f"{kind} ({replica.name}), {broker.server.issued} tokens so far")
            await asyncio.sleep(pause)
            over.set()
            await publishing
            for watcher in watchers:
                watcher.cancel()
        drained = await world.drained(_DRAINED_WITHIN)
        issued = broker.server.issued - before
        await world.stop_replicas()
        await world.settled(2 * _TRANSACTION_TIMEOUT)
        return await conclude(
            "expiring",
            world,
            faults,
            drained=drained,
            setting={
                "broker": broker.name,
                "nodes": len(broker.nodes),
                "replicas": setup.replicas,
                "partitions": setup.partitions,
                "seconds": setup.seconds,
                "token_seconds": setup.token_seconds,
                "away_seconds": setup.away_seconds,
                "seed": setup.seed,
            },
            complaints=list(_complaints(setup, broker, issued)),
            notes={
                "tokens": issued,
                "turned_away": broker.server.turned_away,
                "connections_closed": broker.closed,
            },
        )


def _complaints(setup: Expiring, broker: KafkaWithTokens, issued: int) -> list[str]:
    found = []
    # Each token is the end of ten sessions at least. On a busy machine a request that was sent in
    # time may be read too late.
    if broker.closed > issued:
        found.append(f"brokers closed {broker.closed} connections whose session was over")
    if issued < setup.replicas * setup.seconds / (2 * setup.token_seconds):
        found.append(f"only {issued} tokens were asked for: they did not end, and nothing is shown")
    if not broker.server.turned_away:
        found.append("nobody asked for a token while there were none: nothing is shown of that")
    return found
