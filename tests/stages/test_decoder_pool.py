"""The child processes that decode files: real ones, with real limits."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.config import DecodingSettings
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.questions import Image, Pdf
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.decoding import DecoderPool, FileLimits, Job, decoders_of_this_process
from pipeline.stages.files.media import MediaType
from tests.stages.hostile import (
    blank_image,
    blank_webp,
    deep_tree,
    object_stream_bomb,
    objects_without_a_table,
    one_page_named,
    table_bomb,
    table_that_names_itself,
    tree_of_shared_nodes,
    tree_with_a_loop,
    unclosed_streams,
)
from tests.stages.making import pdf, picture, png_bomb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")

LIMITS = FileLimits(max_image_pixels=50_000_000, image_long_edge=1568, max_pdf_pages=10)
SLOW = objects_without_a_table(400_000)
"""Takes seconds in qpdf, and no memory to speak of."""
ROOT = Path(__file__).parents[2]


def job(data: bytes, media_type: MediaType = "application/pdf") -> Job:
    return Job(data, media_type, "file", LIMITS)


PNG = job(picture(), "image/png")
SENT = (Image("image/png", picture()),)


@pytest.fixture
def pool_of() -> Iterator[Callable[..., DecoderPool]]:
    pools = []

    def make(
        decoders: int = 1, decode_seconds: float = 60, decode_memory_mib: int = 256
    ) -> DecoderPool:
        pools.append(
            DecoderPool(
                DecodingSettings(
                    decoders=decoders,
                    decode_seconds=decode_seconds,
                    decode_memory_mib=decode_memory_mib,
                )
            )
        )
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def refused(pool: DecoderPool, of: Job) -> InvalidEvent:
    with pytest.raises(InvalidEvent, match="file: ") as caught:
        pool.decode(of)
    return caught.value


def children_of(pid: int) -> list[int]:
    """As the kernel has them now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text()
        except OSError:
            continue
        state, parent = status.rpartition(")")[2].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(entry.name))
    return found


def server_of(pool: DecoderPool) -> int:
    assert pool._server is not None
    return pool._server.process.pid


