"""The prompts in use: one for each stage, tier and answer schema, with what its calls taught.

That is what a request will take from the rate limits, how long to wait for an answer, and whether
the prompt cache is warm.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from math import ceil, exp, inf, sqrt
from math import log as ln
from typing import Any

from pydantic import JsonValue

from pipeline.claude.billing import Tokens
from pipeline.claude.failures import Peers
from pipeline.claude.model_facts import Traits, known
from pipeline.claude.providers import PROVIDERS
from pipeline.claude.rate_limits import Cost
from pipeline.claude.request_body import Template, api_schema
from pipeline.config import ClaudeSettings, EndpointSettings
from pipeline.model.questions import Image, Part, Pdf, Question, Text
from pipeline.model.records import Tier, Usage

log = logging.getLogger(__name__)
TTL_MARGIN = 0.9
"""Warm again a little before the entry expires."""
PATIENCE_SECONDS = 3.0
"""Seconds after which another request may go beside one that warms. By then its response has begun,
as a rule; where it has not, one prefix more is written, which is cheap."""
TOKENS_PER_BYTE = 0.4
"""By the pages of the 2026 tokenizer: 1M tokens are about 2.5M characters of English."""
IMAGE_BYTES = 12_000
"""The text that counts as much as the most that a model sees of an image: 4,784 tokens."""
PDF_PAGE_BYTES = 50_000
"""The size of a page in a file, as a rule of thumb."""
PAGE_TEXT_BYTES = 4000
MARKER_BYTES = 200
"""Markers, roles, and what structured output adds."""
FIRST_OUTPUT_TOKENS = 200
COST_RATE = 0.05
LEAST_SECONDS = 10.0
"""No time limit is shorter: a slow moment of the API must not double the bill."""
DEVIATIONS = 5.0
SAMPLES_NEEDED = 20
LATENCY_RATE = 0.02
GROWTH = 2.0
SHRINKING = 0.98
"""After each time-out the limit doubles, and comes back with the answers."""
_MOST = 1024
"""Prompts in use. A taxonomy in two levels has one for each group, and for each two together."""
TTL_SECONDS = {"5m": 300.0, "1h": 3600.0}
JOINT_INSTRUCTIONS = """\
The message carries several events. Each begins with a line <event-KEY id="..."> and ends with a \
line </event-KEY>, with the KEY of the message. Judge each event by itself, as if it were the only \
one: what one event says has no bearing on another. Give one answer for each event, in their \
order, with its id."""


class Warmup:
    """The gate in front of one static prefix.

    A cache entry can be read once the response of the request that wrote it begins. Of many
    requests at once each would pay for writing the same prefix, so the first goes alone. Where its
    answer is slow to come the next goes, too: one call that hangs must not hold up a stage.

    Args:
        ttl: Seconds an entry lives after the start of the last request that read it.
    """

    def __init__(self, *, ttl: float, clock: Callable[[], float]) -> None:
        self.ttl = ttl * TTL_MARGIN
        self.clock = clock
        self.warm_until = -inf
        """Infinite where the API does not cache the prefix, because it is too short."""
        self._warming = 0
        self._may_join = True
        self._changed = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []

    async def enter(self) -> bool:
        """Wait while another request warms the cache; returns whether this one is to warm it.

        Then call `sent` when it goes out, and `left` when it has ended.
        """
        while self.clock() >= self.warm_until:
            if self._may_join:
                self._may_join = False
                self._warming += 1
                return True
            await self._changed.wait()
        return False

    def sent(self) -> None:
        """The request that warms is on its way: in a while another may go beside it."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(PATIENCE_SECONDS, self._let_join))

    def left(self) -> None:
        self._warming -= 1
        if not self._warming:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
        if not self._warming or self.clock() < self.warm_until:
            self._let_join()

    def _let_join(self) -> None:
        """Wake all who wait; where the cache is not warm, the first of them is to warm it."""
        self._may_join = True
        self._changed.set()
        self._changed.clear()


