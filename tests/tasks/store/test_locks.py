"""Locks between holders, threads and processes; a dead holder's lock is free."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from prefect.locking.protocol import LockManager

from tasks.store.locks import FlockLocks

HOLDER = (
    "import sys, time, pathlib\nfrom tasks.store.locks import FlockLocks\n"
    "FlockLocks(pathlib.Path(sys.argv[1])).acquire_lock('key', 'other'); print('held', flush=True); time.sleep(60)\n"
)


def test_it_is_what_prefect_asks_for(tmp_path: Path) -> None:
    assert isinstance(FlockLocks(tmp_path), LockManager)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    locks, others = FlockLocks(tmp_path), FlockLocks(tmp_path)
    assert not locks.is_locked("key")
    assert locks.acquire_lock("key", "me")
    assert locks.acquire_lock("key", "me"), "the holder may ask again"
    assert not locks.acquire_lock("key", "you", acquire_timeout=0)
    assert not others.acquire_lock("key", "me", acquire_timeout=0.2)
    assert others.acquire_lock("another", "you")
    assert locks.is_locked("key") and others.is_locked("key")
    assert locks.is_lock_holder("key", "me") and not locks.is_lock_holder("key", "you")
    assert not others.wait_for_lock("key", timeout=0.2)
    with pytest.raises(ValueError, match="not held by you"):
        locks.release_lock("key", "you")
    locks.release_lock("key", "me")
    assert not locks.is_locked("key")
    assert others.wait_for_lock("key", timeout=0)
    assert others.acquire_lock("key", "you", acquire_timeout=0)


def test_threads_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        locks = FlockLocks(tmp_path)
        locks.acquire_lock("key", str(number))
        inside.append(number)
        most.append(len(inside))
        inside.remove(number)
        locks.release_lock("key", str(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_hook_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    class Failing(FlockLocks):
        def on_acquired(self, key: str) -> None:
            raise RuntimeError("hook")

    with pytest.raises(RuntimeError, match="hook"):
        Failing(tmp_path).acquire_lock("key", "me")
    assert not FlockLocks(tmp_path).is_locked("key")


def test_kill_9_frees_the_lock(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    locks = FlockLocks(tmp_path)
    assert locks.is_locked("key")
    assert not locks.acquire_lock("key", "me", acquire_timeout=0)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert locks.acquire_lock("key", "me", acquire_timeout=0)
