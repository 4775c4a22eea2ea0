import importlib.util

import pytest

from pipeline.kafka.connection import BrokerUnreachable, check_connection
from pipeline.local.broker import BrokerFailed, BrokerMissing, LocalBroker, NoidaBroker


async def test_a_taken_port_is_reported_without_the_loader_s_warning() -> None:
    async with NoidaBroker() as first:
        port = int(first.bootstrap_servers.rpartition(":")[2])
        with pytest.raises(BrokerFailed, match="already in use") as failure:
            await NoidaBroker(port=port).start()
        assert "GLIBC" not in str(failure.value)
        await check_connection(first.settings)


async def test_a_broker_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BrokerMissing, match="extra 'local'"):
        await NoidaBroker().start()


async def test_it_serves_on_a_free_port_and_is_gone_afterwards() -> None:
    broker: LocalBroker = NoidaBroker()
    async with broker:
        settings = broker.settings
        assert broker.name.startswith("noida-db ")
        await check_connection(settings)
    with pytest.raises(BrokerUnreachable, match="connection refused"):
        await check_connection(settings)


async def test_its_node_keeps_its_address_over_kill_and_restart() -> None:
    async with NoidaBroker() as broker:
        node, address = broker.nodes[0], broker.bootstrap_servers
        await node.kill()
        assert node.pid is None
        await node.start()
        assert node.address == address
        await check_connection(broker.settings)


async def test_a_node_cannot_be_started_twice() -> None:
    async with NoidaBroker() as broker:
        with pytest.raises(BrokerFailed, match="already running"):
            await broker.nodes[0].start()
