"""Weights of the base model that an adapter replaces: `modules_to_save`, LoRA on embedding and head, trained tokens.

Each is computed as a whole, in float32, when it is asked for. As in PEFT, LoRA on one of two tied weights changes that
one alone: then the head is a weight of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from jora_model.formats.dora import row_factors
from jora_model.formats.peft_format import EMBED_MODULE, HEAD_MODULE, PeftAdapter
from jora_model.formats.peft_names import PREFIX, Stored
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import EMBED, HEAD, parameters_of, shape_of
from user_error import UserError

_TIED = (EMBED_MODULE, HEAD_MODULE)


class Replaced:
    """The replaced weights of a base model.

    Attributes:
        config: of the model with these weights; `tie_embeddings` is false if embedding and head have become different.
        names: Hugging Face names of the replaced tensors, in the model's order.
    """

    def __init__(self, adapter: PeftAdapter, config: ModelConfig) -> None:
        """
        Raises:
            UserError: a tensor is missing, unknown or has the wrong shape (named).
        """
        self._adapter = adapter
        self._tied = config.tie_embeddings
        untied = replace(config, tie_embeddings=False)
        self._shapes = {
            name: shape_of(parameter, untied)[1 if parameter.stacked else 0 :]
            for parameter in parameters_of(untied)
            for name in parameter.hf_names(config.num_layers)
        }
        self.names = tuple(name for name in self._shapes if self._is_replaced(*_split(name)))
        for name in self.names:
            self._check(name)
        for name in adapter.names:
            self._check_known(name)
        self.config = config
        if self._tied and not self._stay_tied():
            self.config = untied
            both = [name for name in (EMBED.hf, HEAD.hf) if name in self.names]
            assert both, "one of them is replaced"
        elif self._tied:
            self.names = tuple(name for name in self.names if name != HEAD.hf)

    def source(self, name: str) -> str:
        """The name under which the base holds a tensor: the embedding's for a head that was tied to it."""
        return EMBED.hf if self._tied and name == HEAD.hf else name

    def weight(self, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return a replaced tensor in float32.

        Args:
            read: returns the base's tensor of the name `source(name)`.
        """
        adapter = self._adapter
        module, kind = _split(name)
        stored, trained = self._whole(module, kind)
        if stored is not None and trained:
            return adapter.read(stored)
        weight = adapter.read(stored) if stored is not None else read().astype(np.float32)
        if kind == "weight" and module in _TIED and module in adapter.modules:
            weight = self._adapted(module, weight)
        if kind == "weight" and (rows := self._rows(module)) is not None:
            indices, tensor = rows
            weight = weight.copy()
            weight[list(indices)] = adapter.read(tensor)
        return weight

    def _adapted(self, module: str, weight: np.ndarray) -> np.ndarray:
        """The embedding or head with its LoRA, `[V, D]`."""
        adapter = self._adapter
        a, b = adapter.factors(module)
        scale = adapter.modules[module].scale
        delta = np.float32(scale) * ((b @ a) if module == HEAD_MODULE else (b @ a).T)
        magnitude = adapter.stored(module, "magnitude")
        if magnitude is None:
            return weight + delta
        lengths = adapter.read(magnitude)
        if module == HEAD_MODULE:
            return (weight + delta) * row_factors(weight, a, b, scale, lengths)[:, None]
        # The embedding's columns are scaled, as those of the layer whose weight is its transpose.
        return (weight + delta) * row_factors(weight.T, a, b, scale, lengths)

    def _whole(self, module: str, kind: str) -> tuple[Stored | None, bool]:
        stored, trained = self._adapter.whole(module, kind)
        if not trained and self._tied and module in _TIED:
            # The base's own weight is one for both.
            for other in (HEAD_MODULE, EMBED_MODULE):
                found, replaces = self._adapter.whole(other, kind)
                if found is not None and not replaces:
                    return found, False
        return stored, trained

    def _rows(self, module: str) -> tuple[tuple[int, ...], Stored] | None:
        """The trained tokens of a module, and their rows in the file."""
        own, tensor = self._adapter.config.tokens(module), self._adapter.stored(module, "tokens")
        if own is not None and tensor is not None:
            return own, tensor
        if module != HEAD_MODULE or not self._tied:
            return None
        embedded = self._adapter.config.tokens(EMBED_MODULE)
        tensor = self._adapter.stored(EMBED_MODULE, "tokens")
        if embedded is not None and tensor is not None and own in (None, embedded):
            return embedded, tensor
        return None

    def _is_replaced(self, module: str, kind: str) -> bool:
        if self._whole(module, kind)[0] is not None:
            return True
        if kind != "weight":
            return False
        return (module in _TIED and module in self._adapter.modules) or self._rows(module) is not None

    def _stay_tied(self) -> bool:
        """Whether embedding and head, which are tied in the base, are still equal."""
        mine = [self._parts(module) for module in _TIED]
        if mine[0] == mine[1]:
            return True
        stored = [self._whole(module, "weight") for module in _TIED]
        if not all(tensor is not None and trained for tensor, trained in stored):
            return False
        first, second = (self._adapter.read(tensor) for tensor, _ in stored if tensor is not None)
        return bool(np.array_equal(first, second))

    def _parts(self, module: str) -> object:
        """All that makes a replaced weight."""
        adapted = module if module in self._adapter.modules else None
        return self._whole(module, "weight"), adapted, self._rows(module)

    def _check(self, name: str) -> None:
        """Check the shapes of a replaced tensor's parts."""
        adapter, shape = self._adapter, self._shapes[name]
        module, kind = _split(name)
        stored, _ = self._whole(module, kind)
        if stored is not None and stored.shape != shape:
            if module in _TIED and len(stored.shape) == 2 and stored.shape[1] == shape[1]:
                raise UserError(
                    f"{adapter.path}: {stored.name} has {stored.shape[0]} rows and the base model's vocabulary "
                    f"{shape[0]}: it was resized for training, which is not implemented; merge the adapter with PEFT "
                    "(merge_and_unload) and name the merged model as base_model"
                )
            raise _wrong_shape(adapter, stored, shape)
        if kind == "weight" and module in _TIED and module in adapter.modules:
            rank = adapter.modules[module].rank
            out, inner = shape if module == HEAD_MODULE else shape[::-1]
            for tensor, wanted in zip(adapter.pair(module), ((rank, inner), (out, rank)), strict=True):
                if tensor.shape != wanted:
                    raise _wrong_shape(adapter, tensor, wanted)
            if (lengths := adapter.stored(module, "magnitude")) is not None and lengths.shape != (out,):
                raise _wrong_shape(adapter, lengths, (out,))
            if adapter.config.repeated_init is not None and module == HEAD_MODULE:
                raise UserError(
                    f"{adapter.config.path}: init_lora_weights={adapter.config.repeated_init!r} on lm_head is not "
                    "implemented; let PEFT convert it (save_pretrained with path_initial_model_for_weight_conversion)"
                )
        if kind == "weight" and (rows := self._rows(module)) is not None:
            indices, tensor = rows
            if tensor.shape != (len(indices), *shape[1:]) or max(indices, default=0) >= shape[0]:
                raise UserError(
                    f"{adapter.path}: {tensor.name} has shape {tensor.shape} for {len(indices)} tokens up to id "
                    f"{max(indices, default=0)}; the base model has {shape[0]} tokens of width {shape[1]}"
                )

    def _check_known(self, module: str) -> None:
        """Check that a module's whole tensors, and tokens, are of tensors that the base has."""
        adapter = self._adapter
        for kind in ("weight", "bias"):
            stored, _ = adapter.whole(module, kind)
            if stored is not None and f"{module}.{kind}" not in self._shapes:
                raise UserError(f"{adapter.path} holds unknown tensors: {stored.name}; is it of this base model?")
        tokens = adapter.stored(module, "tokens")
        if tokens is not None and (module not in _TIED or adapter.config.tokens(module) is None):
            raise UserError(f"{adapter.path} holds {tokens.name}; {adapter.config.path.name} names no tokens for it")

    def missing(self) -> Iterator[str]:
        """Names of tensors that the config announces and the file lacks."""
        adapter = self._adapter
        for name in self._shapes:
            module, kind = _split(name)
            if adapter.config.saves(module) and adapter.whole(module, kind)[0] is None:
                yield f"{PREFIX}{name}"
        for module in _TIED:
            if adapter.config.tokens(module) is not None and self._rows(module) is None:
                yield f"{PREFIX}{module}.token_adapter.trainable_tokens_delta"


def _split(name: str) -> tuple[str, str]:
    module, _, kind = name.rpartition(".")
    return module, kind


def _wrong_shape(adapter: PeftAdapter, stored: Stored, needed: tuple[int, ...]) -> UserError:
    return UserError(f"{adapter.path}: {stored.name} has shape {stored.shape}; the base model needs {needed}")
