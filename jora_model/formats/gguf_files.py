"""Open a GGUF file, or all parts of a split one, and report in one line what cannot be read."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gguf import GGUFReader, ReaderTensor

from user_error import UserError

_Result = TypeVar("_Result")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class GgufFile:
    """Fields of the first part, and the tensors of all parts by llama.cpp's names; their data stay on disk."""

    fields: dict[str, Any]
    tensors: dict[str, ReaderTensor]


def parts_of(path: Path) -> list[Path]:
    """Return all files of a split model by the name of one of them (`model-00001-of-00003.gguf`), existing or not."""
    named = _PART.search(path.name)
    if named is None:
        return [path]
    count = int(named[2])
    return [path.with_name(f"{path.name[: named.start()]}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]


def link_names(path: Path) -> dict[str, Path]:
    """Return name -> file, under which a snapshot links a model; of a split one, only the parts that exist."""
    parts = parts_of(path)
    if len(parts) == 1:
        return {"model.gguf": path}
    names = [f"model-{number:05d}-of-{len(parts):05d}.gguf" for number in range(1, len(parts) + 1)]
    return {name: part for name, part in zip(names, parts, strict=True) if part.is_file()}


def linked_gguf(folder: Path) -> Path:
    """Return the file of a model that `link_names` linked: the person's own, so that errors name it.

    Of a split model whose files have other names where they lie (Hugging Face's cache), the link.
    """
    link = sorted(folder.glob("model*.gguf"))[0]
    own = link.resolve()
    there = [part.resolve() for part in parts_of(own)]
    return own if there == [part.resolve() for part in parts_of(link)] or len(parts_of(link)) == 1 else link


def read_gguf(path: Path) -> GgufFile:
    """Return the fields and tensors of a file, or of all parts of a split one.

    Raises:
        UserError: the file or a part of it is missing, or is not GGUF, big-endian or cut off.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a .gguf file")
    parts = parts_of(path)
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise UserError(f"{path} is split into {len(parts)} files, and {', '.join(missing)} is missing beside it")
    readers = [_open(part) for part in parts]
    fields = _guarded(parts[0], lambda: {key: field.contents() for key, field in readers[0].fields.items()})
    count = fields.get("split.count", 1)
    if count not in (0, 1, len(parts)):
        raise UserError(
            f"{path} is part {fields.get('split.no', 0) + 1} of {count}; name the parts as "
            f"NAME-00001-of-{count:05d}.gguf in one folder"
        )
    tensors: dict[str, ReaderTensor] = {}
    for part, reader in zip(parts, readers, strict=True):
        tensors |= {tensor.name: tensor for tensor in reader.tensors}
        number = reader.fields.get("split.no")
        if len(parts) > 1 and (number is None or part != parts[int(number.contents())]):
            raise UserError(f"{part} holds another part than its name says; download the set again")
    expected = fields.get("split.tensors.count", len(tensors))
    if len(parts) > 1 and len(tensors) != expected:
        raise UserError(f"the parts of {path} hold {len(tensors)} tensors instead of {expected}; download them again")
    return GgufFile(fields, tensors)


def _open(path: Path) -> GGUFReader:
    with path.open("rb") as file:
        start = file.read(8)
    # The reader swaps the bytes of float tensors, and leaves those of quantised blocks as they are.
    if len(start) == 8 and start[:4] == b"GGUF" and not struct.unpack("<I", start[4:])[0] & 0xFFFF:
        raise UserError(f"{path} is a big-endian GGUF file, which is not implemented; use a little-endian one")
    return _guarded(path, lambda: GGUFReader(path))


def _guarded(path: Path, read: Callable[[], _Result]) -> _Result:
    try:
        return read()
    # The reader does not validate the file: a damaged one raises various errors of NumPy.
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as GGUF ({reason}); download the file again") from None
