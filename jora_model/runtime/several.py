"""A job as several processes, on one host or many: each holds its share of the mesh's devices.

    python -m jora_model.training.train JOB.json --coordinator HOST:PORT --processes 2 --process 0  # and: --process 1
    srun python -m jora_model.training.train JOB.json --cluster slurm                # or k8s, ompi, mpi4py, auto

All must see the job's files; process 0 alone writes, and speaks. HOST is process 0's.
"""

import argparse
import logging
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import jax

from jora_model.runtime.lifeline import Lifeline
from jora_model.runtime.meeting import LOOPBACK, Place, meet
from jora_model.runtime.process import EXIT_INPUT_ERROR, run_job_file, watch_parent
from user_error import UserError

_CLUSTERS = ("auto", "slurm", "k8s", "ompi", "mpi4py")
OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
OPTIONS.add_argument("--coordinator")
OPTIONS.add_argument("--processes", type=int)
OPTIONS.add_argument("--process", type=int)
OPTIONS.add_argument("--cluster", choices=_CLUSTERS)
OPTIONS.add_argument("--wait", type=float, default=300.0)  # seconds within which all must have come

_BY_HAND = "give --coordinator, --processes and --process instead"
# XLA's errors begin with a status; some come as ValueError, which is otherwise what a person did wrong.
_XLA_ERROR = re.compile(r"[A-Z_]+: ")


def run_job(work: Callable[[Path, int], None]) -> None:
    """The main function of a job module that may run as several processes: calls `work(job file, processes)`."""
    try:
        options, sys.argv[1:] = OPTIONS.parse_known_args()
        place = place_of(options)
    except (argparse.ArgumentError, ValueError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(EXIT_INPUT_ERROR)
    if place is None or place.processes == 1:
        run_job_file(lambda path: work(path, 1))
    elif len(sys.argv) != 2:
        sys.stderr.write("error: give the job file, and options of --coordinator or --cluster\n")
        sys.exit(EXIT_INPUT_ERROR)
    else:
        watch_parent()
        _run_together(place, Path(sys.argv[1]), work)


def place_of(options: argparse.Namespace) -> Place | None:
    """What the options say; None for a process by itself.

    Raises:
        UserError: an option is missing, or outside what is allowed.
    """
    given = [options.coordinator, options.processes, options.process]
    local_devices = None
    if options.cluster:
        if given != [None] * 3:
            raise UserError("--cluster finds coordinator, processes and process by itself; leave those options out")
        *given, local_devices = _detect(options.cluster)
    elif given == [None] * 3:
        return None
    coordinator, processes, process = given
    if None in given:
        raise UserError("several processes need --coordinator HOST:PORT, --processes N and --process I, or --cluster")
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"--coordinator {coordinator}: give the host of process 0 and a free port there, as HOST:PORT")
    if not 0 <= process < processes:
        raise UserError(f"--process {process} of --processes {processes}: they count from 0 to {processes - 1}")
    return Place(coordinator, processes, process, options.wait, local_devices)


def _detect(cluster: str) -> tuple[str, int, int, list[int] | None]:
    """By JAX's own knowledge of clusters, which it keeps private."""
    from jax._src.clusters import ClusterEnv

    method = None if cluster == "auto" else cluster
    try:
        found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, method, 300)
    except Exception as error:  # whatever an environment lacks
        raise UserError(f"--cluster {cluster}: {type(error).__name__} {error}; {_BY_HAND}") from None
    if None in found[:3]:
        raise UserError(f"--cluster {cluster}: this process was not started by one; {_BY_HAND}")
    return found


def _run_together(place: Place, job_file: Path, work: Callable[[Path, int], None]) -> None:
    if place.process > 0:
        logging.getLogger("jora_model").setLevel(logging.ERROR)
    try:
        lifeline, address = meet(place, job_file)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_INPUT_ERROR)
    try:
        _join(place, address)
        work(job_file, place.processes)
        lifeline.finish()
        jax.distributed.shutdown()
    except BaseException as error:
        _give_up(lifeline, error)


def _give_up(lifeline: Lifeline, error: BaseException) -> NoReturn:
    """End all processes for the error of this one; not by leaving, for JAX would wait for the others first."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and not _XLA_ERROR.match(text):
        lifeline.stop(text, EXIT_INPUT_ERROR)
    if isinstance(error, KeyboardInterrupt | SystemExit):
        lifeline.stop("interrupted", 130)
    lifeline.stop(f"{type(error).__name__}: {text}", 1, detail=traceback.format_exc())
    raise AssertionError("a stopped process is gone")


def _join(place: Place, address: str) -> None:
    """JAX's own meeting; all are here, so nothing waits."""
    # Its service for preemption takes SIGTERM and does not end by it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address,
        place.processes,
        place.process,
        place.local_devices,
        cluster_detection_method="deactivate",
        # The lifeline notices what is lost, and knows a pause (of all processes) from a loss.
        heartbeat_timeout_seconds=600,
        shutdown_timeout_seconds=60,
        coordinator_bind_address=address if place.host in LOOPBACK else None,
    )
