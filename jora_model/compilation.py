"""XLA's persistent cache: what one process compiled, the next one reads."""

from pathlib import Path

import jax


def use_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, made if need be, between processes."""
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Every program: a decoder's are small and many, and what is kept must not depend on how fast the machine is.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
