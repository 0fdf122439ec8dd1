"""Devices of a TPU that this machine need not have, for its compiler: `find_topology("v5e:2x2")`.

The compiler is the package libtpu (extra `tpu`); it needs no chip.
"""

import importlib.util
import os
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental.topologies import get_topology_desc
from jax.sharding import SingleDeviceSharding

from user_error import UserError

_NAME = re.compile(r"\w+:\d+(x\d+)*")
_AVAILABLE = re.compile(r"available HBM \(([\d.]+)G\)")
# libtpu would otherwise wait for Google's metadata server, and log to /tmp and stderr.
_QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


def find_topology(name: str) -> Sequence[jax.Device]:
    """The devices of a TPU topology, to compile for; they run nothing.

    Raises:
        UserError: an unknown name, or libtpu is not installed.
    """
    allowed = "write a TPU and its layout, such as v5e:2x2, v6e:2x4 or v5p:2x2x1; other chips are not built"
    if _NAME.fullmatch(name) is None:
        raise UserError(f"--topology {name}: {allowed}")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology {name} needs the package libtpu, which is not installed; "
            "run `.venv/bin/python -m pip install -c constraints.txt -e '.[tpu]'`"
        )
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        return get_topology_desc(name, "tpu").devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology {name}: {allowed} (libtpu says: {error})") from None


def chip_memory(device: jax.Device) -> int | None:
    """Bytes that a program may use on a TPU, from the compiler's error about a program that needs far too many.

    None if there is no such error; a topology has no field for it.
    """
    if device.platform != "tpu":
        return None
    too_large = jax.ShapeDtypeStruct((2**40,), np.uint8, sharding=SingleDeviceSharding(device))
    try:
        jax.jit(lambda x: x + x).lower(too_large).compile()
    except jax.errors.JaxRuntimeError as error:
        if match := _AVAILABLE.search(str(error)):
            return round(float(match[1]) * 2**30)
    return None
