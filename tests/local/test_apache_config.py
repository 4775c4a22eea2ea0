from pathlib import Path

import pytest

from pipeline.local.apache import Further, NodePlan, Security, server_properties


def properties(nodes: int, node: int = 1, security: Security | None = None) -> dict[str, str]:
    plans = [
        NodePlan(n, Path(f"/data/{n}"), 100 + n, 200 + n, 300 + n) for n in range(1, nodes + 1)
    ]
    lines = server_properties(plans[node - 1], plans, security).splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize(("nodes", "replicas", "in_sync"), [(1, "1", "1"), (3, "3", "2")])
def test_internal_topics_are_replicated_as_far_as_there_are_nodes(
    nodes: int, replicas: str, in_sync: str
) -> None:
    found = properties(nodes)
    assert found["transaction.state.log.replication.factor"] == replicas
    assert found["transaction.state.log.min.isr"] == in_sync
    assert found["offsets.topic.replication.factor"] == replicas
    assert found["default.replication.factor"] == replicas
    assert found["min.insync.replicas"] == in_sync


def test_every_listener_is_on_loopback_and_every_node_is_a_voter() -> None:
    found = properties(3, node=2)
    assert found["node.id"] == "2"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:301,2@127.0.0.1:302,3@127.0.0.1:303"
    assert found["listeners"] == (
        "CLIENT://127.0.0.1:102,INTERNAL://127.0.0.1:202,CONTROLLER://127.0.0.1:302"
    )
    assert "CONTROLLER" not in found["advertised.listeners"]


def test_only_the_clients_listener_is_secured_and_the_first_user_may_do_everything() -> None:
    security = Security(Path("/keys.p12"), "stored", {"ada": "one", "bob": "two"})
    found = properties(1, security=security)
    assert found["listener.security.protocol.map"] == (
        "CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
    )
    assert found["super.users"] == "User:ada;User:ANONYMOUS"
    assert 'user_bob="two"' in found["listener.name.client.plain.sasl.jaas.config"]
    assert "stored" not in repr(security)
    assert "one" not in repr(security)


def test_further_listeners_and_properties_come_on_top() -> None:
    node = NodePlan(1, Path("/data/1"), 101, 201, 301, {"MUTUAL": 401})
    further = Further({"MUTUAL": "SSL"}, {"sasl.enabled.mechanisms": "OAUTHBEARER"})
    security = Security(Path("/keys.p12"), "stored", {"ada": "one"})
    lines = server_properties(node, [node], security, further).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found["listeners"].endswith(",MUTUAL://127.0.0.1:401")
    assert found["advertised.listeners"].endswith(",MUTUAL://127.0.0.1:401")
    assert found["listener.security.protocol.map"].endswith(",MUTUAL:SSL")
    assert found["sasl.enabled.mechanisms"] == "OAUTHBEARER"
