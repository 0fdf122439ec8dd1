"""What a sweep may vary: the setting behind each name, the format of its values, and a run's settings with a value.

Nothing heavy at the top: the command line reads the names for its help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from user_error import UserError

if TYPE_CHECKING:
    from flows.settings.config import RunConfig

# Names of sets of layers, whatever the architecture (`parameters.PRESETS`) -> their layers in most of them; names of
# single layers are allowed too.
_TARGETS = {
    "qv": "q_proj+v_proj",
    "attention": "q_proj+k_proj+v_proj+o_proj",
    "mlp": "gate_proj+up_proj+down_proj",
    "all-linear": "all-linear",
}


def _targets(text: str) -> str:
    return ",".join(part.strip() for part in text.split("+"))


def _as_layers(text: str) -> str:
    return "+".join(_TARGETS.get(part.strip(), part.strip()) for part in text.split("+"))


@dataclass(frozen=True)
class Sweep:
    """A setting that can be swept.

    Attributes:
        setting: its name, group.key.
        default: the values if none are given.
        written: the format of values, for a person.
        number: parses a value that is a number; None if values are names, which keep their order.
        of_value: the value of the setting for a value of the sweep.
        spelled: another spelling of a value, the same for values that mean the same.
    """

    setting: str
    default: str
    written: str
    number: Callable[[str], int | float] | None
    of_value: Callable[[str], object]
    spelled: Callable[[str], str] = str


# None of these changes the prompts of the evaluation (evaluation.top_k is the same even where distractors vary) or the
# maximum length of an answer: every value answers the same prompts, and the base model answers them once.
SWEEPS = {
    "rank": Sweep("lora.rank", "4,16,64", "whole numbers, such as 4,16,64", int, int),
    "targets": Sweep(
        "lora.target_modules",
        "qv,attention,all-linear",
        f"{', '.join(_TARGETS)} or layers joined by +, such as qv,q_proj+o_proj",
        None,
        _targets,
        _as_layers,
    ),
    "oracle-fraction": Sweep("raft.oracle_fraction", "0.6,0.8,1.0", "numbers from 0 to 1, such as 0.8,1", float, float),
    "distractors": Sweep(
        "raft.context_chunks", "1,2,4", "whole numbers, such as 0,2,4", int, lambda value: int(value) + 1
    ),
}


def find_sweep(over: str) -> Sweep:
    """The sweep with this name.

    Raises:
        UserError: there is none.
    """
    if over not in SWEEPS:
        raise UserError(f"a sweep over {over!r} is not known; allowed are {', '.join(SWEEPS)}")
    return SWEEPS[over]


def read_values(over: str, text: str) -> tuple[str, ...]:
    """Comma-separated values in canonical form; numbers ascending, so that the cheapest run comes first.

    Raises:
        UserError: a value is empty, or not a number where the sweep needs one.
    """
    sweep = find_sweep(over)
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UserError(f"--values {text!r}: write {sweep.written}")
    if sweep.number is None:
        return tuple(parts)
    try:
        return tuple(str(number) for number in sorted(map(sweep.number, parts)))
    except ValueError:
        raise UserError(f"--values {text!r}: for {over} write {sweep.written}") from None


def with_value(config: RunConfig, over: str, value: str) -> RunConfig:
    """The settings with one value of a sweep.

    Raises:
        UserError: the setting does not allow it; the line names the value.
    """
    from pydantic import ValidationError

    from flows.settings.config import RunConfig, one_line

    sweep = find_sweep(over)
    group, key = sweep.setting.split(".")
    values = config.model_dump()
    values[group][key] = sweep.of_value(value)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{over}={value}: {one_line(error)}; values are {sweep.written}") from None


def check_values(config: RunConfig, over: str, values: tuple[str, ...], sets: Sequence[str] = ()) -> None:
    """Check the values of a sweep before anything runs.

    Raises:
        UserError: the setting does not allow a value, two values are the same, or --set also gives the setting.
    """
    sweep = find_sweep(over)
    for item in sets:
        if item.partition("=")[0].strip() == sweep.setting:
            raise UserError(f"--set {item}: a sweep over {over} sets {sweep.setting} itself; use --values")
    seen: list[RunConfig] = []
    for value in values:
        with_value(config, over, value)
        changed = with_value(config, over, sweep.spelled(value))
        if changed in seen:
            same = values[seen.index(changed)]
            raise UserError(f"--values: {same} and {value} are the same {sweep.setting}; give it once")
        seen.append(changed)


def check_plot(plot: Path | None) -> None:
    """Check the path of the plot before anything runs.

    Raises:
        UserError: it is no PNG file, or its folder does not exist.
    """
    if plot is not None and (plot.suffix.lower() != ".png" or plot.is_dir() or not plot.parent.is_dir()):
        raise UserError(f"--plot {plot}: give a file that ends in .png, in an existing folder")
