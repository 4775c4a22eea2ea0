"""The gateway: every question of every stage passes through it to a model and back.

It masks what the settings say before a question becomes a request, and restores the answer last:
what is kept, shared or repeated below knows placeholders only.
"""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from opentelemetry.trace import TracerProvider

from pipeline.claude.billing import PriceTable, is_regional
from pipeline.claude.breaker import Breaker
from pipeline.claude.budget import SPANS, Budget, TenantBudgets, TenantLimits
from pipeline.claude.calls import Caller, Endpoint, InFlightCall, ModelRequest, Stay
from pipeline.claude.client import SdkClient
from pipeline.claude.failures import Backoff, Bounds
from pipeline.claude.limiter import Limiter, block_breaker, extra_slots
from pipeline.claude.message_batches import Batches, BatchLane
from pipeline.claude.model_facts import ModelFacts
from pipeline.claude.probes import Probe, follow_models, probe
from pipeline.claude.prompts import Prompts, content_weight
from pipeline.claude.providers import (
    PROVIDERS,
    Account,
    account_of,
)
from pipeline.claude.request_body import content_of
from pipeline.claude.request_groups import RequestGroups, Steers
from pipeline.claude.response_cache import CACHE_SCHEMA, DiskCache, ResponseCache
from pipeline.claude.responses import Client
from pipeline.claude.routes import Route, call_where_possible
from pipeline.claude.waiting_tenants import TenantsWaiting, WaitingTenants
from pipeline.config import EndpointSettings, Settings, TenantLimitSettings, TenantsSettings
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer, Place
from pipeline.model.questions import AnswerT, Question, Response, Text
from pipeline.model.records import Tier
from pipeline.privacy.masking import Masked
from pipeline.runtime.database import Database
from pipeline.runtime.process import background_task

log = logging.getLogger(__name__)
Failed = Callable[[], object]
Share = Callable[[Budget, Failed], AbstractAsyncContextManager[None]]
SAVE_SECONDS = 1.0
"""How often what was answered is saved, so that a crash loses no more, and how often each
limiter reports what changed without a call of its own: a key is refused for all models at once, and
a breaker is half open when its time has come."""
CACHED_ANSWERS = 10_000
"""The latest answers that are kept for identical questions, in memory and on disk."""
BACKOFF_FIRST_SECONDS = 0.5
SPARE_CONNECTIONS = 8
LONG_CHARS = 20_000
"""Of a question's texts; in shorter ones personal data is found within milliseconds."""


