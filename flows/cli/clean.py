"""`jora gc` in the terminal."""

from pathlib import Path

import typer

from data.scoring.scores import aligned
from jora_model.spec.settings import parse_size
from tasks.store.report import describe_bytes
from tasks.store.store import Store
from tasks.workdir.gc import find_waste, remove
from user_error import UserError


def clean(work_dir: str, days: float, delete: bool, most_cached: str | None = None) -> None:
    """List or delete artifacts that no recent run, pin or champion uses, and cached files.

    Args:
        most_cached: size of the caches to keep at most, such as 20GB.

    Raises:
        UserError: there is no work directory, a size cannot be parsed, or a run is active while something is to be
            deleted.
    """
    folder = Path(work_dir).expanduser()
    if not (folder / "artifacts").is_dir():
        raise UserError(f"{work_dir} is no work directory; give one with --work-dir")
    bound = None if most_cached is None else _size(most_cached)
    store = Store(folder)
    waste = remove(store, days, bound) if delete else find_waste(store, days, bound)
    if not waste.paths:
        typer.echo("nothing to delete")
        return
    rows = [["", "number", "size"]]
    rows += [[kind, str(many), describe_bytes(size)] for kind, (many, size) in waste.by_kind.items()]
    typer.echo(aligned(rows), nl=False)
    what = "deleted" if delete else "can be deleted"
    typer.echo(f"{describe_bytes(waste.bytes)} {what}" + ("" if delete else "; add --delete to do it"))


def _size(text: str) -> int:
    if text.strip() == "0":
        return 0
    try:
        return parse_size(text)
    except UserError as error:
        raise UserError(f"--max-cache {text}: {error}; or 0 for none") from None
