"""Claim-checks: the payload that is too big for Kafka, fetched from where a `uri` points.

Nothing is fetched unless a setting allows its place; each scheme is a `ClaimStore` of its own.
"""

from pipeline.stages.claims.files import FileClaims
from pipeline.stages.claims.s3 import S3Claims
from pipeline.stages.claims.store import Claims, ClaimStore, claims_of

__all__ = ["ClaimStore", "Claims", "FileClaims", "S3Claims", "claims_of"]
