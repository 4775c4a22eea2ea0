"""Claim-checks: the payload that is too big for Kafka, fetched from where a `uri` points.

Nothing is fetched unless a setting allows its place; each scheme is a `ClaimStore` of its own.

Where claim-checks are redeemed: a store a scheme.
"""

from collections.abc import Mapping
from typing import Protocol

from pipeline.config import FileSettings
from pipeline.model.errors import UsageError
from pipeline.stages.files.claim_folders import FileClaims, forbidden
from pipeline.stages.files.claims_s3 import S3Claims


class ClaimStore(Protocol):
    """Where claim-checks are redeemed."""

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read what a `uri` points to; may block.

        Raises:
            InvalidEvent: The place is not allowed, or there is no such file, or it is too large.
            Unavailable: The store cannot be reached at present.
        """
        ...


class Claims:
    """Hands each `uri` to the store of its scheme; another scheme is forbidden.

    Args:
        stores: By scheme.
    """

    def __init__(self, stores: Mapping[str, ClaimStore]) -> None:
        self._stores = stores

    def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """As `ClaimStore.fetch`."""
        store = self._stores.get(_scheme(uri))
        if store is None:
            raise forbidden()
        return store.fetch(uri, max_bytes=max_bytes)


def claims_of(settings: FileSettings) -> Claims:
    """The stores that a stage's settings allow.

    Raises:
        UsageError: `uri_allow` names a scheme or a place that cannot be allowed.
    """
    by_scheme: dict[str, list[str]] = {}
    for prefix in settings.uri_allow:
        by_scheme.setdefault(_scheme(prefix), []).append(prefix)
    stores: dict[str, ClaimStore] = {}
    for scheme, prefixes in by_scheme.items():
        match scheme:
            case "file":
                stores[scheme] = FileClaims(prefixes)
            case "s3":
                stores[scheme] = S3Claims(prefixes, settings.s3)
            case _:
                raise UsageError(
                    f"uri_allow: {prefixes[0]!r} is not a place; write an absolute one, "
                    "file:///data/in/ or s3://bucket/in/."
                )
    return Claims(stores)


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower()


__all__ = ["ClaimStore", "Claims", "FileClaims", "S3Claims", "claims_of"]