def wait_until(condition: Callable[[], bool]) -> None:
    """For what the kernel has no event for that could be waited on."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_files_are_decoded_in_one_child_after_another(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of()
    assert pool.decode(PNG) == SENT
    (decoder,) = children_of(server_of(pool))
    assert pool.decode(job(pdf())) == (Pdf(pdf()),)
    assert refused(pool, job(b"%PDF-")).reason is DeadLetterReason.BAD_PDF
    assert children_of(server_of(pool)) == [decoder]


def test_nothing_is_started_before_the_first_file(pool_of: Callable[..., DecoderPool]) -> None:
    assert pool_of()._server is None


def test_a_file_that_takes_too_long_is_one_refusal_and_a_fresh_child_follows(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of(decode_seconds=0.3)
    pool.decode(PNG)
    (decoder,) = children_of(server_of(pool))
    invalid = refused(pool, job(SLOW))
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "files.decode_seconds, 0.3 s" in invalid.detail
    wait_until(lambda: is_gone(decoder))
    assert pool.decode(PNG) == SENT


@pytest.mark.parametrize(
    "of",
    [
        lambda: job(blank_image("PNG", 5_000, "RGBA"), "image/png"),
        lambda: job(blank_webp(5_000), "image/webp"),
    ],
    ids=["png", "webp"],
)
def test_a_file_that_takes_too_much_memory_is_one_refusal(
    of: Callable[[], Job], pool_of: Callable[..., DecoderPool]
) -> None:
    pool = pool_of(decode_memory_mib=64)
    invalid = refused(pool, of())
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "files.decode_memory_mib, 64 MiB" in invalid.detail
    assert pool.decode(PNG) == SENT


def test_what_starts_the_child_does_not_count_against_a_files_memory(
    pool_of: Callable[..., DecoderPool],
) -> None:
    large = blank_image("PNG", 3_000)  # 27 to 36 MB of pixels
    (sent,) = pool_of(decode_memory_mib=64).decode(job(large, "image/png"))
    assert isinstance(sent, Image)


@pytest.fixture(scope="module")
def pool_of_all() -> Iterator[DecoderPool]:
    """One that outlives one hostile file after another."""
    pool = DecoderPool(DecodingSettings(decoders=1, decode_seconds=5, decode_memory_mib=128))
    yield pool
    pool.close()


@pytest.mark.parametrize(
    "of",
    [
        lambda: job(object_stream_bomb(400)),
        lambda: job(table_bomb(400)),
        lambda: job(unclosed_streams(6)),
        lambda: job(deep_tree(20_000)),
        lambda: job(tree_of_shared_nodes(100, 20)),
        lambda: job(tree_with_a_loop()),
        lambda: job(one_page_named(500_000)),
        lambda: job(table_that_names_itself()),
        lambda: job(SLOW),
        lambda: job(png_bomb(), "image/png"),
        lambda: job(png_bomb(7_000, 7_000), "image/png"),
        lambda: job(blank_webp(16_000), "image/webp"),
        lambda: job(blank_image("JPEG", 7_000), "image/jpeg"),
        lambda: job(b"\xff\xd8\xff" + bytes(100), "image/jpeg"),
    ],
)
def test_whatever_a_file_is_it_ends_within_its_limits_and_the_next_is_decoded(
    of: Callable[[], Job], pool_of_all: DecoderPool
) -> None:
    pool_of_all.decode(PNG)
    hostile = of()
    began = time.monotonic()
    with contextlib.suppress(InvalidEvent):
        assert pool_of_all.decode(hostile)
    assert time.monotonic() - began < 11
    assert pool_of_all.decode(PNG) == SENT


def test_a_neighbour_is_not_delayed_by_a_slow_file(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of(decoders=2)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(pool.decode, job(SLOW))
        for _ in range(5):
            assert pool.decode(PNG) == SENT
        assert not slow.done()
        pool.close()
        with pytest.raises(Unavailable):
            slow.result()


def test_large_files_leave_a_decoder_to_the_small_ones(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of(decoders=3)
    with ThreadPoolExecutor(10) as threads:
        slow = [threads.submit(pool.decode, job(SLOW)) for _ in range(8)]
        wait_until(lambda: pool._turns._value == 1)
        for _ in range(5):
            assert pool.decode(PNG) == SENT
        assert not any(each.done() for each in slow)
        pool.close()


def test_waiting_for_a_decoder_is_not_a_files_time(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of(decode_seconds=0.5)
    with ThreadPoolExecutor(8) as threads:
        slow = [threads.submit(pool.decode, job(SLOW)) for _ in range(3)]
        quick = [threads.submit(pool.decode, PNG) for _ in range(4)]
        assert [each.result() for each in quick] == [SENT] * 4
        for each in slow:
            with pytest.raises(InvalidEvent, match="decode_seconds"):
                each.result()


def decoding(pool: DecoderPool) -> int:
    """The process id of the one child, once it is at work."""
    server = server_of(pool)
    wait_until(lambda: len(children_of(server)) == 1)
    (decoder,) = children_of(server)

    def cpu() -> int:
        try:
            return int(Path(f"/proc/{decoder}/stat").read_text().rpartition(")")[2].split()[11])
        except OSError:
            return -1

    wait_until(lambda: cpu() != 0)
    return decoder


def test_a_child_that_is_killed_costs_no_event(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of()
    pool.decode(PNG)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(pool.decode, job(objects_without_a_table(80_000)))
        os.kill(decoding(pool), signal.SIGKILL)
        with pytest.raises(InvalidEvent) as caught:
            slow.result()
    # By its second child it is known for what it is.
    assert caught.value.reason is DeadLetterReason.BAD_PDF


def test_a_file_that_ends_two_children_is_refused(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of()
    pool.decode(PNG)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(pool.decode, job(SLOW))
        first = decoding(pool)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: is_gone(first))
        os.kill(decoding(pool), signal.SIGKILL)
        with pytest.raises(InvalidEvent, match="ended its decoder twice") as caught:
            slow.result()
    assert caught.value.reason is DeadLetterReason.BAD_PDF


def test_an_idle_child_that_was_killed_is_replaced(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of()
    pool.decode(PNG)
    (idle,) = children_of(server_of(pool))
    os.kill(idle, signal.SIGKILL)
    wait_until(lambda: is_gone(idle))
    assert pool.decode(PNG) == SENT


def test_a_server_that_was_killed_is_replaced(pool_of: Callable[..., DecoderPool]) -> None:
    pool = pool_of()
    pool.decode(PNG)
    server = server_of(pool)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: is_gone(server))
    assert pool.decode(PNG) == SENT


def test_closing_ends_what_runs_and_what_waits_and_leaves_no_child(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of()
    pool.decode(PNG)
    server = server_of(pool)
    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(pool.decode, job(SLOW)) for _ in range(5)]
        decoder = decoding(pool)
        began = time.monotonic()
        pool.close()
        for each in waiting:
            with pytest.raises(Unavailable):
                each.result()
    assert time.monotonic() - began < 5
    wait_until(lambda: is_gone(server) and is_gone(decoder))
    with pytest.raises(Unavailable):
        pool.decode(PNG)


_PROGRAM = """
import os, sys, threading
from pipeline.config import DecodingSettings
from pipeline.stages.files.decoding import DecoderPool
from pipeline.stages.files.decoding import FileLimits, Job
from tests.stages.hostile import objects_without_a_table
from tests.stages.making import pdf
pool = DecoderPool(DecodingSettings(decoders=2, decode_seconds=60))
quick, slow = (
    Job(data, "application/pdf", "file", FileLimits(1, 1, 1))
    for data in (pdf(), objects_without_a_table(600_000))
)
pool.decode(quick)
threading.Thread(target=pool.decode, args=[slow], daemon=True).start()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ended_by", ["return", signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_its_parent(ended_by: signal.Signals | str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "ANTHROPIC_API_KEY": "sk-not-for-children"},
        cwd=ROOT,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        (server,) = children_of(pid)
        wait_until(lambda: len(children_of(server)) >= 1)
        family = [server, *children_of(server)]
        for child in family:
            assert b"sk-not" not in Path(f"/proc/{child}/environ").read_bytes()
            links = [str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()]
            assert sum(link.startswith("socket:") for link in links) == 1
        if isinstance(ended_by, signal.Signals):
            program.send_signal(ended_by)
        program.stdin.close()
    wait_until(lambda: all(is_gone(child) for child in family))


