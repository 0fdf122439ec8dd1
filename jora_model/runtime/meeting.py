"""Where the processes of a run find one another: at a port of process 0, before JAX starts.

JAX's own meeting would wait in silence for one that never comes, and then end in a page of C++.
"""

import hashlib
import logging
import socket
import time
from pathlib import Path
from typing import NamedTuple

from jora_model.runtime.lifeline import Connection, Lifeline, Message
from user_error import UserError

log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HELLO = 15.0  # seconds for the first words of a connection, which may be a stranger's
_REMIND = 30.0


class Place(NamedTuple):
    """Which of how many processes this is, and where process 0 is met.

    Attributes:
        wait: seconds within which all must have come.
        local_devices: of a host's GPUs, those of this process; all of them if None.
    """

    coordinator: str
    processes: int
    process: int
    wait: float = 300.0
    local_devices: list[int] | None = None

    @property
    def host(self) -> str:
        return self.coordinator.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.coordinator.rpartition(":")[2])


def meet(place: Place, job_file: Path) -> tuple[Lifeline, str]:
    """Wait until all processes are here: the lifeline to them, and an address for JAX's service.

    Args:
        job_file: the same for all, by its content.

    Raises:
        UserError: not all have come within `place.wait` seconds, the port is taken, or another job or number.
    """
    job = _digest(job_file)
    if place.process > 0:
        return _come(place, job)
    came = _receive(place, job)
    with socket.create_server(("", 0)) as free:
        address = f"{place.coordinator.rpartition(':')[0]}:{free.getsockname()[1]}"
    for connection in came.values():
        connection.send({"address": address})
    return Lifeline(0, came), address


def _receive(place: Place, job: str) -> dict[int, Connection]:
    """The others' connections, by their numbers."""
    try:
        server = _listen(place)
    except OSError as error:
        raise UserError(f"--coordinator {place.coordinator}: cannot listen there ({error.strerror})") from None
    came: dict[int, Connection] = {}
    begun = reminded = time.monotonic()
    server.settimeout(0.2)
    with server:
        while missing := sorted(set(range(1, place.processes)) - set(came)):
            names = ", ".join(map(str, missing))
            now = time.monotonic()
            if now - begun > place.wait:
                late = f"of {place.processes} processes, {names} did not come within {place.wait:.0f} s"
                for connection in came.values():
                    connection.send({"refused": late})
                raise UserError(f"{late}; start all of them, with process 0 where --coordinator says")
            if now - reminded > _REMIND:
                log.warning("waiting for processes %s of %d", names, place.processes)
                reminded = now
            try:
                connection = Connection(server.accept()[0])
            except TimeoutError:
                continue
            hello = connection.read_one(_HELLO) or {}
            if fault := _fault(hello, place, job, came):
                connection.send({"refused": fault})
            else:
                came[hello["process"]] = connection
    return came


def _listen(place: Place) -> socket.socket:
    """On the loopback where that is the coordinator, else on every address."""
    if place.host in LOOPBACK:
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        return socket.create_server((place.host, place.port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", place.port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", place.port))


def _fault(hello: Message, place: Place, job: str, came: dict[int, Connection]) -> str | None:
    """Why a process is not one of ours."""
    if hello.get("processes") != place.processes:
        return f"process 0 was started with --processes {place.processes}; give all the same"
    if hello.get("process") in came or hello.get("process") == 0:
        return f"there is a process {hello['process']} already; give each its own --process"
    if hello.get("job") != job:
        return "process 0 has another job file; give all the same"
    return None


def _come(place: Place, job: str) -> tuple[Lifeline, str]:
    """To process 0, which may start later."""
    until = time.monotonic() + place.wait
    while True:
        try:
            link = socket.create_connection((place.host, place.port), timeout=5.0)
            break
        except OSError as error:
            if time.monotonic() > until:
                reason = error.strerror or error
                raise UserError(
                    f"process 0 was not at {place.coordinator} within {place.wait:.0f} s ({reason}); start it, or "
                    "correct --coordinator"
                ) from None
            time.sleep(0.2)
    connection = Connection(link)
    connection.send({"process": place.process, "processes": place.processes, "job": job})
    answer = connection.read_one(place.wait + _HELLO)
    if answer is None:
        raise UserError(f"process 0 at {place.coordinator} ended before all processes had come")
    if "refused" in answer:
        raise UserError(f"process {place.process}: {answer['refused']}")
    return Lifeline(place.process, {0: connection}), answer["address"]


def _digest(job_file: Path) -> str:
    return hashlib.sha256(job_file.read_bytes()).hexdigest() if job_file.is_file() else ""
