"""One safetensors file: its header, and its tensors piece by piece, checked to be numbers.

Tensors are read by plain reads and not through safetensors' memory map: a page fault of the map holds Python's lock for
as long as the disk takes, so that no other thread (the heartbeat of runtime/lifeline.py) runs meanwhile, and pages that
were read count as this process's memory.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from jora_model.spec.hf_files import refuse_pointer
from user_error import UserError

# Dtypes of weights, as transformers casts them on loading. Any other holds codes, which need scales to be weights.
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
# Sign-less bits of the least number that is refused: infinity, or in the wider dtypes what bf16 rounds to infinity.
_LIMITS = {
    "F64": int(np.float64(np.uint32(0x7F7F8000).view(np.float32)).view(np.uint64)),
    "F32": 0x7F7F8000,
    "F16": 0x7C00,
    "BF16": 0x7F80,
}
_PIECE = 4 << 20  # bytes that are read and checked at once, while they are in the processor's cache


class Unreadable(UserError):
    """A file that is there and cannot be read at the moment; a retry may succeed."""

    transient = True


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file, as its header describes it: `dtype` in safetensors' names, `start` in bytes of the file.

    Attributes:
        rounded: float16 is rounded to bfloat16 when it is read.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    rounded: bool = False

    def check_dtype(self) -> None:
        """Raises UserError if it is stored as a dtype that weights do not have."""
        if self.dtype not in DTYPES:
            raise UserError(
                f"{self.path}: {self.name} is stored as {self.dtype}; allowed are {', '.join(DTYPES)}: name a "
                "checkpoint that is not quantized"
            )

    def get_shape(self) -> list[int]:
        """Its shape, as a slice of safetensors gives it."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Its dtype, as a slice of safetensors gives it."""
        return self.dtype

    def __getitem__(self, index: slice | tuple[slice, ...]) -> np.ndarray:
        """Read the tensor, or a part of it, in its own dtype (unless `rounded`).

        Args:
            index: slices of step 1, of the first dims.

        Raises:
            UserError: its dtype is not one of weights, the file has become shorter, or a value is NaN, infinite or
                beyond the range of bfloat16 (named). Unreadable, if the disk or network fails.
        """
        self.check_dtype()
        dtype = DTYPES[self.dtype]
        index = (index,) if isinstance(index, slice) else index
        index = (*index, *[slice(None)] * (len(self.shape) - len(index)))
        bounds = [slice(*part.indices(size)[:2]) for part, size in zip(index, self.shape, strict=False)]
        rows, inner = (bounds[0], tuple(bounds[1:])) if bounds else (slice(0, 1), ())
        row_shape = self.shape[1:]
        row_bytes = dtype.itemsize * math.prod(row_shape)
        count = max(rows.stop - rows.start, 0)
        out = np.empty((count, *(part.stop - part.start for part in inner)), dtype)
        if not out.size:
            return out
        whole = all(part == slice(0, size) for part, size in zip(inner, row_shape, strict=True))
        with _open_raw(self.path) as file:
            file.seek(self.start + rows.start * row_bytes)
            if whole:
                target = out.reshape(-1).view(np.uint8)
                for begin in range(0, len(target), _PIECE):
                    self._fill(file, target[begin : begin + _PIECE])
            else:
                step = max(_PIECE // row_bytes, 1)
                buffer = np.empty(min(step, count) * row_bytes, np.uint8)
                for begin in range(0, count, step):
                    part = buffer[: min(step, count - begin) * row_bytes]
                    self._fill(file, part)
                    out[begin : begin + step] = part.view(dtype).reshape(-1, *row_shape)[(slice(None), *inner)]
        if self.rounded and dtype == np.float16:
            out = out.astype(DTYPES["BF16"])
        return out if self.shape else out.reshape(())

    def _fill(self, file: Any, target: np.ndarray) -> None:
        """Read the next bytes of the file into `target` uint8 [n], and check the numbers that they are."""
        view, done = target.data, 0
        while done < len(target):
            try:
                read = file.readinto(view[done:])
            except OSError as error:
                raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from None
            if not read:
                raise UserError(f"{self.path} has become shorter while it was read; copy or download the file again")
            done += read
        check_finite(target.view(DTYPES[self.dtype]), self.name, self.path)


def check_finite(values: np.ndarray, name: str, path: Path) -> None:
    """Check that all values of an array of one of DTYPES are finite, and stay so in bfloat16.

    Raises:
        UserError: names the tensor and the file.
    """
    (kind,) = (kind for kind, dtype in DTYPES.items() if dtype == values.dtype)
    bits = np.ascontiguousarray(values).reshape(-1).view(f"u{values.dtype.itemsize}")
    step = _PIECE // values.dtype.itemsize
    for begin in range(0, bits.size, step):
        part = bits[begin : begin + step]
        # By bits: NumPy has no fast test for bfloat16, and NaN compares as the largest.
        if int((part & part.dtype.type((1 << (8 * part.itemsize - 1)) - 1)).max()) >= _LIMITS[kind]:
            raise UserError(
                f"{path}: {name} holds NaN, infinite or too large values, so every answer would be nonsense; copy or "
                "download the file again, or name another checkpoint"
            )


class TensorFile:
    """The tensors of a file, with the methods of safetensors' `safe_open`; what is read is checked."""

    def __init__(self, path: Path) -> None:
        """Raises UserError as `read_header` does."""
        self.tensors = read_header(path)

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return list(self.tensors)

    def get_slice(self, name: str) -> Tensor:
        """A tensor that is read by indexing it."""
        return self.tensors[name]

    def get_tensor(self, name: str) -> np.ndarray:
        """A whole tensor."""
        return self.tensors[name][:]


def open_tensors(path: Path) -> TensorFile:
    """Open a safetensors file; only its header is read. Raises UserError as `read_header` does."""
    return TensorFile(path)


def check_values(path: Path) -> None:
    """Read all tensors of a file of weights. Raises UserError as `Tensor` does for what weights do not hold."""
    for tensor in read_header(path).values():
        tensor[:]


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, in the order of the file.

    Raises:
        UserError: it does not exist, is damaged or shorter than its header says, or is a pointer of Git LFS.
    """
    refuse_pointer(path)
    try:
        safe_open(path, framework="numpy")  # checks the header, and the length of the file
    except FileNotFoundError:
        raise UserError(f"{path.parent} lacks {path.name}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); copy or download the file again") from None
    path = _named(path)
    with _open_raw(path) as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        name: Tensor(path, name, facts["dtype"], tuple(facts["shape"]), 8 + size + facts["data_offsets"][0])
        for name, facts in header.items()
        if name != "__metadata__"
    }


def _named(path: Path) -> Path:
    """The file that a link of the same name points to, which a person knows, unlike the link."""
    target = path.parent / path.readlink() if path.is_symlink() else path
    return target if target.name == path.name else path


def _open_raw(path: Path) -> Any:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
