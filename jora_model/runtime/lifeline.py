"""What ties the processes of a run together: each holds a connection to process 0, so that none waits for a lost one.

JAX's collectives wait for a process that is gone: on GPUs for ever, on CPUs until the network says so; and JAX's own
service ends the others after 100 seconds with a page of C++. Here the end of a connection, or a minute without a sign
of life, ends all processes at once, with a line that names the lost one.

One thread of each process owns its connections: whatever happens, it alone decides, speaks and ends the process.
Messages are JSON, a line each. (No JAX here: processes meet before it starts.)
"""

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR

_BEAT = 1.0  # seconds between two signs of life
_SILENCE = 60.0  # a process that gives none for so long is lost; its network may never say that it is gone
_GRACE = 5.0  # after an error of unknown cause: time to learn that another process is lost, which causes most
_OWN_WORDS = 2.0  # all processes refuse the same settings; process 0 says it in its own words if it does so in time
_PARTING = 10.0  # for the last messages, before a process ends

Message = dict[str, Any]


class Connection:
    """JSON messages over a socket."""

    def __init__(self, link: socket.socket):
        self.link = link
        self._rest = b""

    def send(self, message: Message) -> None:
        """To a process that is gone, nothing; reading will tell."""
        with contextlib.suppress(OSError):
            self.link.sendall(json.dumps(message).encode() + b"\n")

    def read(self) -> list[Message] | None:
        """What has come, once something has; None at the end of the connection."""
        try:
            block = self.link.recv(65536)
        except OSError:
            return None
        if not block:
            return None
        *lines, self._rest = (self._rest + block).split(b"\n")
        return [json.loads(line) for line in lines]

    def read_one(self, seconds: float) -> Message | None:
        """The next message, where the other side sends one and waits for the answer; None if none comes in time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.link.settimeout(left)
            messages = self.read()
            if messages is None:
                return None
            if messages:
                self.link.settimeout(None)
                return messages[0]
        return None


@dataclass
class _Peer:
    connection: Connection
    silent: float = 0.0
    ended: bool = False


@dataclass
class _Stop:
    """What the main thread ends the run for."""

    line: str
    code: int
    detail: str
    not_before: float
    told: float | None = None


def leave(line: str, code: int) -> None:
    """Say a line and end this process, whatever its other threads do."""
    # Not sys.stderr, whose lock a thread may hold; a progress bar may stand in the current line.
    os.write(2, f"\n{line}\n".encode())
    os._exit(code)


class Lifeline:
    """Watches the other processes until all have come to their end."""

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
            process: number of this process.
            connections: process 0 has one to each of the others, which have one to process 0.
            silence: seconds without a sign of life after which a process is lost.
            leave: says a line and ends the process.
        """
        self.process = process
        self._peers = {number: _Peer(connection) for number, connection in connections.items()}
        self._silence = silence
        self._leave = leave
        self._finished = self._told = False
        self._wish: _Stop | None = None
        self._all_ended = threading.Event()
        self._selector = selectors.DefaultSelector()
        for number, peer in self._peers.items():
            self._selector.register(peer.connection.link, selectors.EVENT_READ, number)
        self._alarm, waking = socket.socketpair()
        self._selector.register(waking, selectors.EVENT_READ)
        self._waking = waking
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def finish(self) -> None:
        """Wait until all processes have finished; from then on, any may end."""
        self._finished = True
        self._alarm.send(b"!")
        self._all_ended.wait()

    def stop(self, line: str, code: int, detail: str = "") -> None:
        """End all processes, this one with the exit code; never returns.

        Args:
            line: what went wrong.
            detail: what else to say here, of an error of unknown cause. The loss of another process causes most of
                them, so news of one is waited for, and said instead.
        """
        self._wish = _Stop(line, code, detail, time.monotonic() + (_GRACE if detail else 0.0))
        self._alarm.send(b"!")
        threading.Event().wait()

    def _watch(self) -> None:
        last = beaten = time.monotonic()
        while not self._all_ended.is_set():
            for key, _ in self._selector.select(_BEAT / 4 if self._wish else _BEAT):
                if key.data is None:
                    self._waking.recv(1)
                else:
                    self._hear(key.data)
            now = time.monotonic()
            # A process that was paused itself must not take the pause for the others' silence.
            passed, last = min(now - last, 2 * _BEAT), now
            for number, peer in self._peers.items():
                peer.silent += passed
                if peer.silent > self._silence and not peer.ended:
                    self._lost(number, f"no sign of life for {self._silence:.0f} s")
            if now - beaten >= _BEAT:
                self._tell({})
                beaten = now
            self._grant(now)

    def _grant(self, now: float) -> None:
        """What the main thread asks for, when its time has come."""
        stop = self._wish
        if stop and self.process == 0 and now >= stop.not_before:
            self._stop(0, stop.line, stop.code)
        elif stop and now >= stop.not_before and stop.told is None:
            self._tell({"stop": stop.line, "code": stop.code})  # process 0 ends all, this one as well
            stop.told = now
        elif stop and stop.told and now - stop.told > _PARTING:
            self._leave(f"{stop.detail}error: {stop.line}", stop.code)
        if self._finished and self.process > 0 and not self._told:
            self._tell({"end": True})
            self._told = True
        if self._finished and self.process == 0 and all(peer.ended for peer in self._peers.values()):
            self._tell({"end": True})
            self._all_ended.set()

    def _hear(self, number: int) -> None:
        peer = self._peers[number]
        messages = peer.connection.read()
        if messages is None:
            self._selector.unregister(peer.connection.link)
            if not peer.ended:
                self._lost(number, "its connection ended")
            return
        peer.silent = 0.0
        for message in messages:
            if message.get("end"):
                peer.ended = True
                if self.process > 0:
                    self._all_ended.set()
            elif "lost" in message:
                self._lost(message["lost"], message["why"])
            elif "stop" in message and self.process > 0:
                self._follow(message["of"], message["stop"], message["code"])
            elif "stop" in message:
                self._stop_for(number, message["stop"], message["code"])

    def _lost(self, number: int, why: str) -> None:
        self._part({"lost": number, "why": why})
        self._leave(
            f"error: process {number} of this run is lost ({why}), so process {self.process} ends as well; start all "
            "of them again, and the run goes on from its last checkpoint",
            EXIT_AGAIN,
        )

    def _stop(self, number: int, line: str, code: int) -> None:
        """Process 0 ends all for what happened in process `number`."""
        self._part({"stop": line, "code": code, "of": number})
        detail = self._wish.detail if self._wish and number == 0 else ""
        self._leave(f"{detail}error: {'' if number == 0 else f'process {number}: '}{line}", code)

    def _stop_for(self, number: int, line: str, code: int) -> None:
        until = time.monotonic() + _OWN_WORDS
        while code == EXIT_INPUT_ERROR and self._wish is None and time.monotonic() < until:
            time.sleep(0.02)
        if self._wish and self._wish.code == code:
            number, line = 0, self._wish.line
        self._stop(number, line, code)

    def _follow(self, number: int, line: str, code: int) -> None:
        """A process other than 0 ends because process 0 says so."""
        if code == EXIT_INPUT_ERROR:  # one line for what a person did wrong: that of process 0
            self._leave(f"process {self.process} ends: process 0 says why", code)
        detail = self._wish.detail if self._wish and number == self.process else ""
        self._leave(f"{detail}error: process {number}: {line}", code)

    def _tell(self, message: Message) -> None:
        for peer in self._peers.values():
            peer.connection.send(message)

    def _part(self, message: Message) -> None:
        """Process 0 sends its last message and waits until the others have gone: with it goes JAX's service, and they
        would end by that."""
        if self.process > 0:
            return
        self._tell(message)
        until = time.monotonic() + _PARTING
        for peer in self._peers.values():
            while (left := until - time.monotonic()) > 0:
                peer.connection.link.settimeout(left)
                if peer.connection.read() is None:
                    break
