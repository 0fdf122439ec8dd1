"""Which settings a command uses: those of `--set` that it would not use are refused, with the commands that do.

A settings file may hold groups of other commands, since one file serves them all. Nothing heavy at the top.
"""

from collections.abc import Sequence

from user_error import UserError

_AFTER_EVALUATION = ("export", "promotion")
_AFTER_TRAINING = ("evaluation", *_AFTER_EVALUATION)
# A dataset needs no accelerator, so a run that builds only that waits for no other.
_AFTER_DATASET = ("when_busy", "adapter", "lora", "mesh", "training", *_AFTER_TRAINING)
#: Goal of a run -> the settings and groups that stages up to it do not use. An export decides about a champion, and is
#: asked with the settings of the evaluation.
UNUSED: dict[str, tuple[str, ...]] = {
    "dataset": _AFTER_DATASET,
    "adapter": _AFTER_TRAINING,
    "evaluation": _AFTER_EVALUATION,
    "export": (),
    "everything": (),
}
#: Command -> goal.
GOALS = {
    "run": "everything",
    "build-dataset": "dataset",
    "train": "adapter",
    "evaluate": "evaluation",
    "export": "export",
    "sweep": "evaluation",
}
_PLANNED = ("base_model", "lora", "mesh", "training")


def check_used(command: str, sets: Sequence[str]) -> None:
    """Check that a command uses the settings of `--set`; to be called once the names are known to exist.

    Raises:
        UserError: it does not use the first of them; with the commands that do.
    """
    for item in sets:
        group = item.partition("=")[0].strip().split(".")[0]
        if not _uses(command, group):
            users = ", ".join(f"jora {other}" for other in (*GOALS, "plan") if _uses(other, group))
            raise UserError(
                f"--set {item}: jora {command} does not use {group}, so that it would change nothing; leave it out, "
                f"or give it to a command that does: {users}"
            )


def _uses(command: str, group: str) -> bool:
    return group in _PLANNED if command == "plan" else group not in UNUSED[GOALS[command]]
