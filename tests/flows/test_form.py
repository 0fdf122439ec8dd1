"""The form that Prefect draws for a deployment: parameters in order, each with its words, checked like a command."""

from pathlib import Path
from typing import Any

import pytest

from flows.raft import build_dataset, evaluate_model, raft_finetune, train_adapter
from flows.settings.config import RunConfig, check_config, load_config
from flows.sweep import raft_sweep

FLOWS = (raft_finetune, build_dataset, train_adapter, evaluate_model, raft_sweep)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_field_has_its_place_and_its_words(flow: Any) -> None:
    form = flow.parameters.model_dump()
    fields, groups = form["properties"], form["definitions"]
    assert sorted(field["position"] for field in fields.values()) == list(range(len(fields)))
    for name, field in fields.items():
        assert field["title"] == name
        group = groups.get(field.get("$ref", "").rpartition("/")[2])
        assert field.get("description") or (group and group["description"]), f"{name} has no words"
        assert name == "over" or "default" in field
    for name, group in groups.items():
        assert group["description"]
        for key, field in group["properties"].items():
            inner = groups.get(field.get("$ref", "").rpartition("/")[2])
            assert field.get("description") or (inner and inner["description"]), f"{name}.{key} has no words"


def test_the_order_is_that_of_the_settings() -> None:
    fields = raft_finetune.parameters.model_dump()["properties"]
    assert [*RunConfig.model_fields, "until"] == sorted(fields, key=lambda name: fields[name]["position"])
    for flow in FLOWS[1:4]:
        fields = flow.parameters.model_dump()["properties"]
        known = [name for name in RunConfig.model_fields if name in fields]
        assert known == sorted(fields, key=lambda name: fields[name]["position"])


@pytest.mark.parametrize(
    "given",
    [
        {"lora": {"target_modules": ["query"]}},
        {"lora": {"rank": 0}},
        {"training": {"epoch": 2}},
        {"trainin": {}},
        {"training": 3},
        {"when_busy": "hurry"},
    ],
)
def test_a_fault_is_the_line_of_the_command_line(given: dict[str, Any], tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "raft.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(ValueError) as from_file:
        load_config(path, {})
    with pytest.raises(ValueError) as from_form:
        check_config(given)
    assert str(from_form.value) == str(from_file.value)
    assert "\n" not in str(from_form.value)


def test_a_part_of_a_group_leaves_the_rest_of_it() -> None:
    config = check_config({"training": {"epochs": 2}})
    assert config.training.epochs == 2
    assert config.model_copy(update={"training": RunConfig().training}) == RunConfig()
