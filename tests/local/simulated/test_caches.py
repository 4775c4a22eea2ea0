"""The prompt cache: reads, writes, minimum, time to live."""

from anthropic import AsyncAnthropic
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.simulated.prompt import Block, CacheUse, PromptCache, Ttl
from tests.local.simulated.conftest import HAIKU, SONNET, asking

PREFIX = Block(b"instructions", 600, "5m")
TAIL = Block(b"event", 40)


def use(cache: PromptCache, *blocks: Block, now: float = 0.0, scope: str = "key") -> CacheUse:
    """Look up a prompt whose response begins at once."""
    split, keys = cache.use(scope, blocks, minimum=512, now=now)
    cache.readable(keys, now)
    return split


def test_a_prefix_is_written_once_and_then_read() -> None:
    cache = PromptCache()
    assert use(cache, PREFIX, TAIL) == CacheUse(40, written_5m=600)
    assert use(cache, PREFIX, TAIL, now=1) == CacheUse(40, read=600)


def test_a_prefix_below_the_minimum_is_silently_not_cached() -> None:
    cache = PromptCache()
    short = Block(b"instructions", 511, "5m")
    assert use(cache, short, TAIL) == CacheUse(551)
    assert use(cache, short, TAIL) == CacheUse(551)


def test_without_a_breakpoint_nothing_is_cached() -> None:
    assert use(PromptCache(), Block(b"x", 5000)) == CacheUse(5000)


def test_another_prefix_is_not_read() -> None:
    cache = PromptCache()
    use(cache, PREFIX, TAIL)
    assert use(cache, Block(b"instructions.", 600, "5m"), TAIL).read == 0


def test_keys_and_models_share_nothing() -> None:
    cache = PromptCache()
    use(cache, PREFIX, scope="a")
    assert use(cache, PREFIX, scope="b").read == 0


def test_an_entry_is_readable_only_once_the_response_begins() -> None:
    cache = PromptCache()
    first, keys = cache.use("key", [PREFIX], minimum=512, now=0)
    herd, _ = cache.use("key", [PREFIX], minimum=512, now=0.1)
    assert (first.written, herd.written) == (600, 600)
    cache.readable(keys, 0.5)
    assert use(cache, PREFIX, now=0.4).read == 0
    assert use(cache, PREFIX, now=0.5).read == 600


def test_an_entry_lives_five_minutes_from_the_start_of_the_last_use() -> None:
    cache = PromptCache()
    use(cache, PREFIX, now=0)
    assert use(cache, PREFIX, now=299).read == 600
    assert use(cache, PREFIX, now=598).read == 600
    assert use(cache, PREFIX, now=898).read == 0


def test_an_entry_may_live_an_hour() -> None:
    cache = PromptCache()
    hourly = Block(b"instructions", 600, "1h")
    assert use(cache, hourly).written_1h == 600
    assert use(cache, hourly, now=3599).read == 600
    assert use(cache, hourly, now=3599 + 3600).read == 0


def test_a_breakpoint_behind_a_cached_prefix_writes_only_the_rest() -> None:
    cache = PromptCache()
    use(cache, PREFIX)
    assert use(cache, PREFIX, Block(b"examples", 100, "5m"), TAIL) == CacheUse(
        40, read=600, written_5m=100
    )


def test_the_lookback_is_twenty_blocks() -> None:
    cache = PromptCache()
    use(cache, PREFIX)
    between = [Block(b"%d" % i, 1) for i in range(18)]
    near = [Block(b"instructions", 600), *between, Block(b"end", 1, "5m")]
    far = [Block(b"instructions", 600), *between, Block(b"+", 1), Block(b"end", 1, "5m")]
    assert use(cache, *near).read == 600
    assert use(cache, *far).read == 0


def test_the_least_recently_used_entry_makes_room() -> None:
    cache = PromptCache(max_entries=1)
    use(cache, PREFIX)
    use(cache, Block(b"other", 600, "5m"))
    assert use(cache, PREFIX).read == 0


marks: st.SearchStrategy[Ttl | None] = st.sampled_from([None, None, "5m"])
prompts = st.lists(
    st.builds(Block, st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 900), marks),
    min_size=1,
    max_size=6,
)


@given(st.lists(prompts, max_size=8), st.data())
def test_the_parts_of_a_prompt_are_always_the_whole(
    history: list[list[Block]], data: st.DataObject
) -> None:
    cache, now = PromptCache(max_entries=5), 0.0
    for blocks in history:
        now += data.draw(st.floats(0, 400))
        split = use(cache, *blocks, now=now)
        assert split.uncached + split.read + split.written == sum(b.tokens for b in blocks)


async def test_usage_states_writes_and_reads(client: AsyncAnthropic) -> None:
    system = [
        {"type": "text", "text": "Sort. " * 400, "cache_control": {"type": "ephemeral"}},
    ]
    first = await client.messages.create(**asking("One.", system=system))
    second = await client.messages.create(**asking("Two.", system=system))
    other = await client.messages.create(
        **asking("Two.", system=system, model=SONNET, thinking={"type": "between_tools"})
    )
    assert first.usage.cache_creation_input_tokens == 960
    assert first.usage.cache_creation is not None
    assert first.usage.cache_creation.ephemeral_5m_input_tokens == 960
    assert second.usage.cache_read_input_tokens == 960
    assert second.usage.cache_creation_input_tokens == 0
    assert other.usage.cache_read_input_tokens == 0
    assert second.model == f"simulated-{HAIKU}"
