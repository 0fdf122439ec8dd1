"""What a command does not use is told of a `--set`, and left alone in a file; the flows' forms have the same groups."""

import pytest

from flows.cli.options import RunOptions
from flows.settings.config import RunConfig
from flows.settings.used import GOALS, UNUSED, check_used
from user_error import UserError


@pytest.mark.parametrize("command", [*GOALS, "plan"])
def test_each_group_is_used_or_told(command: str) -> None:
    refused = set()
    for name in RunConfig.model_fields:
        try:
            check_used(command, [f"{name}.x=1"])
        except UserError as error:
            refused.add(name)
            assert f"jora {command} does not use {name}" in str(error) and f"jora {command}," not in str(error)
    used = {"base_model", "lora", "mesh", "training"} if command == "plan" else set()
    assert refused == (set(RunConfig.model_fields) - used if command == "plan" else set(UNUSED[GOALS[command]]))


def test_what_is_unused_is_what_the_flows_do_not_take() -> None:
    from flows import raft

    flows = {"dataset": raft.build_dataset, "adapter": raft.train_adapter, "evaluation": raft.evaluate_model}
    for goal, flow in flows.items():
        assert set(RunConfig.model_fields) - set(flow.parameters.properties) == set(UNUSED[goal])
    assert UNUSED["export"] == UNUSED["everything"] == ()


def test_a_file_serves_several_commands(tmp_path) -> None:
    path = tmp_path / "raft.yaml"
    path.write_text("training:\n  epochs: 7\nevaluation:\n  top_k: 3\npromotion:\n  rule: always\n")
    for command in GOALS:
        assert RunOptions(config=path).load(command).training.epochs == 7
    # The options that commands add themselves are no mistake of a person.
    RunOptions(config=path).load("build-dataset", before=["training.profile=3"])
    with pytest.raises(UserError, match="jora build-dataset does not use evaluation"):
        RunOptions(config=path, sets=["evaluation.top_k=3"]).load("build-dataset")
