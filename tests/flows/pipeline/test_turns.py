"""One run trains at a time in a work directory: the next waits, or is cancelled; the lock dies with its holder."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.pipeline.turns import Busy, turn
from tasks.store.store import Store
from testing.command_line import ROOT

LOG = logging.getLogger(__name__)
HOLDER = """
import logging, sys, time
from flows.pipeline.turns import turn
from tasks.store.store import Store
with turn(Store(sys.argv[1]), "adapter", "wait", logging.getLogger()):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_next_waits_or_is_cancelled_until_the_holder_dies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = Store(tmp_path / "work")
    with subprocess.Popen([sys.executable, "-c", HOLDER, store.work_dir], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=rf"another run trains in {store.work_dir}; .*when_busy=cancel"):
            take(store, "adapter", "cancel")
        take(store, "dataset", "cancel")  # needs no accelerator
        waiting = threading.Thread(target=take, args=(store, "everything", "wait"))
        waiting.start()
        while "waiting for it" not in caplog.text:
            waiting.join(0.05)
            assert waiting.is_alive()
        holder.kill()
        waiting.join(30)
        assert not waiting.is_alive()
    take(store, "adapter", "cancel")


def take(store: Store, goal: str, when_busy: str) -> None:
    with turn(store, goal, when_busy, LOG):
        pass
