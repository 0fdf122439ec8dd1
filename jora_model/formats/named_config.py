"""Model facts by name, without the weights: for planning."""

from pathlib import Path

from jora_model.formats.base import EMBEDDED, resolve_base
from jora_model.formats.hf_weights import model_facts
from jora_model.spec.config import ModelConfig
from user_error import UserError

_SHIPPED = Path(__file__).parents[1] / "spec" / "configs"


def shipped_names() -> tuple[str, ...]:
    """Return the models whose `config.json` ships with this package."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.json")))


def config_of(name: str) -> ModelConfig:
    """Return the facts of a shipped model, a `config.json` or its folder, a `.gguf` file, or `embedded`.

    Raises:
        UserError: the model does not exist, or uses a feature that is not implemented.
    """
    path = Path(name).expanduser()
    if name in shipped_names():
        return ModelConfig.read_file(_SHIPPED / f"{name}.json")
    if name == EMBEDDED or path.suffix == ".gguf":
        from jora_model.formats.gguf_import import gguf_config

        return ModelConfig.from_hf(gguf_config(resolve_base(name)))
    if path.is_dir():
        # Weights are not needed to plan; where they are, they tell whether the head is the embedding.
        return model_facts(path) if any(path.glob("model*.safetensors")) else ModelConfig.read(path)
    if path.is_file():
        return ModelConfig.read_file(path)
    raise UserError(
        f"unknown model {name!r}; allowed are {', '.join(shipped_names())}, a config.json or the folder that holds "
        f"one, a .gguf file, or {EMBEDDED}"
    )
