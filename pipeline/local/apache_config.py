"""The configuration of a local Apache Kafka. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Security:
    """TLS and users of the clients' listener.

    Args:
        keystore: PKCS 12, with the brokers' key and certificate.
        keystore_password: Of the store and the key.
        users: Passwords by user; the first one may do everything, the others nothing.
    """

    keystore: Path
    keystore_password: str = field(repr=False)
    users: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: a broker and a controller in one process."""

    number: int
    directory: Path
    client_port: int
    internal_port: int
    controller_port: int


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """All nodes, and what they share.

    Args:
        configs: Brokers' configuration on top of what is here.
    """

    nodes: tuple[NodePlan, ...]
    security: Security | None = None
    configs: Mapping[str, str] = field(default_factory=dict)

    def server_properties(self, node: NodePlan) -> str:
        """The `server.properties` of a node."""
        properties = self._listeners(node) | self._storage(node) | self._timing()
        if self.security is not None:
            properties |= _secured(self.security)
        properties |= self.configs
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def _listeners(self, node: NodePlan) -> dict[str, str]:
        ports = {
            "CLIENT": node.client_port,
            "INTERNAL": node.internal_port,
            "CONTROLLER": node.controller_port,
        }
        urls = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
        clients = "PLAINTEXT" if self.security is None else "SASL_SSL"
        return {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(
                f"{each.number}@127.0.0.1:{each.controller_port}" for each in self.nodes
            ),
            "listeners": ",".join(urls.values()),
            "advertised.listeners": f"{urls['CLIENT']},{urls['INTERNAL']}",
            "listener.security.protocol.map": (
                f"CLIENT:{clients},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
        }

    def _storage(self, node: NodePlan) -> dict[str, str]:
        replicas = str(min(3, len(self.nodes)))
        in_sync = "2" if len(self.nodes) > 1 else "1"
        return {
            "log.dirs": str(node.directory / "data"),
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "5",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "5",
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            # 128 MB by default, more than a third of the heap.
            "log.cleaner.dedupe.buffer.size": str(8 << 20),
            # So that nothing makes a topic by asking for it unnoticed.
            "auto.create.topics.enable": "false",
        }

    @staticmethod
    def _timing() -> dict[str, str]:
        return {
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker can register again, and loses its leaderships, after 3 s, not 9.
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
            # Transactions of dead producers are aborted on time, not up to 10 s later.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        }


def _secured(security: Security) -> dict[str, str]:
    plain = " ".join(f'user_{user}="{password}"' for user, password in security.users.items())
    module = "org.apache.kafka.common.security"
    sasl = "listener.name.client"
    return {
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(security.keystore),
        "ssl.keystore.password": security.keystore_password,
        "ssl.key.password": security.keystore_password,
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        f"{sasl}.scram-sha-512.sasl.jaas.config": (f"{module}.scram.ScramLoginModule required;"),
        f"{sasl}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {plain};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The brokers themselves are anonymous on their listeners.
        "super.users": f"User:{next(iter(security.users))};User:ANONYMOUS",
    }
