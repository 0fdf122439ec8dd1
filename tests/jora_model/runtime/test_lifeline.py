"""Processes that hold one another: one that is lost or stops ends all. Threads and socket pairs stand for them here."""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from jora_model.runtime import lifeline as module
from jora_model.runtime.lifeline import Connection, Lifeline
from jora_model.runtime.meeting import Member, meet
from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR


class Run:
    """Lifelines of a few processes; `said` gets number, line and exit code of each that ends by one."""

    def __init__(self, processes: int, *, watched: int | None = None, silence: float = 60.0):
        """
        Args:
            watched: how many have a lifeline; the others are only the ends of their connections.
        """
        self.said: queue.Queue[tuple[int, str, int]] = queue.Queue()
        self.ends: dict[int, dict[int, Connection]] = {number: {} for number in range(processes)}
        for number in range(1, processes):
            ours, theirs = socket.socketpair()
            self.ends[0][number], self.ends[number][0] = Connection(ours), Connection(theirs)
        self.lifelines = [
            Lifeline(number, self.ends[number], silence=silence, leave=self._leaver(number))
            for number in range(watched or processes)
        ]

    def close(self, number: int) -> None:
        """As the end of a process does."""
        for connection in self.ends[number].values():
            connection.link.shutdown(socket.SHUT_RDWR)

    def ended(self) -> dict[int, tuple[str, int]]:
        """Of each process with a lifeline: its last line and exit code."""
        found = [self.said.get(timeout=60) for _ in self.lifelines]
        return {number: (line, code) for number, line, code in found}

    def _leaver(self, number: int):
        def leave(line: str, code: int) -> None:
            self.said.put((number, line, code))
            self.close(number)
            threading.Event().wait()  # the real one does not return either

        return leave


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.3)
    monkeypatch.setattr(module, "_OWN_WORDS", 0.3)
    monkeypatch.setattr(module, "_PARTING", 0.5)


def in_thread(call, *args) -> threading.Thread:
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    return thread


def test_all_finish_together():
    run = Run(3)
    first = [in_thread(lifeline.finish) for lifeline in run.lifelines[:2]]
    first[0].join(0.3)
    assert first[0].is_alive() and first[1].is_alive(), "one is still at work"
    for thread in [*first, in_thread(run.lifelines[2].finish)]:
        thread.join(60)
        assert not thread.is_alive()
    run.close(0)
    assert run.said.empty()


def test_a_lost_process_ends_the_others():
    run = Run(4, watched=3)
    run.close(3)
    for number, (line, code) in run.ended().items():
        assert code == EXIT_AGAIN
        assert line.startswith(f"error: process 3 of this run is lost (its connection ended), so process {number} ends")
        assert "goes on from its last checkpoint" in line


def test_process_0_is_missed_as_well():
    run = Run(2)
    run.close(0)
    assert "process 0 of this run is lost" in run.ended()[1][0]


def test_silence_is_a_loss():
    """Of a machine that is gone, no network tells."""
    run = Run(2, watched=1, silence=1.0)
    assert "process 1 of this run is lost (no sign of life for 1 s)" in run.ended()[0][0]


def test_what_a_person_did_wrong_is_said_once():
    run = Run(3)
    for lifeline in run.lifelines:
        in_thread(lifeline.stop, "tp=3 does not divide", EXIT_INPUT_ERROR)
    ended = run.ended()
    assert ended[0] == ("error: tp=3 does not divide", EXIT_INPUT_ERROR)
    assert {ended[number] for number in (1, 2)} == {
        (f"process {number} ends: process 0 says why", EXIT_INPUT_ERROR) for number in (1, 2)
    }


def test_what_one_process_alone_lacks_is_said_with_its_number():
    run = Run(3)
    in_thread(run.lifelines[2].stop, "no file x", EXIT_INPUT_ERROR)
    assert run.ended()[0] == ("error: process 2: no file x", EXIT_INPUT_ERROR)


def test_an_error_that_a_loss_has_caused_is_not_told():
    run = Run(3, watched=2)
    in_thread(run.lifelines[1].stop, "Gloo failed", 1, "Traceback")
    run.close(2)
    assert all("process 2 of this run is lost" in line for line, _ in run.ended().values())


def test_another_error_is_told_with_its_traceback_where_it_happened():
    run = Run(3)
    in_thread(run.lifelines[1].stop, "OSError: disk full", 1, "Traceback ...\n")
    assert run.ended() == {
        0: ("error: process 1: OSError: disk full", 1),
        1: ("Traceback ...\nerror: process 1: OSError: disk full", 1),
        2: ("error: process 1: OSError: disk full", 1),
    }


@pytest.fixture
def coordinator() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield f"127.0.0.1:{port}"


def test_a_process_that_does_not_come_is_named(coordinator, tmp_path):
    with pytest.raises(ValueError, match=r"of 3 processes, 1, 2 did not come within 0 s; start all of them"):
        meet(Member(coordinator, 3, 0, wait=0.3), tmp_path / "job.json")
    with pytest.raises(ValueError, match=r"process 0 was not at 127.0.0.1:\d+ within 0 s \(Connection refused\)"):
        meet(Member(coordinator, 3, 1, wait=0.3), tmp_path / "job.json")


def test_a_stranger_does_not_end_the_start(coordinator, tmp_path):
    """Such as a scanner of ports."""
    first = Member(coordinator, 2, 0)
    results: queue.Queue = queue.Queue()
    in_thread(lambda: results.put(meet(first, tmp_path / "job.json")))
    lifeline = None
    while lifeline is None:
        with suppress(OSError), socket.create_connection((first.host, first.port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            lifeline, address = meet(first._replace(process=1), tmp_path / "job.json")
    assert results.get(timeout=60)[1] == address
    in_thread(lifeline.finish)


def test_a_port_that_is_taken_is_named(coordinator, tmp_path):
    member = Member(coordinator, 2, 0)
    taken = closing(socket.create_server((member.host, member.port)))
    with taken, pytest.raises(ValueError, match=r"cannot listen there \(Address already in use"):
        meet(member, tmp_path / "job.json")


@pytest.mark.parametrize(
    ("changes", "other", "message"),
    [
        ({"processes": 4}, False, "process 1: process 0 was started with --processes 3; give all the same"),
        ({}, True, "process 1: process 0 has another job file; give all the same"),
    ],
)
def test_a_process_of_another_run_is_refused(coordinator, tmp_path: Path, changes, other, message):
    (tmp_path / "job.json").write_text("{}")
    member = Member(coordinator, 3, 0, wait=0.5)

    def wait_in_vain() -> None:
        with pytest.raises(ValueError, match="1, 2 did not come"):
            meet(member, tmp_path / "job.json")

    waiting = in_thread(wait_in_vain)
    with pytest.raises(ValueError, match=message):
        meet(member._replace(process=1, wait=60.0, **changes), tmp_path / ("other.json" if other else "job.json"))
    waiting.join()
