"""Floating-point operations that the model needs, and that a compiled program executes.

Both count products only, two operations a multiply-add. The program's count is read from its text, since
`cost_analysis()` counts the body of a loop once, however often it runs.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes, linears_of, targets_of
from jora_model.spec.settings import LoraSettings

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_SHAPE = re.compile(r"^\w+\[([\d,]*)\]")
_DOT = re.compile(r" dot\(([^)]*)\).*?lhs_contracting_dims=\{([\d,]*)\}")
_CALLED = re.compile(r"(?:calls|to_apply|body)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
# The innermost named loop: `jax.named_scope` is in the names of its operations.
_LOOP = re.compile(r'op_name="[^"]*/(\w+)/while"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class ModelFlops:
    """Forward and backward, without gradients of frozen weights and without recomputation.

    Attributes:
        per_token: of the layers, for each position of a plain causal row (mean over its positions).
        per_answer_token: of the head, for each trainable token.
    """

    per_token: float
    per_answer_token: float


def model_flops(config: ModelConfig, lora: LoraSettings, row_length: int) -> ModelFlops:
    """The operations that training needs, whatever the program.

    With DoRA and dropout the weights of its targets are multiplied with their input and with what is left of it. The
    lengths of DoRA's rows are of an update, however many tokens it has, and are not counted.
    """
    sizes = dim_sizes(config)
    # Frozen weights: the product, and the gradient of its input. Trainable ones: also their own gradient.
    frozen = 4 * sum(math.prod(sizes[dim] for dim in parameter.dims) for parameter in linears_of(config))
    targets = targets_of(config, lora.target_modules)
    trained = 6 * lora.rank * sum(sizes[dim] for name in targets for dim in LINEAR_BY_NAME[name].dims)
    if lora.use_dora and lora.dropout:
        trained += 4 * sum(math.prod(sizes[dim] for dim in LINEAR_BY_NAME[name].dims) for name in targets)
    # Scores and weighted values, two products forward and four backward, over the visible keys.
    windows = config.windows(row_length)
    attention = sum(6 * 2 * sizes["heads"] * _mean_keys(row_length, windows[kind]) for kind in config.layers)
    return ModelFlops(config.num_layers * (frozen + trained) + attention, 4.0 * config.vocab_size * config.hidden_size)


def _mean_keys(length: int, window: int | None) -> float:
    """Keys that a query of a plain causal row sees, mean over its positions."""
    if window is None:
        return (length + 1) / 2
    return window * (length - window / 2 + 0.5) / length


@dataclass(frozen=True)
class ProgramFlops:
    """Operations of one device's program.

    Attributes:
        fixed: of all code whose number of executions is known.
        per_turn: of one iteration of each other loop, such as the loop over the head's chunks.
    """

    fixed: float
    per_turn: float


def program_flops(text: str, turns: Mapping[str, float]) -> ProgramFlops:
    """Count the dots in the text of an optimized HLO module, times the trip counts of their loops.

    Args:
        turns: trip counts, or their means, of loops whose length depends on the data, by their `jax.named_scope`.
    """
    computations = _computations(text)
    done: dict[str, ProgramFlops] = {}

    def count(name: str) -> ProgramFlops:
        if name in done:
            return done[name]
        lines = computations[name]
        fixed = per_turn = 0.0
        for line in lines.values():
            if dot := _DOT.search(line):
                fixed += _dot_flops(line, dot, lines)
            if branches := _BRANCHES.search(line):
                costliest = max((count(name.strip(" %")) for name in branches[1].split(",")), key=lambda c: c.fixed)
                fixed, per_turn = fixed + costliest.fixed, per_turn + costliest.per_turn
            for called in _CALLED.findall(line):
                inner = count(called)
                if " while(" not in line:
                    fixed, per_turn = fixed + inner.fixed, per_turn + inner.per_turn
                elif trips := _TRIPS.search(line):
                    fixed, per_turn = fixed + int(trips[1]) * inner.fixed, per_turn + int(trips[1]) * inner.per_turn
                elif (loop := _LOOP.search(line)) and loop[1] in turns:
                    fixed, per_turn = fixed + turns[loop[1]] * inner.fixed, per_turn + turns[loop[1]] * inner.per_turn
                else:
                    per_turn += inner.fixed + inner.per_turn
        done[name] = ProgramFlops(fixed, per_turn)
        return done[name]

    return count("ENTRY")


def _computations(text: str) -> dict[str, dict[str, str]]:
    """Computation -> instruction -> the text after its `=`; the entry computation is named ENTRY."""
    computations: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = {}
            computations["ENTRY" if line.startswith("ENTRY ") else head[1]] = current
        elif instruction := _INSTRUCTION.match(line):
            current[instruction[1]] = instruction[2]
    assert "ENTRY" in computations, "not the text of an HLO module"
    return computations


def _dot_flops(line: str, dot: re.Match[str], lines: dict[str, str]) -> float:
    left = _dims(lines[dot[1].split(",")[0].split()[-1].lstrip("%")])
    contracted = [left[int(dim)] for dim in dot[2].split(",") if dim]
    return 2.0 * math.prod(_dims(line)) * math.prod(contracted)


def _dims(shape: str) -> list[int]:
    match = _SHAPE.match(shape)
    assert match, f"not the shape of an array: {shape[:80]}"
    return [int(size) for size in match[1].split(",") if size]
