"""What tenants take of the rate limits: each no more than its share, whatever the others take.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 1.0
"""What a tenant that took nothing for a while has saved up."""
_KEPT = 1000


@dataclass(slots=True)
class _Account:
    """What may go of a tenant, in shares of a minute's limit; negative: what it owes."""

    credit: float
    at: float


class TenantShares:
    """`share_of` says which share of each limit this process may take for a tenant; None: any."""

    def __init__(self, share_of: Callable[[str], float | None]) -> None:
        self._share_of = share_of
        self._accounts: dict[str, _Account] = {}

    def wait(self, tenant: str, now: float) -> float:
        """Seconds until a call may go: as soon as nothing is owed; then it owes what it takes."""
        share = self._share_of(tenant)
        account = self._accounts.get(tenant)
        if share is None or account is None:
            return 0.0
        return max(0.0, -self._credit(account, share, now) * 60 / share)

    def seconds_for(self, tenant: str, weight: float) -> float:
        """How long calls that take so much of a minute's limit together need; 0 without a share."""
        share = self._share_of(tenant)
        return 0.0 if share is None else weight * 60 / share

    def take(self, tenant: str, weight: float, now: float) -> None:
        """A call takes that share of a minute's limit."""
        share = self._share_of(tenant)
        if share is None:
            return
        account = self._accounts.setdefault(tenant, _Account(share * BURST_SECONDS / 60, now))
        account.credit = self._credit(account, share, now) - weight
        account.at = now
        if len(self._accounts) > _KEPT:
            # Those that owe nothing are as good as new.
            self._accounts = {
                each: kept
                for each, kept in self._accounts.items()
                if self._credit(kept, self._share_of(each) or 1.0, now) < 0
            }

    @staticmethod
    def _credit(account: _Account, share: float, now: float) -> float:
        return min(share * BURST_SECONDS / 60, account.credit + (now - account.at) * share / 60)