def test_a_signal_to_the_group_leaves_the_children_to_their_parent(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of()
    pool.decode(PNG)
    server = server_of(pool)
    (decoder,) = children_of(server)
    for child in (server, decoder):
        for interrupt in (signal.SIGINT, signal.SIGTERM):
            os.kill(child, interrupt)
    assert pool.decode(PNG) == SENT
    assert children_of(server) == [decoder]


def test_all_stages_share_the_pool_of_the_process() -> None:
    with decoders_of_this_process.limited(DecodingSettings(decoders=1, decode_seconds=60)):
        everything = threading.Barrier(4)

        def decode(_: int) -> object:
            everything.wait()
            return decoders_of_this_process.decode(PNG)

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(decode, range(4))) == [SENT] * 4
        pool = decoders_of_this_process._pool
        assert pool is not None
        assert len(children_of(server_of(pool))) == 1


def test_the_memory_of_many_bombs_at_once_is_that_of_the_decoders(
    pool_of: Callable[..., DecoderPool],
) -> None:
    pool = pool_of(decoders=2, decode_memory_mib=128)
    pool.decode(PNG)
    server = server_of(pool)
    bombs = [
        job(blank_image("PNG", 4_000, "P", transparency=0), "image/png"),
        job(blank_webp(7_071), "image/webp"),
    ]
    largest: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen = [_resident(child) for child in children_of(server)]
            largest.extend([sum(seen), *([1 << 62] if len(seen) > 3 else [])])

    with ThreadPoolExecutor(21) as threads:
        watcher = threads.submit(watch)
        ends = [threads.submit(_end_of, pool, bombs[number % 2]) for number in range(20)]
        assert {end.result() for end in ends} <= {"sent", DeadLetterReason.TOO_LARGE}
        done.set()
        watcher.result()
    assert max(largest) < 2 * (128 + 50) * (1 << 20)


def _end_of(pool: DecoderPool, of: Job) -> str:
    try:
        pool.decode(of)
    except InvalidEvent as invalid:
        return invalid.reason
    return "sent"


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
