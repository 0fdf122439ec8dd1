"""XLA's persistent cache: what one process compiled, the next one reads."""

from pathlib import Path

import jax


def use_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, made if need be, between processes."""
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The layers of a decoder take less than a second each, and there are many shapes.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
