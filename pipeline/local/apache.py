"""A real Apache Kafka in KRaft mode on this machine, for what the embedded broker cannot show.

Environment: see `pipeline.local.java`, and

    PIPELINE_LOCAL_KAFKA_JAVA_OPTIONS: Of each node; by default a small heap, and only the quick
        compiler, which halves what a start costs.

The configuration of a local Apache Kafka. Pure.
"""

import asyncio
import base64
import os
import re
import secrets
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, patiently
from pipeline.local.broker import BrokerFailed, free_ports
from pipeline.local.child import CommandFailed, run
from pipeline.local.java import find_java, find_kafka, kafka_version
from pipeline.local.node import ProcessNode


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


USER = "pipeline"
"""The user of a secured cluster that may do everything."""
GUEST = "guest"
"""One that is let in and may do nothing."""
_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
_POLL = 0.05
_COMPLETE_WITHIN = 60.0
_ERROR = re.compile(r" (ERROR|FATAL) |^(Caused by|Error|Exception)\b")
_JAVA_OPTIONS = "-Xmx320m -XX:TieredStopAtLevel=1"
_CA_FILE = "ca.pem"


class ApacheKafka:
    """One or three nodes, each a broker and a controller, with data that is thrown away.

    Args:
        nodes: How many.
        secure: TLS and SASL (SCRAM-SHA-512 and PLAIN) with authorization, instead of plain text.
        port: Of the first node's listener, the others follow; 0 for free ones.
        configs: Brokers' configuration on top of what every local Kafka gets.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        secure: bool = False,
        port: int = 0,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        self._count = nodes
        self._secure = secure
        self._port = port
        self._configs = dict(configs or {})
        self._directory: Path | None = None
        self._passwords = {user: secrets.token_urlsafe(16) for user in (USER, GUEST)}
        self._nodes: tuple[KafkaNode, ...] = ()

    @property
    def name(self) -> str:
        """Apache Kafka, with its version."""
        return f"Apache Kafka {kafka_version()}"

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node."""
        return self.settings.bootstrap_servers

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach it, as the user who may do everything."""
        return self.settings_of(USER)

    @property
    def topic_configs(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def nodes(self) -> Sequence["KafkaNode"]:
        """The nodes; node number n is the one before index n."""
        return self._nodes

    def settings_of(self, user: str) -> KafkaSettings:
        """Settings that reach it as `user`, where there are users."""
        if self._directory is None or not self._nodes:
            raise BrokerFailed("Apache Kafka is not started.")
        ports = [node.port for node in self._nodes]
        return self._reaching(self._directory, ports, user)

    async def start(self) -> None:
        """Start all nodes and wait until each knows the others.

        Raises:
            BrokerMissing: Java or Maven is missing.
            BrokerFailed: A node ended, or did not answer in time; nothing is left running.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._start()
            except BrokerFailed as failure:
                await self.stop()
                # Somebody may have taken a free port between its choice and its use.
                if self._port or _PORT_TAKEN not in str(failure) or attempt == _ATTEMPTS:
                    raise
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def stop(self) -> None:
        """End all nodes, without ceremony as their data is thrown away, and remove it."""
        for node in self._nodes:
            await node.kill()
        self._nodes = ()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _start(self) -> None:
        java, libs = await find_java(), await find_kafka()
        self._directory = directory = Path(tempfile.mkdtemp(prefix="haiku-pipeline-kafka-"))
        security = await self._make_keys(java, directory) if self._secure else None
        plan = self._plan(directory, security)
        self._nodes = tuple(
            KafkaNode(java, libs, each, self._reaching(directory, [each.client_port], USER))
            for each in plan.nodes
        )
        for each in plan.nodes:
            each.directory.mkdir()
            (each.directory / "server.properties").write_text(plan.server_properties(each))
        cluster = _cluster_id()
        await self._format(cluster)
        for node in self._nodes:
            node.spawn()
        for node in self._nodes:
            await node.ready()
        await self._complete(cluster)

    async def _format(self, cluster: str) -> None:
        users = self._passwords if self._secure else {}
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(node.format(cluster, users))
        except ExceptionGroup as failed:
            told = failed.exceptions[0]
            if not isinstance(told, CommandFailed):
                raise
            raise BrokerFailed(f"The data of Apache Kafka cannot be prepared: {told}") from told

    async def _complete(self, cluster: str) -> None:
        """Wait until every node is in the metadata of the cluster."""
        try:
            async with asyncio.timeout(_COMPLETE_WITHIN), admin_client(self.settings) as admin:
                while True:
                    found = await patiently(admin.describe_cluster)
                    if found["cluster_id"] != cluster:
                        raise BrokerFailed(
                            f"{_PORT_TAKEN}: another Kafka answers at {self.bootstrap_servers}."
                        )
                    if len(found["brokers"]) == self._count:
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise BrokerFailed(
                f"Not all of {self._count} nodes of Apache Kafka have found each other after "
                f"{_COMPLETE_WITHIN:g} s."
            ) from None

    def _plan(self, directory: Path, security: Security | None) -> ClusterPlan:
        free = free_ports(3 * self._count)
        if self._port:
            free[: self._count] = range(self._port, self._port + self._count)
        ports = zip(*(free[n * self._count :][: self._count] for n in range(3)), strict=True)
        nodes = tuple(
            NodePlan(number, directory / f"node-{number}", client, internal, controller)
            for number, (client, internal, controller) in enumerate(ports, 1)
        )
        return ClusterPlan(nodes, security, self._configs)

    def _reaching(self, directory: Path, ports: Sequence[int], user: str) -> KafkaSettings:
        servers = ",".join(f"127.0.0.1:{port}" for port in ports)
        if not self._secure:
            return KafkaSettings(bootstrap_servers=servers)
        return KafkaSettings(
            bootstrap_servers=servers,
            security_protocol="SASL_SSL",
            sasl_username=user,
            sasl_password=SecretStr(self._passwords[user]),
            ssl_ca_file=directory / _CA_FILE,
        )

    async def _make_keys(self, java: Path, directory: Path) -> Security:
        """A key with a certificate of its own signing, which clients trust as their CA."""
        keystore = directory / "brokers.p12"
        password = secrets.token_urlsafe(16)
        keytool = [
            *(str(java.with_name("keytool")), "-alias", "brokers"),
            *("-keystore", str(keystore), "-storetype", "PKCS12", "-storepass", password),
        ]
        making = [
            *("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"),
            *("-dname", "CN=haiku-pipeline local Kafka", "-ext", "bc:critical=ca:true"),
            *("-ext", "san=ip:127.0.0.1,dns:localhost"),
        ]
        exporting = ["-exportcert", "-rfc", "-file", str(directory / _CA_FILE)]
        try:
            for command in (making, exporting):
                await run([*keytool, *command], log=directory / "keytool.log")
        except CommandFailed as failed:
            raise BrokerFailed(f"No key can be made for Apache Kafka: {failed}") from failed
        return Security(keystore, password, self._passwords)


