"""Ends all processes of a run when one of them fails or is lost: each holds a connection to process 0.

JAX's own health check is slow and unreadable. Measured with its settings alone (jax 0.10.2, two processes on loopback,
Gloo, heartbeat and shutdown time-outs 60 s): after kill -9 of process 1, process 0 ended 60 s later; after kill -9 of
process 0, the other 2 s later; after an exception in process 1, both 100 s later. With a heartbeat time-out of 20 s, a
stopped process (SIGSTOP) ended the other after 11 to 21 s. Each time by SIGABRT, after 13 to 57 lines of traceback and
C++; neither exit code nor text can be set through JAX's interface. Here the others end within a second of a kill or an
error, with one line that names the process and an exit code that tells an error from a loss.

No JAX here: processes connect before it starts. Messages are JSON, a line each; {} is a heartbeat.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR

_BEAT = 1.0  # seconds between two heartbeats
# Seconds without a heartbeat after which a process is lost: its network may not report the loss. Nothing may hold
# Python's lock as long; reading and converting large tensors release it often (formats/tensor_file.py, model/load.py).
_SILENCE = 60.0
_GRACE = 5.0  # seconds after an unexpected error, in which the loss of another process, the usual cause, can show
_OWN_WORDS = 2.0  # seconds in which process 0 can refuse the same settings as another process, in its own words
_PARTING = 10.0  # seconds for the last messages

Message = dict[str, Any]


class Connection:
    """JSON messages over a socket."""

    def __init__(self, link: socket.socket):
        self.link = link
        self._buffer = b""

    def send(self, **message: Any) -> None:
        """Send a message; dropped if the connection ended, which `read` reports."""
        with contextlib.suppress(OSError):
            self.link.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float) -> Message | None:
        """The next message; None if none comes within these seconds.

        Raises:
            EOFError: the connection ended, or its other end sends no JSON objects.
        """
        self.link.settimeout(seconds)
        while b"\n" not in self._buffer:
            try:
                block = self.link.recv(65536)
            except TimeoutError:
                return None
            except OSError:
                block = b""
            if not block:
                raise EOFError
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise EOFError
        return message


def leave(line: str, code: int) -> None:
    """Write a line to stderr and end this process, whatever its other threads do."""
    # Not sys.stderr, whose lock a thread may hold; the current line may have a progress bar.
    os.write(2, f"\n{line}\n".encode())
    os._exit(code)


class Lifeline:
    """Watches the other processes until all have finished."""

    def __init__(
        self,
        process: int,
        connections: Mapping[int, Connection],
        *,
        silence: float = _SILENCE,
        leave: Callable[[str, int], None] = leave,
    ):
        """
        Args:
            process: index of this process.
            connections: process 0 has one to each other process, and those have one to process 0.
            silence: seconds without a heartbeat after which a process is lost.
            leave: writes a line and ends the process.
        """
        self.process = process
        self._connections = dict(connections)
        self._silence = silence
        self._leave = leave
        self._leaving = threading.Lock()
        self._own_code, self._own_detail, self._failed = 0, "", threading.Event()
        self._finished = {number: threading.Event() for number in connections}
        self._closed = {number: threading.Event() for number in connections}
        threading.Thread(target=self._beat, daemon=True).start()
        for number in connections:
            threading.Thread(target=self._watch, args=(number,), daemon=True).start()

    def finish(self) -> None:
        """Wait until all processes have finished; after that, any may end."""
        if self.process > 0:
            self._send(end=True)
        for finished in self._finished.values():
            finished.wait()
        if self.process == 0:
            self._send(end=True)

    def stop(self, line: str, code: int, detail: str = "") -> None:
        """End all processes, this one with the exit code; never returns.

        Args:
            line: what went wrong.
            detail: of an unexpected error, its traceback, written by this process only. Before it is reported, the loss
                of another process has `_GRACE` seconds to show, and is reported instead.
        """
        self._own_code, self._own_detail = code, detail
        self._failed.set()
        if detail:
            time.sleep(_GRACE)
        if self.process == 0:
            self._end(0, line, code)
        self._send(of=self.process, stop=line, code=code)
        time.sleep(_PARTING)  # process 0 answers, and `_watch` ends this process
        self._leave(f"{detail}error: {line}", code)

    def _send(self, **message: Any) -> None:
        for connection in self._connections.values():
            connection.send(**message)

    def _beat(self) -> None:
        while True:
            self._send()
            time.sleep(_BEAT)

    def _watch(self, number: int) -> None:
        silent = 0.0
        while True:
            try:
                message = self._connections[number].read(_BEAT)
            except EOFError:
                self._closed[number].set()
                if not self._finished[number].is_set():
                    self._end(number, "its connection ended", EXIT_AGAIN)
                return
            # Missed beats are counted, and not time: a pause of this process is no silence of the others.
            silent = silent + _BEAT if message is None else 0.0
            if silent >= self._silence and not self._finished[number].is_set():
                self._end(number, f"no sign of life for {self._silence:.0f} s", EXIT_AGAIN)
            if message and "end" in message:
                self._finished[number].set()
            elif message:
                # In a thread of its own, since this one notices the end of the connection.
                threading.Thread(target=self._follow, kwargs=message, daemon=True).start()

    def _follow(self, of: int, stop: str, code: int) -> None:
        """End this process for what another one reports."""
        refused = self.process == 0 and code == EXIT_INPUT_ERROR
        if not (refused and self._failed.wait(_OWN_WORDS) and self._own_code == code):
            self._end(of, stop, code)

    def _end(self, of: int, line: str, code: int) -> None:
        """End this process for what happened in process `of`; process 0 ends all others first."""
        self._leaving.acquire()  # never released: the first reason is the one that is reported
        if self.process == 0:
            self._send(of=of, stop=line, code=code)
            # JAX's service ends with process 0, and the others would end by that in its words.
            until = time.monotonic() + _PARTING
            for closed in self._closed.values():
                closed.wait(max(until - time.monotonic(), 0))
        if code == EXIT_AGAIN:
            line = (
                f"error: process {of} of this run is lost ({line}), so process {self.process} ends as well; start all "
                "of them again, and the run goes on from its last checkpoint"
            )
        elif code == EXIT_INPUT_ERROR and self.process > 0:
            line = f"process {self.process} ends: process 0 says why"
        else:
            detail = self._own_detail if of == self.process else ""
            line = f"{detail}error: {f'process {of}: ' if of else ''}{line}"
        self._leave(line, code)