def content_weight(parts: Sequence[Part]) -> int:
    """The size of a question's content, as bytes of text that count as much."""
    total = MARKER_BYTES
    for part in parts:
        match part:
            case Text(_, text):
                total += len(text)
            case Image():
                total += IMAGE_BYTES
            case Pdf(data):
                total += PAGE_TEXT_BYTES * (1 + len(data) // PDF_PAGE_BYTES)
    return total


class Prompt:
    """A template, and what its calls have taught.

    Estimates of what a request takes from the rate limits need not be exact: they are settled
    after the call. The static part is counted until it is seen cached.

    A call that is given up too early is paid for nothing, so the time limit lies far above what was
    measured, and moves up at once when it was hit. Latencies are taken as log-normal: the limit is
    the geometric mean times some geometric standard deviations.

    Args:
        enums: The schema by which labels in answers are repaired.
        warmup: None where the prompt cache is off.
    """

    def __init__(
        self,
        stage: str,
        template: Template,
        enums: Mapping[str, JsonValue],
        *,
        most_seconds: float,
        warmup: Warmup | None = None,
    ) -> None:
        self.stage = stage
        self.template = template
        self.enums = enums
        self.warmup = warmup
        self.peers = Peers()
        """How its calls ended, to tell an event's fault from the model's."""
        self.controlling = asyncio.Lock()
        """Held while a control question is asked: one is enough for all who wait."""
        self._samples = 0
        self._counted_static = template.static_bytes
        self._cached_tokens = 0
        self._tokens_per_byte = TOKENS_PER_BYTE
        self._output_tokens: float = FIRST_OUTPUT_TOKENS
        self._most_seconds = most_seconds
        self._mean = self._variance = 0.0
        self._factor = 1.0

    def estimate(self, weight: int, max_output_tokens: int) -> Cost:
        return Cost(
            input_tokens=(weight + self._counted_static) * self._tokens_per_byte,
            output_tokens=min(self._output_tokens, max_output_tokens),
            cache_read_tokens=self._cached_tokens,
        )

    def at_most(self, weight: int, max_output_tokens: int) -> Tokens:
        """The most that a request takes: all of it written to the cache, the longest answer.

        The input is an estimate from its bytes.
        """
        rate = max(TOKENS_PER_BYTE, self._tokens_per_byte)
        return Tokens(
            cache_write_1h=ceil((weight + self.template.static_bytes) * rate),
            output=max_output_tokens,
        )

    def time_limit(self, given_up: int = 0) -> float:
        """Seconds for the next call: twice as long for each time that its question was given up."""
        most = limit = self._most_seconds
        if self._samples >= SAMPLES_NEEDED:
            learnt = exp(min(50.0, self._mean + DEVIATIONS * sqrt(self._variance)))
            limit = min(most, max(min(LEAST_SECONDS, most), learnt) * self._factor)
        return min(most, limit * GROWTH ** min(given_up, 20))

    def learn(self, weight: int, usage: Usage, *, started: float, seconds: float) -> None:
        self._samples += 1
        rate = max(LATENCY_RATE, 1 / self._samples)
        deviation = ln(max(seconds, 1e-3)) - self._mean
        self._mean += rate * deviation
        self._variance = (1 - rate) * (self._variance + rate * deviation**2)
        self._factor = max(1.0, self._factor * SHRINKING)
        rate = max(COST_RATE, 1 / self._samples)
        cached, written = usage.cache_read_tokens, usage.cache_write_tokens
        self._cached_tokens = cached
        self._counted_static = 0 if cached else self.template.static_bytes
        seen = (usage.input_tokens + written) / (weight + self._counted_static)
        self._tokens_per_byte += rate * (seen - self._tokens_per_byte)
        self._output_tokens += rate * (usage.output_tokens - self._output_tokens)
        warmup = self.warmup
        if warmup is None:
            return
        if cached + written:
            until = started + warmup.ttl
            warmup.warm_until = until if warmup.warm_until == inf else max(warmup.warm_until, until)
        elif warmup.clock() > warmup.warm_until:
            warmup.warm_until = inf
            log.warning(
                "the prompt of %s is too short for the prompt cache of %s: %d tokens in all,"
                " where the static part alone must have %d",
                self.stage,
                self.template.endpoint.name,
                usage.input_tokens,
                self.template.traits.cacheable_tokens,
            )

    def timed_out(self) -> None:
        """No answer came in time, to a question that had not been given up before."""
        self._factor = min(self._factor * GROWTH, 2.0**20)


_Key = tuple[int, Tier, bool, str, int]


class Prompts:
    """Finds the prompt of a question.

    Endpoint and schema are the same objects each time, so their identities find the prompt.
    """

    def __init__(self, settings: ClaudeSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._traits: dict[str, Traits] = {}
        # Endpoint and schema are kept beside: an identity is only good while the object lives.
        self._found: dict[_Key, tuple[EndpointSettings, Mapping[str, JsonValue], Prompt]] = {}
        self._by_digest: dict[tuple[int, str], Prompt] = {}

    def take_traits(self, endpoint: EndpointSettings, traits: Traits) -> None:
        """From now on ask a model so; what is under way goes on as it began."""
        if traits != self._traits.get(endpoint.name, known(endpoint.model).traits):
            self._found.clear()
            self._by_digest.clear()
        self._traits[endpoint.name] = traits

    def of(
        self,
        question: Question[Any],
        tier: Tier,
        endpoint: EndpointSettings,
        *,
        joint: bool = False,
    ) -> Prompt:
        """The prompt of a question to an endpoint; `joint` for several events in a request.

        Raises:
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        key = (id(endpoint), tier, joint, question.instructions, id(question.answer_schema))
        found = self._found.get(key)
        if found is not None:
            return found[2]
        if len(self._found) >= _MOST:
            self._found.clear()
            self._by_digest.clear()
        claude = self._settings
        caches = claude.prompt_cache != "off" and PROVIDERS[endpoint.provider].prompt_cache
        ttl = claude.prompt_cache if caches and claude.prompt_cache != "off" else None
        effort = claude.haiku_effort if tier is Tier.HAIKU else claude.sonnet_effort
        instructions, schema = question.instructions, question.answer_schema
        if joint:
            instructions = f"{instructions.rstrip()}\n\n{JOINT_INSTRUCTIONS}"
            schema = _joint_schema(api_schema(schema))
        template = Template(
            endpoint,
            instructions,
            schema,
            effort=effort,
            cache_ttl=ttl,
            traits=self._traits.get(endpoint.name),
        )
        built = Prompt(
            question.stage,
            template,
            # In a joint answer one bad label must not spoil the others: items are repaired singly.
            {} if joint else template.schema,
            most_seconds=claude.call_timeout,
            warmup=None if ttl is None else Warmup(ttl=TTL_SECONDS[ttl], clock=self._clock),
        )
        # Equal requests at two places are two prompts: what is learnt of one is of its place.
        prompt = self._by_digest.setdefault((id(endpoint), built.template.digest), built)
        self._found[key] = endpoint, question.answer_schema, prompt
        return prompt


def _joint_schema(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    properties: dict[str, JsonValue] = {"id": {"type": "integer"}, "answer": dict(schema)}
    item: dict[str, JsonValue] = {"type": "object", "properties": properties}
    return {"type": "object", "properties": {"answers": {"type": "array", "items": item}}}
