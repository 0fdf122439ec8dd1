"""Settings: from YAML, the command line winning; an unknown key names the nearest known one."""

import pytest

from flows.settings.config import RunConfig, load_config


def test_yaml_then_options_then_sets(tmp_path):
    path = tmp_path / "raft.yaml"
    path.write_text("corpus: from-yaml\nquestions: q.jsonl\ntraining:\n  epochs: 7\n  seed: 3\n")
    config = load_config(path, {"corpus": "from-option", "questions": None}, ["training.epochs=2"])
    assert (config.corpus, config.questions) == ("from-option", "q.jsonl")
    assert (config.training.epochs, config.training.seed) == (2, 3)


@pytest.mark.parametrize(
    ("text", "sets", "message"),
    [
        ("trainin:\n  epochs: 2\n", [], "unknown setting trainin; the nearest is training"),
        ("training:\n  epoch: 2\n", [], r"unknown setting training\.epoch; the nearest is training\.epochs"),
        ("", ["lora.ranks=4"], r"unknown setting lora\.ranks; the nearest is lora\.rank"),
        ("lora:\n  rank: 0\n", [], r"lora\.rank: .*greater than or equal to 1.*given: 0"),
        ("lora:\n  target_modules: query\n", [], "query match no layer; allowed are attention"),
        ("lora: 16\n", [], "setting lora is a group: give it keys, such as rank"),
        ("- 1\n", [], "must be a mapping of settings"),
        ("a: [", [], "is not valid YAML"),
        ("", ["lora.rank"], "write it as group.key=value"),
        (
            "",
            ["questions.field=a=answer"],
            r"unknown setting question_file\.field; the nearest is question_file\.fields",
        ),
        (
            "",
            ["questions.fields=answer=a"],
            r"question_file\.fields: 'a' is no field of a question \(is a=answer meant",
        ),
        ("grounding:\n  reject_unquoted: false\n", [], r"set grounding\.evidence to verbatim"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, sets, message):
    path = tmp_path / "raft.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path, {}, sets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("questions: q.jsonl\n", ["questions.fields=prompt=question,completion=answer", "questions.strict=true"]),
        (
            "questions: q.jsonl\nquestion_file:\n  strict: true\n",
            ["question_file.fields={prompt: question, completion: answer}"],
        ),
        ("questions:\n  file: q.jsonl\n  strict: true\n  fields: {prompt: question, completion: answer}\n", []),
        ("questions:\n  file: q.jsonl\n  fields: [prompt=question, completion=answer]\n", ["questions.strict=true"]),
    ],
)
def test_how_a_question_file_is_read_is_set_as_part_of_it(tmp_path, text, sets):
    path = tmp_path / "raft.yaml"
    path.write_text(text)
    config = load_config(path, {}, sets)
    assert config.questions == "q.jsonl" and config.question_file.strict
    assert config.question_file.fields == {"prompt": "question", "completion": "answer"}


def test_a_setting_of_earlier_versions_that_means_the_default_is_told(caplog):
    config = load_config(None, {}, ["grounding.reject_unquoted=true"])
    assert config.grounding.evidence == "verbatim"
    assert "grounding.reject_unquoted=true is the default now" in caplog.text


def test_missing_file():
    from pathlib import Path

    with pytest.raises(ValueError, match=r"no settings file nowhere\.yaml"):
        load_config(Path("nowhere.yaml"), {})


def test_flow_parameters_are_the_fields():
    """The flows' forms and the YAML file know the same settings, with the same defaults."""
    from flows.raft import build_dataset, raft_finetune, train_adapter

    fields = set(RunConfig.model_fields)
    assert set(raft_finetune.parameters.properties) == fields | {"until"}
    for flow in (build_dataset, train_adapter):
        assert set(flow.parameters.properties) < fields


def test_every_field_is_described():
    """A form without explanations is no form."""
    for name, field in RunConfig.model_fields.items():
        if field.default is None or isinstance(field.default, (str, int)):
            assert field.description, name
            continue
        assert field.default.__doc__, name
        for key, inner in type(field.default).model_fields.items():
            assert inner.description, f"{name}.{key}"


def test_a_store_that_checks_in_full(tmp_path):
    """What that finds is tested in tests/tasks/store/test_retries.py."""
    given = {"work_dir": str(tmp_path)}
    assert [load_config(None, given, sets).store().full for sets in ((), ("verify=full",))] == [False, True]
