"""Kafka's permissions: given and taken away on a cluster that has them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import bare_client

_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3
"""Kafka's own numbers."""
_POLL = 0.02
_SEEN_WITHIN = 20.0


class Kind(IntEnum):
    """What a permission is on, by Kafka's own numbers."""

    TOPIC = 2
    GROUP = 3
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """What is permitted, by Kafka's own numbers."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8


@dataclass(frozen=True)
class Permission:
    """An operation on what has this name; `*` at its end stands for anything."""

    operation: Operation
    kind: Kind
    name: str

    def to(self, user: str) -> tuple[int, str, int, str, str, int, int]:
        """The access control entry that gives it to a user, wherever they connect from."""
        pattern = _PREFIXED if self.name.endswith("*") else _LITERAL
        name = self.name.removesuffix("*")
        return (self.kind, name, pattern, f"User:{user}", "*", self.operation, _ALLOW)


class Acls:
    """The permissions of one user of a cluster.

    Args:
        kafka: Reaches it as an account that may change them.
        user: Whose they are.
    """

    def __init__(self, kafka: KafkaSettings, user: str) -> None:
        self._kafka = kafka
        self._user = user

    async def give(self, permissions: Iterable[Permission]) -> None:
        """Until the broker goes by them."""
        for each in permissions:
            await self._change(CreateAclsRequest(*each.to(self._user)), each, there=True)

    async def take(self, permission: Permission) -> None:
        """Until the broker goes by it."""
        request = DeleteAclsRequest(*permission.to(self._user))
        await self._change(request, permission, there=False)

    async def _change(self, request: Any, permission: Permission, *, there: bool) -> None:  # noqa: ANN401 - aiokafka's have no common type
        async with bare_client(self._kafka) as client, asyncio.timeout(_SEEN_WITHIN):
            response = await client.send(client.get_random_node(), request)
            _, [result] = response.to_object().values()
            assert result["error_code"] == 0, result["error_message"]
            asked = DescribeAclsRequest(*permission.to(self._user))
            while True:
                seen = (await client.send(client.get_random_node(), asked)).resources
                if bool(seen) is there:
                    return
                await asyncio.sleep(_POLL)
