"""The tokenizer's fields of a GGUF: chat templates however a folder holds them, and the end of an answer."""

import json

import pytest
import transformers

from jora_model.formats.gguf_vocabulary import vocabulary_of
from testing.chat_families import write_family

DEFAULT, RAG = "{{ messages }}", "{{ messages }}{{ documents }}"


@pytest.fixture
def folder(tmp_path):
    write_family(tmp_path, "smollm2")
    (tmp_path / "chat_template.jinja").unlink()
    return tmp_path


def in_config(folder, template):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def in_file(folder, template):
    (folder / "chat_template.jinja").write_text(template)


def named_file(folder, name, template):
    (folder / "additional_chat_templates").mkdir(exist_ok=True)
    (folder / "additional_chat_templates" / f"{name}.jinja").write_text(template)


def a_list(folder):
    in_config(folder, [{"name": "default", "template": DEFAULT}, {"name": "rag-1", "template": RAG}])


def a_file_beside_a_list(folder):
    in_config(folder, [{"name": "default", "template": "old"}, {"name": "other", "template": "old"}])
    in_file(folder, DEFAULT)


def files(folder):
    in_file(folder, DEFAULT)
    named_file(folder, "rag-1", RAG)


def a_folder_beside_a_config(folder):
    in_config(folder, "old")
    named_file(folder, "default", DEFAULT)
    named_file(folder, "rag-1", RAG)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda folder: in_config(folder, DEFAULT), []),
        (lambda folder: in_file(folder, DEFAULT), []),
        (a_list, ["rag_1"]),
        (a_file_beside_a_list, []),
        (files, ["rag_1"]),
        (a_folder_beside_a_config, ["rag_1"]),
    ],
)
def test_the_template_is_the_one_that_transformers_uses(folder, make, names):
    make(folder)
    fields = vocabulary_of(folder, 0)
    assert fields["tokenizer.chat_template"] == DEFAULT
    assert transformers.AutoTokenizer.from_pretrained(folder).get_chat_template() == DEFAULT
    assert fields.get("tokenizer.chat_templates", []) == names
    assert all(fields[f"tokenizer.chat_template.{name}"] == RAG for name in names)
    assert len([field for field in fields if field.startswith("tokenizer.chat")]) == 1 + 2 * bool(names)


def test_no_template(folder):
    assert not [field for field in vocabulary_of(folder, 0) if field.startswith("tokenizer.chat")]


@pytest.mark.parametrize("template", [5, [], [{"name": "default"}], ["a"]])
def test_a_template_of_a_wrong_type(folder, template):
    in_config(folder, template)
    with pytest.raises(ValueError, match=r"tokenizer_config.json: chat_template must be a text, or a list"):
        vocabulary_of(folder, 0)


def test_the_end_of_an_answer_that_is_not_the_end_of_a_text(tmp_path):
    write_family(tmp_path, "phi4-mini")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert vocabulary_of(tmp_path, 0, end)["tokenizer.ggml.eot_token_id"] == end != tokenizer.eos_token_id
    for same in (None, tokenizer.eos_token_id):
        assert "tokenizer.ggml.eot_token_id" not in vocabulary_of(tmp_path, 0, same)
