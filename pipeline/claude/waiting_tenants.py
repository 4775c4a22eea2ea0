"""Tenants of whom nothing more is to be asked for now: they spent all, or took their share."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf

from pipeline.claude.budget import TENANT, Budget
from pipeline.claude.limiter import Limiter
from pipeline.model.records import Tier

log = logging.getLogger(__name__)
LOOKED_SECONDS = 0.2
"""How often it is looked which tenants may spend something."""
SLOWED_SECONDS = 1.0
"""Of a tenant's share of the rate limits, that may wait at once."""


@dataclass(slots=True, eq=False)
class TenantsWaiting:
    """Tenants of whom nothing more is to be asked; `questions` of theirs wait.

    By account, those that may spend nothing more; by name, those whose questions wait for their
    share of the rate limits already.
    """

    account_of: Callable[[str], str | None]
    used_up: frozenset[str] = frozenset()
    slowed: frozenset[str] = frozenset()
    questions: int = 0

    def is_used_up(self, tenant: str) -> bool:
        return bool(self.used_up) and self.account_of(tenant) in self.used_up

    def __contains__(self, tenant: object) -> bool:
        return isinstance(tenant, str) and (tenant in self.slowed or self.is_used_up(tenant))


class WaitingTenants:
    """Who waits at each tier, where the settings limit tenants; looked up again after a while."""

    def __init__(
        self,
        budget: Budget,
        limiters: Mapping[Tier, Collection[Limiter]],
        *,
        are_limited: bool,
        clock: Callable[[], float],
    ) -> None:
        self._budget = budget
        self._limiters = limiters
        self._are_limited = are_limited
        self._clock = clock
        self._looked_at = -inf
        self._used_up: frozenset[str] = frozenset()
        self._waiting = {tier: TenantsWaiting(budget.account) for tier in limiters}

    def of(self, tier: Tier) -> TenantsWaiting:
        """Another object whenever that changes."""
        now = self._clock()
        if self._are_limited and now - self._looked_at >= LOOKED_SECONDS:
            self._looked_at = now
            self._look()
        return self._waiting[tier]

    def questions(self, tier: Tier) -> int:
        """Their questions that wait already."""
        return self._waiting[tier].questions

    def _look(self) -> None:
        used_up = self._budget.tenants_used_up()
        for account in used_up.keys() ^ self._used_up:
            name = account.removeprefix(TENANT)
            if account in used_up:
                log.warning("events of the tenant %s wait: %s", name, used_up[account].because)
            else:
                log.info("events of the tenant %s go on", name)
        self._used_up = frozenset(used_up)
        for tier, limiters in self._limiters.items():
            before = self._waiting[tier]
            over = [limiter.tenants_over_share() for limiter in limiters]
            slowed = frozenset(
                tenant for each in over for tenant, wait in each.items() if wait > SLOWED_SECONDS
            )
            found = TenantsWaiting(self._budget.account, self._used_up, slowed)
            if (found.used_up, found.slowed) == (before.used_up, before.slowed):
                found = before
            found.questions = sum(limiter.waiting(found) for limiter in limiters)
            self._waiting[tier] = found
