"""PEFT adapter folders, also those of other tools: which modules they adapt, with which rank and scale.

PEFT's LoRA (tuners/lora) is supported where one rank and one scale can express the adapter: `rank_pattern` by rows of
zeros, `alpha_pattern` by a factor on B, `layers_to_transform` by zeros; and DoRA, LoRA on the embedding and the head,
`modules_to_save` and trainable tokens. Any other setting that changes a logit is rejected by name.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from jora_model.formats.hf_weights import open_tensors
from jora_model.formats.peft_config import PeftConfig
from jora_model.formats.peft_names import PREFIX, Stored, by_module, shown, without_unused
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from jora_model.spec.parameters import EMBED, HEAD
from jora_model.spec.settings import LoraSettings
from user_error import UserError

_PICKLE = "adapter_model.bin"
_DTYPES = ("F32", "F16", "BF16")
EMBED_MODULE, HEAD_MODULE = EMBED.module(0), HEAD.module(0)
_PAIRS = (("A", "B"), ("embedding_A", "embedding_B"))


def tensor_name(module: str, letter: str) -> str:
    """Return PEFT's name of factor A or B (`letter`) of a module."""
    return f"{PREFIX}{module}.lora_{letter}.weight"


@dataclass(frozen=True, slots=True)
class Module:
    """The rank of one adapted module in the folder, and its factor on B(A(x))."""

    rank: int
    scale: float


