"""The prompts in use: one for each stage, tier and answer schema, with what was learnt of it.

One request warms the prompt cache before many follow.

A cache entry can be read from the moment the response of the request that wrote it begins. Of
many requests at once each would pay for writing the same prefix, so the first goes alone. Where
its answer is slow to come the next goes, too: one call that hangs must not hold up a stage.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from pipeline.claude.answer_json import EnumRepair
from pipeline.claude.attempts import Peers, Timeout
from pipeline.claude.billing.prices import Tokens
from pipeline.claude.joint_requests import joint_instructions, joint_schema
from pipeline.claude.limits.rate_limits import Cost, Estimates
from pipeline.claude.model_client import PromptStatus
from pipeline.claude.requests import Style, Template, api_schema
from pipeline.config import ClaudeSettings
from pipeline.model.questions import Question
from pipeline.model.records import Tier

TTL_MARGIN = 0.9
"""Warm again a little before the entry expires."""
PATIENCE_SECONDS = 3.0
"""From the sending of a request that warms until another may go beside it. By then its response
has begun, as a rule; where it has not, one prefix more is written, which is cheap."""


class Warmup:
    """The gate in front of one static prefix.

    Args:
        ttl: Seconds an entry lives after the start of the last request that read it.
        clock: Seconds that do not go back.
    """

    def __init__(self, *, ttl: float, clock: Callable[[], float]) -> None:
        self._ttl = ttl * TTL_MARGIN
        self._clock = clock
        self._warm_until = float("-inf")
        self._warming = 0
        self._may_join = True
        self._is_pointless = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timers: deque[asyncio.TimerHandle] = deque()

    @property
    def is_pointless(self) -> bool:
        """Whether the API does not cache the prefix: it is too short."""
        return self._is_pointless

    @property
    def is_warm(self) -> bool:
        """Whether requests need not wait for one that warms."""
        return self._is_pointless or self._clock() < self._warm_until

    async def enter(self) -> bool:
        """Wait while another request warms the cache.

        Returns:
            Whether this request is one that warms: `left` must be called when it has ended, and
            `sent` when it goes out.
        """
        while not self.is_warm:
            if self._may_join:
                self._may_join = False
                self._warming += 1
                return True
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return False

    def used(self, started: float, *, cached: bool) -> None:
        """An answer came.

        Args:
            started: When its request was sent.
            cached: Whether anything was read from the cache or written to it.
        """
        if cached:
            self._is_pointless = False
            self._warm_until = max(self._warm_until, started + self._ttl)
        elif self._clock() > self._warm_until:
            self._is_pointless = True

    def sent(self) -> None:
        """The request that warms is on its way: from now on patience with it ends."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(PATIENCE_SECONDS, self._lose_patience))

    def left(self) -> None:
        """A request that warmed has ended, whatever came of it."""
        self._warming -= 1
        if not self._warming:
            while self._timers:
                self._timers.popleft().cancel()
        if self.is_warm or not self._warming:
            self._may_join = True
            self._wake(len(self._waiting))

    def _lose_patience(self) -> None:
        self._may_join = True
        self._wake(1)

    def _wake(self, count: int) -> None:
        while self._waiting and count:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1


log = logging.getLogger(__name__)
_MOST = 1024
"""A taxonomy in two levels has one for each group, and for each two that were both considered."""
_TTL_SECONDS = {"5m": 300.0, "1h": 3600.0}


