"""Runs a job as several processes, on one host or many, each with its share of the mesh's devices.

    python -m jora_model.training.train JOB.json --coordinator HOST:PORT --processes 2 --process 0  # and: --process 1
    srun python -m jora_model.training.train JOB.json --cluster slurm                # or k8s, ompi, mpi4py, auto

All must see the job's files; only process 0 writes files and logs. HOST is the host of process 0.
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
from jora_model.runtime.meeting import LOOPBACK, Member, meet
from jora_model.runtime.process import EXIT_INPUT_ERROR, exit_code, run_job_file, watch_parent
from user_error import UserError

_CLUSTERS = ("auto", "slurm", "k8s", "ompi", "mpi4py")
OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
OPTIONS.add_argument("--coordinator")
OPTIONS.add_argument("--processes", type=int)
OPTIONS.add_argument("--process", type=int)
OPTIONS.add_argument("--cluster", choices=_CLUSTERS)
OPTIONS.add_argument("--wait", type=float, default=300.0)  # seconds within which all must connect

_BY_HAND = "give --coordinator, --processes and --process instead"


def run_job(work: Callable[[Path, int], None]) -> None:
    """The main function of a job module that can run as several processes: calls `work(job file, processes)`."""
    try:
        options, sys.argv[1:] = OPTIONS.parse_known_args()
        member = member_of(options)
    except (argparse.ArgumentError, UserError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(EXIT_INPUT_ERROR)
    if member is None or member.processes == 1:
        run_job_file(lambda path: work(path, 1))
    elif len(sys.argv) != 2:
        sys.stderr.write("error: give the job file, and options of --coordinator or --cluster\n")
        sys.exit(EXIT_INPUT_ERROR)
    else:
        watch_parent()
        _run_together(member, Path(sys.argv[1]), work)


def member_of(options: argparse.Namespace) -> Member | None:
    """Which process of a run the options say this is; None for a single process.

    Raises:
        UserError: an option is missing, or outside what is allowed.
    """
    given = [options.coordinator, options.processes, options.process]
    local_devices = None
    if options.cluster:
        if given != [None] * 3:
            raise UserError("--cluster determines coordinator, processes and process; leave those options out")
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
    return Member(coordinator, processes, process, options.wait, local_devices)


def _detect(cluster: str) -> tuple[str, int, int, list[int] | None]:
    """Coordinator, number of processes, index of this process and its local devices.

    By JAX's detection, which has no public interface but `jax.distributed.initialize`: that would connect at once, and
    tell the number of processes only after it has fixed the number of CPU devices.
    """
    from jax._src.clusters import ClusterEnv

    method = None if cluster == "auto" else cluster
    try:
        detected = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, method, 300)
    except Exception as error:  # whatever an environment lacks
        raise UserError(f"--cluster {cluster}: {type(error).__name__} {error}; {_BY_HAND}") from None
    if None in detected[:3]:
        raise UserError(f"--cluster {cluster}: this process was not started by one; {_BY_HAND}")
    return detected


def _run_together(member: Member, job_file: Path, work: Callable[[Path, int], None]) -> None:
    if member.process > 0:
        logging.getLogger("jora_model").setLevel(logging.ERROR)
    try:
        lifeline, address = meet(member, job_file)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_INPUT_ERROR)
    try:
        _initialize(member, address)
        work(job_file, member.processes)
        lifeline.finish()
        jax.distributed.shutdown()
    except BaseException as error:
        _give_up(lifeline, error)


def _give_up(lifeline: Lifeline, error: BaseException) -> NoReturn:
    """End all processes for the error of this one; not by a plain exit, since JAX would wait for the others first."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        lifeline.stop(text, exit_code(error))
    if isinstance(error, KeyboardInterrupt | SystemExit):
        lifeline.stop("interrupted", 130)
    lifeline.stop(f"{type(error).__name__}: {text}", 1, detail=traceback.format_exc())
    raise AssertionError("`stop` does not return")


def _initialize(member: Member, address: str) -> None:
    """Initialize JAX's runtime for several processes, which are all connected."""
    # Its preemption service would catch SIGTERM, and the process would not end.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address,
        member.processes,
        member.process,
        member.local_devices,
        cluster_detection_method="deactivate",
        # Long: the lifeline reports a lost process, and does not take a pause of all processes for one.
        heartbeat_timeout_seconds=600,
        shutdown_timeout_seconds=60,
        coordinator_bind_address=address if member.host in LOOPBACK else None,
    )
