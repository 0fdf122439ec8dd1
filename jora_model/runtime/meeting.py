"""Connects the processes of a run, at a port of process 0, before JAX starts.

JAX's own initialization waits in silence for a process that does not come, and then ends by SIGABRT with 13 lines of
C++ that do not name it. Nor does it compare the job files.
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
_HELLO = 15.0  # seconds for the first message of a connection, which may be a stranger's
_REMIND = 30.0  # seconds between two log lines about processes that are missing


class Member(NamedTuple):
    """One process of a run, and where process 0 listens.

    Attributes:
        coordinator: HOST:PORT.
        process: index of this process, of `processes`.
        wait: seconds within which all must connect.
        local_devices: indices of this process's GPUs on its host; None for all of them.
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


def meet(member: Member, job_file: Path) -> tuple[Lifeline, str]:
    """Wait until all processes are connected: the lifeline to them, and an address for JAX's service.

    Args:
        job_file: must have the same content in all processes.

    Raises:
        UserError: not all connect within `wait` seconds, the port is taken, or a process has another job file, another
            number of processes or an index that is taken.
    """
    job = hashlib.sha256(job_file.read_bytes()).hexdigest() if job_file.is_file() else ""
    if member.process > 0:
        return _join(member, job)
    connections = _accept_all(member, job)
    with socket.create_server(("", 0)) as free:
        address = f"{member.coordinator.rpartition(':')[0]}:{free.getsockname()[1]}"
    for connection in connections.values():
        connection.send(address=address)
    return Lifeline(0, connections), address


def _accept_all(member: Member, job: str) -> dict[int, Connection]:
    """Connections to the other processes, by index."""
    try:
        server = _listen(member)
    except OSError as error:
        raise UserError(f"--coordinator {member.coordinator}: cannot listen there ({error.strerror})") from None
    connections: dict[int, Connection] = {}
    begun = reminded = time.monotonic()
    server.settimeout(0.2)
    with server:
        while missing := sorted(set(range(1, member.processes)) - set(connections)):
            names = ", ".join(map(str, missing))
            now = time.monotonic()
            if now - begun > member.wait:
                late = f"of {member.processes} processes, {names} did not come within {member.wait:.0f} s"
                for connection in connections.values():
                    connection.send(refused=late)
                raise UserError(f"{late}; start all of them, with process 0 where --coordinator says")
            if now - reminded > _REMIND:
                log.warning("waiting for processes %s of %d", names, member.processes)
                reminded = now
            try:
                connection = Connection(server.accept()[0])
                hello = connection.read(_HELLO) or {}
            except (TimeoutError, EOFError):
                continue
            if fault := _fault(hello, member, job, connections):
                connection.send(refused=fault)
            else:
                connections[hello["process"]] = connection
    return connections


def _listen(member: Member) -> socket.socket:
    """A server socket, on loopback only where that is the coordinator's host."""
    if member.host in LOOPBACK:
        family = socket.AF_INET6 if ":" in member.host else socket.AF_INET
        return socket.create_server((member.host, member.port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", member.port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", member.port))


def _fault(hello: Message, member: Member, job: str, connections: dict[int, Connection]) -> str | None:
    """Why a process does not belong to this run; None if it does."""
    if hello.get("processes") != member.processes:
        return f"process 0 was started with --processes {member.processes}; give all the same"
    if hello.get("process") in connections or hello.get("process") == 0:
        return f"there is a process {hello['process']} already; give each its own --process"
    if hello.get("job") != job:
        return "process 0 has another job file; give all the same"
    return None


def _join(member: Member, job: str) -> tuple[Lifeline, str]:
    """Connect to process 0, which may start later."""
    until = time.monotonic() + member.wait
    while True:
        try:
            link = socket.create_connection((member.host, member.port), timeout=5.0)
            break
        except OSError as error:
            if time.monotonic() > until:
                reason = error.strerror or error
                raise UserError(
                    f"process 0 was not at {member.coordinator} within {member.wait:.0f} s ({reason}); start it, or "
                    "correct --coordinator"
                ) from None
            time.sleep(0.2)
    connection = Connection(link)
    connection.send(process=member.process, processes=member.processes, job=job)
    try:
        answer = connection.read(member.wait + _HELLO)
    except EOFError:
        answer = None
    if answer is None:
        raise UserError(f"process 0 at {member.coordinator} ended before all processes were connected")
    if "refused" in answer:
        raise UserError(f"process {member.process}: {answer['refused']}")
    return Lifeline(member.process, {0: connection}), answer["address"]