@dataclass(slots=True, eq=False)
class Prompt:
    """A template, and what its calls have taught.

    Args:
        repair: For the answers.
        warmup: None where the prompt cache is off.
        peers: How its calls ended, to tell an event's trouble from the model's.
        controlling: Held while a control question is asked: one is enough for all who wait.
        calls: Answers so far.
        cached_calls: Those whose static part was read from the prompt cache.
    """

    stage: str
    template: Template
    repair: EnumRepair
    estimates: Estimates
    timeout: Timeout
    warmup: Warmup | None
    peers: Peers = field(default_factory=Peers)
    controlling: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: int = 0
    cached_calls: int = 0

    def status(self) -> PromptStatus:
        """What is known."""
        return PromptStatus(
            stage=self.stage,
            model=self.template.model,
            calls=self.calls,
            cached_calls=self.cached_calls,
            too_short=self.warmup is not None and self.warmup.is_pointless,
            timeout=round(self.timeout.seconds, 3),
        )

    async def enter(self) -> Warmup | None:
        """Wait while another request warms the prompt cache.

        Returns:
            What has to learn how this request ends, where it is one that warms.
        """
        if self.warmup is None or self.warmup.is_warm or not await self.warmup.enter():
            return None
        return self.warmup

    def learn(
        self, weight: int, counted: Cost, tokens: Tokens, *, started: float, seconds: float
    ) -> None:
        """Take an answer into account.

        Args:
            weight: Of the question.
            counted: What it took from the rate limits.
            tokens: As they are billed.
            started: When it was sent.
            seconds: How long it took.
        """
        self.calls += 1
        self.cached_calls += tokens.cache_read > 0
        self.timeout.answered(seconds)
        self.estimates.learn(weight, counted, cached=tokens.cache_read > 0)
        if self.warmup is None:
            return
        was_pointless = self.warmup.is_pointless
        self.warmup.used(started, cached=tokens.cache_read + tokens.cache_write > 0)
        if self.warmup.is_pointless and not was_pointless:
            log.warning(
                "the prompt of %s is too short for the prompt cache of %s: %d tokens in all,"
                " where the static part alone must have %d",
                self.stage,
                self.template.model,
                tokens.prompt,
                self.template.traits.cacheable_tokens,
            )


class Prompts:
    """Finds the prompt of a question.

    A stage passes the same schema object with each of its questions, so the object's identity
    finds the prompt without comparing schemas; other objects of equal content share it.

    Args:
        settings: Effort, prompt cache and time-outs.
        clock: Seconds that do not go back.
    """

    def __init__(self, settings: ClaudeSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        # The schema is kept beside its prompt: an identity is only good while the object lives.
        self._found: dict[tuple[Tier, bool, str, int], tuple[Mapping[str, JsonValue], Prompt]] = {}
        self._by_digest: dict[str, Prompt] = {}

    def of(self, question: Question[Any], tier: Tier, model: str, *, joint: bool = False) -> Prompt:
        """The prompt of a question to a model.

        Args:
            question: Of a stage.
            tier: The model's.
            model: Its id.
            joint: For several events in a request.

        Raises:
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        key = (tier, joint, question.instructions, id(question.answer_schema))
        found = self._found.get(key)
        if found is not None:
            return found[1]
        if len(self._found) >= _MOST:
            self._found.clear()
            self._by_digest.clear()
        built = self._build(question, tier, model, joint=joint)
        prompt = self._by_digest.setdefault(built.template.digest, built)
        self._found[key] = question.answer_schema, prompt
        return prompt

    def all(self) -> list[Prompt]:
        """Those in use."""
        return list(self._by_digest.values())

    def _build(self, question: Question[Any], tier: Tier, model: str, *, joint: bool) -> Prompt:
        claude = self._settings
        style = Style(
            model,
            effort=claude.haiku_effort if tier is Tier.HAIKU else claude.sonnet_effort,
            cache_ttl=None if claude.prompt_cache == "off" else claude.prompt_cache,
        )
        template = (
            Template(
                style,
                joint_instructions(question.instructions),
                joint_schema(api_schema(question.answer_schema)),
            )
            if joint
            else Template(style, question.instructions, question.answer_schema)
        )
        warmup = None
        if claude.prompt_cache != "off":
            warmup = Warmup(ttl=_TTL_SECONDS[claude.prompt_cache], clock=self._clock)
        return Prompt(
            question.stage,
            template,
            # In a joint answer one bad label must not spoil the others: items are repaired singly.
            EnumRepair({} if joint else template.schema),
            Estimates(template.static_bytes),
            Timeout(claude.call_timeout),
            warmup,
        )
