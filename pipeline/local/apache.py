"""A real Apache Kafka in KRaft mode on this machine, for what the embedded broker cannot show.

Environment:
    JAVA_HOME: Whose `bin/java` is used; else the one on the path.
    PIPELINE_LOCAL_KAFKA_VERSION: The version of Apache Kafka; 4.3.1 if unset.
    PIPELINE_LOCAL_KAFKA_LIBS: A folder with the jars of a Kafka, such as `libs` of an unpacked
        release; then neither Maven nor a download is needed.
    PIPELINE_LOCAL_KAFKA_JAVA_OPTIONS: Of each node; by default a small heap, and only the quick
        compiler, which halves what a start costs.
    XDG_CACHE_HOME: Where jars are kept, in `haiku-pipeline/kafka-<version>`; ~/.cache if unset.
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

from pydantic import SecretStr

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, patiently
from pipeline.local.broker import BrokerFailed, BrokerMissing, BrokerNode, LocalBroker, free_ports
from pipeline.local.child import CommandFailed, run

USER = "pipeline"
"""The user of a secured cluster that may do everything."""
GUEST = "guest"
"""One that is let in and may do nothing."""
_VERSION = "4.3.1"
_MIN_JAVA = 17
_LIBS = "PIPELINE_LOCAL_KAFKA_LIBS"
_JAVA_OPTIONS = "-Xmx320m -XX:TieredStopAtLevel=1"
_POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>haiku-pipeline</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{version}</version>
    </dependency>
    <dependency><!-- or Kafka would log nowhere -->
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
_POLL = 0.05
_COMPLETE_WITHIN = 60.0
_ERROR = re.compile(r" (ERROR|FATAL) |^(Caused by|Error|Exception)\b")
_CA_FILE = "ca.pem"


def kafka_version() -> str:
    """The version that is resolved where no folder of jars is given."""
    return os.environ.get("PIPELINE_LOCAL_KAFKA_VERSION", _VERSION)


async def find_java() -> Path:
    """The `java` to use; `keytool` is beside it.

    Raises:
        BrokerMissing: There is none, or it is too old.
    """
    needs = f"Apache Kafka needs Java {_MIN_JAVA} or newer"
    java = _installed_java()
    if java is None:
        raise BrokerMissing(f"{needs}, and there is none on the path or in JAVA_HOME: install it.")
    with tempfile.TemporaryDirectory() as directory:
        try:
            printed = await run([str(java), "-version"], log=Path(directory, "java.log"))
        except CommandFailed as failed:
            raise BrokerMissing(f"{needs}, and {java} does not run: {failed}") from failed
    version = re.search(r'version "(?:1\.)?(\d+)', printed)
    if version is None or int(version[1]) < _MIN_JAVA:
        is_version = version[1] if version else "unknown"
        raise BrokerMissing(f"{needs}, and {java} is version {is_version}: install a newer one.")
    return java


def _installed_java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin")) if home else None)
    # Through the links of the system's alternatives, to where keytool is beside it.
    return None if found is None else Path(found).resolve()


async def find_kafka() -> Path:
    """The folder with the jars of Kafka; resolved with Maven the first time and kept.

    Raises:
        BrokerMissing: There are none, and Maven is missing or cannot get them.
    """

    def has_kafka(libs: Path) -> bool:
        return any(libs.glob("kafka_2.13-*.jar"))

    if given := os.environ.get(_LIBS):
        if not has_kafka(Path(given)):
            raise BrokerMissing(f"There is no kafka_2.13-*.jar in {given}: set {_LIBS} right.")
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    libs = cache / "haiku-pipeline" / f"kafka-{kafka_version()}"
    if has_kafka(libs):
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing(
            "Apache Kafka comes from Maven Central, and there is no mvn on the path: install "
            f"Maven, or set {_LIBS} to a folder with Kafka's jars."
        )
    libs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=libs.parent, prefix=".resolving-") as name:
        directory = Path(name)
        pom = directory / "pom.xml"
        pom.write_text(_POM.format(version=kafka_version()))
        command = [maven, "--quiet", "--batch-mode", "--file", str(pom), _COPY]
        options = ["-DincludeScope=runtime", "-DoutputDirectory=libs"]
        try:
            await run([*command, *options], log=directory / "mvn.log")
        except CommandFailed as failed:
            raise BrokerMissing(
                f"Maven cannot get Apache Kafka {kafka_version()}: {failed}"
            ) from failed
        try:
            # Whole or not at all, whichever process resolves it at the same time.
            (directory / "libs").rename(libs)
        except OSError:
            if not has_kafka(libs):
                raise
    return libs


@dataclass(frozen=True, slots=True)
class Security:
    """TLS and users of the clients' listener."""

    keystore: Path  # PKCS 12, with the brokers' key and certificate
    keystore_password: str = field(repr=False)  # of the store and the key
    # Passwords by user; the first one may do everything, the others nothing.
    users: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Further:
    """What a cluster has beside what every one has."""

    listeners: Mapping[str, str] = field(default_factory=dict)  # protocols by name in capitals
    properties: Mapping[str, str] = field(default_factory=dict)  # win over those of every cluster
    java_options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NodePlan:
    number: int
    directory: Path
    client_port: int
    internal_port: int
    controller_port: int
    further_ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def ports(self) -> dict[str, int]:
        """By listener."""
        return {
            "CLIENT": self.client_port,
            "INTERNAL": self.internal_port,
            "CONTROLLER": self.controller_port,
            **self.further_ports,
        }