class Gateway:
    """Asks the models, as a `pipeline.model.questions.Asker`; open while it is entered.

    Args:
        client: Sends the requests; the official SDK if None.
        clock: Seconds that do not go back; `now` is the time, aware, and `jitter` draws 0 to 1.
        steers: Which events share a request with no others.
        traces: Where the spans of calls go, if anywhere.
        share: Shares the budget with other processes as long as it is entered; it is only where
            there is one.
        wrap: Makes another client of each that sends requests, e.g. one that shows them.
        failed: Called when what was spent and answered is not written down or reported any more
            for a reason that nobody foresaw; the error is raised when this is left.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observer: Observer | None = None,
        client: Client | None = None,
        wrap: Callable[[Client], Client] = lambda client: client,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        steers: Steers = lambda _: False,
        traces: TracerProvider | None = None,
        share: Share | None = None,
        failed: Failed = lambda: None,
    ) -> None:
        claude = self._claude = settings.claude
        self._stages = settings.stages.by_name()
        self._observer = observer or Observer()
        self._share = share
        self._failed = failed
        self._masking = settings.privacy.masking()
        self._prices = PriceTable(claude.prices)
        self._prompts = Prompts(claude, clock=clock)
        self._budget = Budget(
            {"hour": claude.budget_usd_per_hour, "day": claude.budget_usd_per_day},
            {
                name: {"hour": stage.budget_usd_per_hour, "day": stage.budget_usd_per_day}
                for name, stage in self._stages.items()
            },
            _tenant_budgets(settings.tenants),
            now=now,
        )
        self._clock = clock
        self._clients: list[SdkClient] = []
        accounts: defaultdict[Account, Breaker] = defaultdict(block_breaker)
        connections = claude.concurrency + sum(extra_slots(claude.concurrency)) + SPARE_CONNECTIONS

        self._endpoints: dict[str, Endpoint] = {}

        def endpoint_of(place: EndpointSettings) -> Endpoint:
            key = place.model_dump_json(exclude={"fallback"})
            if key in self._endpoints:
                return self._endpoints[key]
            asked = client
            if asked is None:
                asked = SdkClient(place, connections=connections, traces=traces)
                self._clients.append(asked)
            name, taken = place.name, {each.limiter.model for each in self._endpoints.values()}
            while name in taken:
                # The same model with another key or at another address.
                name = f"fallback/{name}"
            limiter = Limiter(
                name,
                claude.concurrency,
                account=accounts[account_of(place)],
                budget=self._budget,
                observer=self._observer,
                clock=clock,
            )
            made = Endpoint(place, limiter, wrap(asked), is_regional(place))
            return self._endpoints.setdefault(key, made)

        def route_to(tier: Tier) -> Route:
            first = settings.models.of(tier)
            endpoints: dict[Place, Endpoint] = {"first": endpoint_of(first)}
            if first.fallback is not None:
                endpoints["fallback"] = endpoint_of(first.fallback)
            return Route(tier, endpoints, observer=self._observer, clock=clock)

        self._routes = {tier: route_to(tier) for tier in Tier}
        self._tenants = WaitingTenants(
            self._budget,
            {tier: route.limiters for tier, route in self._routes.items()},
            are_limited=settings.tenants.are_limited,
            clock=clock,
        )
        self._budget.changed = self._resume
        longest = claude.backoff_max
        self._backoff = Backoff(min(BACKOFF_FIRST_SECONDS, longest), longest, jitter)
        self._caller = Caller(
            prices=self._prices,
            budget=self._budget,
            backoff=self._backoff,
            bounds=Bounds.of(claude),
            observer=self._observer,
            clock=clock,
        )
        sizes = {name: stage.events_per_request for name, stage in self._stages.items()}
        self._group_sizes = {name: size for name, size in sizes.items() if size > 1}
        self._groups = RequestGroups(self._caller, self._prompts, self._group_sizes, steers)
        at_one = self._groups.call if self._group_sizes else self._caller.call
        has_fallback = any(route.has_fallback for route in self._routes.values())
        self._call = partial(call_where_possible, at_one) if has_fallback else at_one
        self._cache = ResponseCache(
            call=self._call,
            observer=self._observer,
            now=now,
            most=CACHED_ANSWERS,
            ttl=claude.answer_cache_ttl,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open connections and files.

        Raises:
            UsageError: A file that the settings name cannot be used, or an extra is missing.
            PipelineError: What `share` raises.
        """
        claude = self._claude
        async with AsyncExitStack() as stack:
            for sdk in self._clients:
                await stack.enter_async_context(sdk)
            if self._budget.is_limited:
                if self._share is not None:
                    await stack.enter_async_context(self._share(self._budget, self._failed))
                for model in {each.settings.model for each in self._endpoints.values()}:
                    if self._prices.price(model) is None:
                        log.warning(
                            "the price of %s is not known: budgets count it as the most expensive"
                            " model whose price is; set claude.prices",
                            model,
                        )
            if claude.answer_cache == "disk":
                file = Database(claude.answers_path, CACHE_SCHEMA, setting="claude.state_dir")
                await stack.enter_async_context(file)
                self._cache.disk = DiskCache(file, CACHED_ANSWERS, claude.answer_cache_ttl)
            stack.push_async_callback(self._stop)
            saving = background_task(self._save_regularly(), ended=self._failed)
            await stack.enter_async_context(saving)
            for route in self._routes.values():
                route.report()
                for place in route.endpoints if route.has_fallback else ():
                    probing = background_task(route.probe(place, self._caller), ended=self._failed)
                    await stack.enter_async_context(probing)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give up the calls under way, write down what is new, close everything."""
        await self._stack.aclose()

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Ask, waiting as long as limits, outages and budgets demand.

        Raises:
            AnswerError: One of its subclasses, where the answer is no use, or nothing may be asked.
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        masked = await self._masked(question)
        limit = max_output_tokens or question.max_output_tokens
        request_at = partial(self._request, masked, tier, limit)
        request = self._routes[tier].begin(question.stage, request_at)
        if self._claude.answer_cache != "off":
            return masked.restored(await self._cache.ask(request))
        return masked.restored((await self._call(request, InFlightCall(waiters=1))).response)

    async def _masked(self, question: Question[AnswerT]) -> Masked[AnswerT]:
        if self._masking.rules(question.stage):
            texts = sum(len(part.text) for part in question.parts if isinstance(part, Text))
            if texts > LONG_CHARS:
                return await asyncio.to_thread(self._masking.masked, question)
        return self._masking.masked(question)

    def paused_reason(self, stage: str, tier: Tier) -> str | None:
        return self._routes[tier].paused_reason(stage)

    def at_once(self, stage: str, tier: Tier) -> int:
        """How many questions are worth asking at once: what is under way, and the next few.

        Those that wait for their tenant's money come on top: they must not take the place of
        others.
        """
        together = self._group_sizes.get(stage, 1) if tier is Tier.HAIKU else 1
        return self._routes[tier].at_once(stage, together) + self._tenants.questions(tier)

    def tenants_waiting(self, tier: Tier) -> TenantsWaiting:
        """Of whom nothing more is to be asked for now; another object whenever that changes."""
        return self._tenants.of(tier)

    def batch_lane(self, on_wait: Callable[[str | None], None] = lambda _: None) -> BatchLane:
        """For questions that may wait up to a day and cost half; `on_wait`: see `Batches`.

        Raises:
            UsageError: Where Haiku is asked there are no batches.
        """
        endpoint = self._routes[Tier.HAIKU].endpoints["first"]
        if not endpoint.provider.batches:
            having = ", ".join(name for name, traits in PROVIDERS.items() if traits.batches)
            raise UsageError(
                f"{endpoint.settings.provider} has no message batches, so there is no backfill at "
                "half the price: let `pipeline run` read the records, or set "
                f"models.haiku.provider to one that has them ({having})."
            )
        api = Batches(endpoint.client, backoff=self._backoff, on_wait=on_wait)
        return BatchLane(api, self._caller, self._request, self._masking)

    async def probe(self) -> list[Probe]:
        return [await probe(endpoint) for endpoint in self._endpoints.values()]

    async def follow_models(self) -> None:
        """Ask now and then what the models can do, endlessly; each is then asked as it can be.

        Until a model was described, and where it never is, what the program's table says holds.
        """
        await follow_models(self._endpoints.values(), self._take_facts)

    def _take_facts(self, endpoint: EndpointSettings, facts: ModelFacts) -> None:
        self._prompts.take_traits(endpoint, facts.traits)
        if facts.lifecycle in {"deprecated", "retired"}:
            day = facts.retires or "a day that is not set"
            log.warning("%s is %s; it retires on %s", endpoint.name, facts.lifecycle, day)
        if not facts.traits.takes_schema:
            log.warning("%s takes no answer schema, so it is asked for the form", endpoint.name)

    def _request(
        self,
        masked: Masked[Any],
        tier: Tier,
        max_output_tokens: int,
        place: Place = "first",
        stay: Stay | None = None,
    ) -> ModelRequest:
        endpoint, question = self._routes[tier].endpoints[place], masked.question
        prompt = self._prompts.of(question, tier, endpoint.settings)
        content = content_of(question.parts)
        return ModelRequest(
            question=question,
            tier=tier,
            prompt=prompt,
            endpoint=endpoint,
            body=prompt.template.body(content, max_output_tokens=max_output_tokens),
            weight=content_weight(question.parts),
            max_output_tokens=max_output_tokens,
            stay=stay,
        )

    async def _stop(self) -> None:
        await self._cache.close()
        await self._groups.close()
        for endpoint in self._endpoints.values():
            endpoint.limiter.close()
        await self._save()

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            for endpoint in self._endpoints.values():
                endpoint.limiter.report()
            for route in self._routes.values():
                route.report()
            await self._save()

    def _resume(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.limiter.resume()

    async def _save(self) -> None:
        # Others may claim for stages that are not known here, and names of theirs are no labels.
        for stage in filter(self._stages.__contains__, self._budget.stages()):
            for span in SPANS:
                self._observer.spent(stage, window=span, usd=self._budget.spent(stage, span))
        await self._cache.save()


def _tenant_budgets(settings: TenantsSettings) -> TenantBudgets:
    return TenantBudgets(
        _tenant_limits(settings.each),
        {name: _tenant_limits(limits) for name, limits in settings.named.items()},
    )


def _tenant_limits(limits: TenantLimitSettings) -> TenantLimits:
    return TenantLimits(
        {"hour": limits.budget_usd_per_hour, "day": limits.budget_usd_per_day}, limits.rate_share
    )
