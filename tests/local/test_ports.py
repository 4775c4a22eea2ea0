import socket

from pipeline.local.broker import free_ports


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = free_ports(9)
    assert len(set(ports)) == 9
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