def server_properties(
    node: NodePlan,
    nodes: Sequence[NodePlan],
    security: Security | None = None,
    further: Further | None = None,
) -> str:
    """The `server.properties` of a node, which is one of `nodes`."""
    further = further or Further()
    urls = {name: f"{name}://127.0.0.1:{port}" for name, port in node.ports.items()}
    clients = "PLAINTEXT" if security is None else "SASL_SSL"
    protocols = {"CLIENT": clients, "INTERNAL": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    protocols |= further.listeners
    voters = (f"{each.number}@127.0.0.1:{each.controller_port}" for each in nodes)
    replicas = str(min(3, len(nodes)))
    in_sync = "2" if len(nodes) > 1 else "1"
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(voters),
        "listeners": ",".join(urls.values()),
        "advertised.listeners": ",".join(urls[name] for name in urls if name != "CONTROLLER"),
        "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
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
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker can register again, and loses its leaderships, after 3 s, not 9.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        # Transactions of dead producers are aborted on time, not up to 10 s later.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }
    if security is not None:
        users = security.users
        plain = " ".join(f'user_{user}="{password}"' for user, password in users.items())
        module, sasl = "org.apache.kafka.common.security", "listener.name.client"
        properties |= {
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(security.keystore),
            "ssl.keystore.password": security.keystore_password,
            "ssl.key.password": security.keystore_password,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            f"{sasl}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
            f"{sasl}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {plain};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The brokers themselves are anonymous on their listeners.
            "super.users": f"User:{next(iter(users))};User:ANONYMOUS",
        }
    properties |= further.properties
    return "".join(f"{name}={value}\n" for name, value in properties.items())


class KafkaNode(BrokerNode):
    poll = _POLL

    def __init__(
        self,
        java: Path,
        libs: Path,
        plan: NodePlan,
        settings: KafkaSettings,
        java_options: Sequence[str] = (),
    ) -> None:
        super().__init__(
            f"Apache Kafka (node {plan.number})",
            log=plan.directory / "kafka.log",
            start_within=120,
            stop_within=30,
        )
        self._java = java
        self._libs = libs
        self._java_options = java_options
        self._directory = plan.directory
        self.plan = plan
        self.settings = settings
        self.port = plan.client_port

    async def format(self, cluster: str, users: Mapping[str, str]) -> None:
        """Prepare its data, once, before the first start.

        Raises:
            CommandFailed: Kafka's own tool refuses.
        """
        scram = [
            f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]"
            for user, password in users.items()
        ]
        config = f"--config={self._directory / 'server.properties'}"
        command = [
            *self._program("kafka.tools.StorageTool", "-XX:TieredStopAtLevel=1"),
            *("format", f"--cluster-id={cluster}", config, *scram),
        ]
        await run(command, log=self._directory / "format.log")

    def _command(self) -> Sequence[str]:
        options = os.environ.get("PIPELINE_LOCAL_KAFKA_JAVA_OPTIONS", _JAVA_OPTIONS)
        config = str(self._directory / "server.properties")
        return [*self._program("kafka.Kafka", *shlex.split(options), *self._java_options), config]

    def _errors(self, output: str) -> str:
        return "\n".join(line for line in output.splitlines() if _ERROR.search(line))

    def _program(self, main: str, *options: str) -> list[str]:
        return [
            *(str(self._java), *options, "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            # Kafka's own jars need not be verified again: a fifth of what a start costs.
            *("-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote"),
            *("-XX:+ExitOnOutOfMemoryError", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
            *("-cp", f"{self._libs}/*", main),
        ]


class ApacheKafka(LocalBroker):
    """One or three nodes, each a broker and a controller, with data that is thrown away.

    Args:
        nodes: How many.
        secure: TLS and SASL (SCRAM-SHA-512 and PLAIN) with authorization, instead of plain text.
        port: Of the first node's listener, the others follow; 0 for free ones.
        further: Listeners, properties and options of Java that it has beside the usual ones.
    """

    nodes: Sequence[KafkaNode] = ()

    def __init__(
        self,
        *,
        nodes: int = 1,
        secure: bool = False,
        port: int = 0,
        further: Further | None = None,
    ) -> None:
        self._further = further or Further()
        self._count = nodes
        self._secure = secure
        self._port = port
        self._directory: Path | None = None
        self._passwords = {user: secrets.token_urlsafe(16) for user in (USER, GUEST)}

    @property
    def name(self) -> str:
        return f"Apache Kafka {kafka_version()}"

    @property
    def settings(self) -> KafkaSettings:
        """Settings that reach it, as the user who may do everything."""
        return self.settings_of(USER)

    def settings_of(self, user: str) -> KafkaSettings:
        """Settings that reach it as `user`, where there are users."""
        if self._directory is None or not self.nodes:
            raise BrokerFailed("Apache Kafka is not started.")
        return self._reaching(self._directory, [node.port for node in self.nodes], user)

    def servers_of(self, listener: str) -> str:
        """host:port of all nodes at one of the further listeners, or at `INTERNAL`."""
        return ",".join(f"127.0.0.1:{node.plan.ports[listener]}" for node in self.nodes)

    async def start(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._start()
            except BrokerFailed as failure:
                await self.stop()
                # Another program may have taken a free port between its choice and its use.
                if self._port or _PORT_TAKEN not in str(failure) or attempt == _ATTEMPTS:
                    raise
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def stop(self) -> None:
        """End all nodes, without ceremony as their data is thrown away, and remove it."""
        for node in self.nodes:
            await node.kill()
        self.nodes = ()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _start(self) -> None:
        java, libs = await find_java(), await find_kafka()
        self._directory = directory = Path(tempfile.mkdtemp(prefix="haiku-pipeline-kafka-"))
        security = await self._make_keys(java, directory) if self._secure else None
        names = list(self._further.listeners)
        kinds = 3 + len(names)
        free = free_ports(kinds * self._count)
        if self._port:
            free[: self._count] = range(self._port, self._port + self._count)
        ports = zip(*(free[n * self._count :][: self._count] for n in range(kinds)), strict=True)
        plans = [
            NodePlan(
                number,
                directory / f"node-{number}",
                client,
                internal,
                controller,
                dict(zip(names, more, strict=True)),
            )
            for number, (client, internal, controller, *more) in enumerate(ports, 1)
        ]
        for each in plans:
            each.directory.mkdir()
            properties = server_properties(each, plans, security, self._further)
            (each.directory / "server.properties").write_text(properties)
        self.nodes = tuple(
            KafkaNode(
                java,
                libs,
                each,
                self._reaching(directory, [each.client_port], USER),
                self._further.java_options,
            )
            for each in plans
        )
        # A random one, so that nodes of another cluster on the same ports are not taken for ours.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        users = self._passwords if self._secure else {}
        try:
            async with asyncio.TaskGroup() as group:
                for node in self.nodes:
                    group.create_task(node.format(cluster, users))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            if not isinstance(first, CommandFailed):
                raise
            raise BrokerFailed(f"The data of Apache Kafka cannot be prepared: {first}") from first
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            await node.ready()
        await self._complete(cluster)

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
        """A self-signed certificate with its key, which clients trust as their CA."""
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