class KafkaNode(ProcessNode):
    """One process of Apache Kafka, broker and controller."""

    poll = _POLL

    def __init__(self, java: Path, libs: Path, plan: NodePlan, settings: KafkaSettings) -> None:
        super().__init__(
            f"Apache Kafka (node {plan.number})",
            log=plan.directory / "kafka.log",
            start_within=120,
            stop_within=30,
        )
        self._java = java
        self._libs = libs
        self._plan = plan
        self._settings = settings

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach this node alone."""
        return self._settings

    @property
    def port(self) -> int:
        """Where clients reach it."""
        return self._plan.client_port

    async def format(self, cluster: str, users: Mapping[str, str]) -> None:
        """Prepare its data, once, before the first start.

        Raises:
            CommandFailed: Kafka's own tool refuses.
        """
        scram = [
            f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
            for user, password in users.items()
        ]
        command = [
            *self._program("kafka.tools.StorageTool", "-XX:TieredStopAtLevel=1"),
            *("format", f"--cluster-id={cluster}", f"--config={self._config}", *scram),
        ]
        await run(command, log=self._plan.directory / "format.log")

    def _command(self) -> Sequence[str]:
        options = os.environ.get("PIPELINE_LOCAL_KAFKA_JAVA_OPTIONS", _JAVA_OPTIONS)
        return [*self._program("kafka.Kafka", *shlex.split(options)), str(self._config)]

    def _told(self, output: str) -> str:
        """The errors without their stack traces."""
        return "\n".join(line for line in output.splitlines() if _ERROR.search(line))

    @property
    def _config(self) -> Path:
        return self._plan.directory / "server.properties"

    def _program(self, main: str, *options: str) -> list[str]:
        return [
            *(str(self._java), *options, "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            # Kafka's own jars need not be verified again: a fifth of what a start costs.
            *("-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote"),
            *("-XX:+ExitOnOutOfMemoryError", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
            *("-cp", f"{self._libs}/*", main),
        ]


def _cluster_id() -> str:
    """A random one, so that nodes of another cluster on the same ports are not taken for ours."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
