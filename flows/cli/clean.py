"""`jora gc` in the terminal."""

from pathlib import Path

import typer

from data.scoring.scores import aligned
from tasks.store.report import describe_bytes
from tasks.store.store import Store
from tasks.workdir.gc import find_waste, remove
from user_error import UserError


def clean(work_dir: str, days: float, delete: bool) -> None:
    """List or delete artifacts that no recent run, pin or champion uses.

    Raises:
        UserError: there is no work directory, or a run is active while something is to be deleted.
    """
    folder = Path(work_dir).expanduser()
    if not (folder / "artifacts").is_dir():
        raise UserError(f"{work_dir} is no work directory; give one with --work-dir")
    store = Store(folder)
    waste = remove(store, days) if delete else find_waste(store, days)
    if not waste.paths:
        typer.echo("nothing to delete")
        return
    rows = [["", "number", "size"]]
    rows += [[kind, str(many), describe_bytes(size)] for kind, (many, size) in waste.by_kind.items()]
    typer.echo(aligned(rows), nl=False)
    what = "deleted" if delete else "can be deleted"
    typer.echo(f"{describe_bytes(waste.bytes)} {what}" + ("" if delete else "; add --delete to do it"))
