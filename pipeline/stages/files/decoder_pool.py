"""A few child processes that decode the files of all stages of a process.

There is one pool a process, since the memory that it bounds is the machine's, whatever stage a
file is for. A decoder that breaks its limits ends, and only the file that it had is refused: the
next one is forked in milliseconds (`pipeline.stages.files.decoder_server`).
"""

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import DecodingSettings
from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.decoding import READY, Channel, Job, Prepared, cannot_be_decoded

_START_WITHIN = 60.0
"""Seconds for the server to import its libraries on a busy machine."""
_LARGE = 1 << 20
"""Bytes. Larger files leave one decoder to the smaller ones, of which few take more than a second,
whatever they hold: what takes until its limit is large."""
_GRACE = 5.0
"""Seconds after its limit within which a decoder has ended or answered."""
_END_WITHIN = 5.0
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TZ")
"""What the server gets of the environment; the rest may be secret."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A decoder ended before it answered, after as many seconds."""

    seconds: float


class DecoderPool:
    """Decodes files in child processes that are limited in memory and time.

    Nothing is started before the first file. `decode()` may be called from any number of threads:
    as many files are decoded at once as there are decoders, the others wait, and their wait does
    not count against their time.

    Args:
        settings: How many decoders, and what each may take.
    """

    def __init__(self, settings: DecodingSettings) -> None:
        self._settings = settings
        self._turns = threading.BoundedSemaphore(settings.decoders)
        self._large = threading.BoundedSemaphore(max(1, settings.decoders - 1))
        self._lock = threading.Lock()
        self._idle: list[Channel] = []
        self._busy: set[Channel] = set()
        self._server: _Server | None = None
        self._is_closed = False

    def decode(self, job: Job) -> Prepared:
        """Check a file and make it what is sent; blocks until it has had its turn.

        Raises:
            InvalidEvent: The file breaks a limit, cannot be decoded, or ended two decoders.
            Unavailable: There is no decoder at present, or the pool is closed.
        """
        with self._large if len(job.data) > _LARGE else contextlib.nullcontext(), self._turns:
            reply = self._attempt(job, self._take())
            if isinstance(reply, _Ended) and reply.seconds < self._settings.decode_seconds:
                # It may have been killed, by whomever, and not by the file.
                reply = self._attempt(job, self._start())
            if isinstance(reply, _Ended):
                self._check_open()
        if isinstance(reply, _Ended):
            raise self._why(job, reply)
        if isinstance(reply, InvalidEvent):
            raise reply
        return reply

    def close(self) -> None:
        """End all decoders; what is being decoded ends as `Unavailable`."""
        with self._lock:
            self._is_closed = True
            server, self._server = self._server, None
            for channel in self._idle:
                channel.close()
            for channel in self._busy:
                channel.abort()
        if server is not None:
            server.close()

    def _attempt(self, job: Job, decoder: Channel) -> Prepared | InvalidEvent | _Ended:
        began, is_last = time.monotonic(), True
        decoder.settimeout(self._settings.decode_seconds + _GRACE)
        try:
            decoder.send_job(job)
            reply, is_last = decoder.receive_reply(job)
        except (OSError, EOFError, ValueError):
            return _Ended(time.monotonic() - began)
        finally:
            self._put_back(decoder, is_last=is_last)
        return reply

    def _take(self) -> Channel:
        """An idle decoder, or else a new one.

        Raises:
            Unavailable: None can be started, or the pool is closed.
        """
        with self._lock:
            self._check_open()
            if self._idle:
                self._busy.add(decoder := self._idle.pop())
                return decoder
        return self._start()

    def _put_back(self, decoder: Channel, *, is_last: bool) -> None:
        with self._lock:
            self._busy.discard(decoder)
            if is_last or self._is_closed:
                decoder.close()
            else:
                self._idle.append(decoder)

    def _start(self) -> Channel:
        with self._lock:
            self._check_open()
            if self._server is not None and not self._server.is_running:
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = _Server(self._settings)
            server = self._server
        try:
            decoder = server.fork()
        except OSError as error:
            raise Unavailable(f"No decoder can be started: {error}.", scope="place") from error
        with self._lock:
            if not self._is_closed:
                self._busy.add(decoder)
                return decoder
        decoder.close()
        raise _closed()

    def _check_open(self) -> None:
        if self._is_closed:
            raise _closed()

    def _why(self, job: Job, ended: _Ended) -> InvalidEvent:
        seconds, mib = self._settings.decode_seconds, self._settings.decode_memory_mib
        if ended.seconds >= seconds:
            return InvalidEvent(
                DeadLetterReason.TOO_LARGE,
                f"{job.field}: decoding it takes longer than files.decode_seconds, {seconds:g} s.",
            )
        ends = f"it ended its decoder twice, which has {mib} MiB, files.decode_memory_mib"
        return cannot_be_decoded(job, ends)


class _Server:
    """The process that decoders are forked from.

    Raises:
        Unavailable: It cannot be started.
    """

    def __init__(self, settings: DecodingSettings) -> None:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "pipeline.stages.files.decoder_server"]
        memory = settings.decode_memory_mib << 20
        limits = [str(theirs.fileno()), str(settings.decode_seconds), str(memory)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
                [*command, *limits],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
            )
        except OSError as error:
            self._control.close()
            raise Unavailable(f"The decoders cannot be started: {error}.", scope="place") from error
        finally:
            theirs.close()
        atexit.register(self.close)

    @property
    def is_running(self) -> bool:
        """Whether it can fork."""
        return self._process.poll() is None

    def fork(self) -> Channel:
        """A decoder that waits for a job.

        Raises:
            OSError: The server ended or could not fork.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"."], [theirs.fileno()])
            ours.settimeout(_START_WITHIN)
            if ours.recv(1) != READY:
                raise ConnectionError("the process that starts them ended or has no memory left")
        except OSError:
            ours.close()
            raise
        return Channel(ours)

    def close(self) -> None:
        """End it, and with it all decoders."""
        self._control.close()
        try:
            self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        atexit.unregister(self.close)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # One arena: what libraries with threads reserve for each would count as mapped.
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}


def _closed() -> Unavailable:
    return Unavailable("The decoders are closed: the process ends.")


class _OfThisProcess:
    """The pool that stages use which were given none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: DecoderPool | None = None

    def decode(self, job: Job) -> Prepared:
        """Decode in the pool that is set, or in one with default settings."""
        with self._lock:
            if self._pool is None:
                self._pool = DecoderPool(DecodingSettings())
            pool = self._pool
        return pool.decode(job)

    @contextlib.contextmanager
    def limited(self, settings: DecodingSettings) -> Iterator[None]:
        """Have the pool of this process made by these settings, and close it at the end."""
        pool = DecoderPool(settings)
        with self._lock:
            before, self._pool = self._pool, pool
        try:
            yield
        finally:
            with self._lock:
                self._pool = before
            pool.close()


decoders_of_this_process = _OfThisProcess()
"""One for all stages, those of one's own too, which are made of nothing but their settings."""