class PeftAdapter:
    """An adapter folder: its config and tensor names are checked when it is opened; tensors are read on request.

    Attributes:
        settings: the whole adapter as one rank and one scale.
        modules: name of an adapted module, embedding and head included -> its own rank and scale.
        config: adapter_config.json.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: no adapter there, a pickle instead, a damaged file, or a feature that is not implemented.
        """
        self.folder = Path(folder)
        self.config = PeftConfig(self.folder)
        self.path = self.folder / ADAPTER_WEIGHTS
        if not self.path.is_file():
            if (self.folder / _PICKLE).is_file():
                raise UserError(
                    f"{self.folder} holds {_PICKLE}, a pickle, which may run any code when it is opened; "
                    f"ask its author for {ADAPTER_WEIGHTS}"
                )
            raise UserError(f"{self.folder} holds no {ADAPTER_WEIGHTS}")
        file = open_tensors(self.path)
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        for name, part in slices.items():
            if part.get_dtype() not in _DTYPES:
                raise UserError(
                    f"{self.path}: {name} is stored as {part.get_dtype()}; allowed are {', '.join(_DTYPES)}"
                )
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        self._stored = without_unused(by_module(shapes, self.path))
        self.modules = {name: self._module(name) for name in self._stored if self._letters(name)}
        if not self._stored:
            raise UserError(f"{self.path} holds no tensor")
        self.settings = self._settings()

    @property
    def layer_modules(self) -> tuple[str, ...]:
        """The adapted modules of the layers."""
        return tuple(name for name in self.modules if name not in (EMBED_MODULE, HEAD_MODULE))

    @property
    def names(self) -> tuple[str, ...]:
        """All modules of the file."""
        return tuple(self._stored)

    @property
    def beyond_lora(self) -> str | None:
        """What it holds besides LoRA on linears of the layers, for people; None if nothing."""
        if self.replaced:
            return f"weights in place of the base model's ({shown(self.replaced)})"
        return "DoRA" if self.config.use_dora else None

    @property
    def replaced(self) -> tuple[str, ...]:
        """The modules whose weights stand in place of the base model's."""
        own = {"A", "B", "magnitude"}
        return tuple(
            name for name, parts in self._stored.items() if name in (EMBED_MODULE, HEAD_MODULE) or set(parts) - own
        )

    def check_trainable(self) -> None:
        """
        Raises:
            UserError: it is more than LoRA or DoRA on linears of the layers, which is all that training takes further.
        """
        if self.replaced:
            raise UserError(
                f"{self.path} holds {self.beyond_lora}; training that further is not implemented: use it unchanged "
                "(adapter.train=false), or export it merged (export.merged=true), name that folder as base_model and "
                "train a new adapter"
            )

    def stored(self, module: str, part: str) -> Stored | None:
        """A module's tensor in the file, by its part (peft_names.py)."""
        return self._stored.get(module, {}).get(part)

    def whole(self, module: str, kind: str) -> tuple[Stored | None, bool]:
        """A module's weight or bias (`kind`), if it is stored whole, and whether training has replaced it.

        If it has not, it is the base's own, as PEFT saves it beside LoRA on an embedding, or after resizing it.
        """
        parts = self._stored.get(module, {})
        saved, base = ("saved", "base") if kind == "weight" else ("saved_bias", "base_bias")
        if saved in parts:
            return parts[saved], True
        tied = self.config.get("ensure_weight_tying") and module == HEAD_MODULE and self.config.saves(EMBED_MODULE)
        return parts.get(kind) or parts.get(base), bool(kind in parts and (tied or self.config.saves(module)))

    def read(self, stored: Stored) -> np.ndarray:
        """Return a tensor in float32.

        Raises:
            UserError: it holds NaN or infinity.
        """
        tensor: np.ndarray = open_tensors(self.path).get_tensor(stored.name).astype(np.float32)
        if not np.isfinite(tensor).all():
            raise UserError(f"{self.path}: {stored.name} holds NaN or infinity; its training has failed")
        return tensor

    def pair(self, module: str) -> tuple[Stored, Stored]:
        """A and B of an adapted module; of the embedding A is `[R, V]` and B `[D, R]`."""
        first, second = self._letters(module)
        return self._stored[module][first], self._stored[module][second]

    def factors(self, module: str) -> tuple[np.ndarray, np.ndarray]:
        """Return A `[R, in]` and B `[out, R]` of a module in float32, with its own rank."""
        a, b = self.pair(module)
        return self.read(a), self.read(b)

    def _letters(self, module: str) -> tuple[str, ...]:
        for letters in _PAIRS:
            given = [letter for letter in letters if letter in self._stored[module]]
            if len(given) == 1:
                name = self._stored[module][given[0]].name
                raise UserError(f"{self.path} holds {name} without its other factor")
            if given:
                return letters
        return ()

    def _module(self, name: str) -> Module:
        a, b = self.pair(name)
        if len(a.shape) != 2 or len(b.shape) != 2 or 0 in (*a.shape, *b.shape):
            raise UserError(
                f"{self.path}: {a.name} and its other factor have shapes {a.shape} and {b.shape}; a part of the "
                "weights was saved (DeepSpeed and FSDP must gather them first)"
            )
        rank, said = a.shape[0], self.config.rank(name)
        if rank != said or b.shape[1] != rank:
            raise UserError(f"{self.path}: {name} has rank {rank}; {ADAPTER_CONFIG} says {said}")
        magnitude = "magnitude" in self._stored[name]
        if magnitude != self.config.use_dora:
            has = "a lora_magnitude_vector" if magnitude else "no lora_magnitude_vector"
            raise UserError(f"{self.path}: {name} has {has}; {ADAPTER_CONFIG} says use_dora={self.config.use_dora}")
        return Module(rank, self.config.scale(name, rank))

    def _settings(self) -> LoraSettings:
        """One rank and one scale for the modules of the layers.

        A repeated initialization is subtracted by as many more rows of A and columns of B (initializations.py).
        """
        config = self.config
        modules = [self.modules[name] for name in self.layer_modules]
        if not modules:
            raise UserError(
                f"{self.path} adapts no linear of the layers, which is not implemented; merge it with PEFT "
                "(merge_and_unload) and name the merged model as base_model"
            )
        rslora = bool(config.get("use_rslora"))
        rank = max(module.rank for module in modules) * (1 if config.repeated_init is None else 2)
        alpha = float(config.get("lora_alpha"))
        if config.repeated_init or all(module == modules[0] for module in modules):
            # A pattern may say the same of all.
            own = modules[0].scale * (math.sqrt(rank) if rslora else rank)
            alpha = alpha if math.isclose(own, alpha) else own
        try:
            return LoraSettings(
                rank=rank,
                alpha=alpha,
                use_rslora=rslora,
                use_dora=config.use_dora,
                dropout=config.get("lora_dropout", 0.0),
                target_modules=tuple({name.rpartition(".")[2] for name in self.layer_modules}),
            )
        except ValidationError as error:
            first_error = error.errors()[0]
            where = ".".join(map(str, first_error["loc"]))
            said = first_error["msg"].removeprefix("Value error, ")
            raise UserError(f"{config.path}: {where}: {said}") from None
