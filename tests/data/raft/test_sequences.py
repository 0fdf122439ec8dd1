import numpy as np
import pytest

from data.prompting.prompts import Prompt
from data.raft.alpaca import AlpacaRecord
from data.raft.sequences import (
    GRAMMARS_NAME,
    encode_prompts,
    encode_records,
    length_statistics,
    read_answers,
    read_overruled,
    read_prompts,
    read_sequences,
    write_grammars,
    write_prompts,
    write_sequences,
)
from testing.small_tokenizers import llama2_like, smollm2


def record(name: str, question: str, output: str) -> AlpacaRecord:
    return AlpacaRecord(name, "Answer.", f"Question: {question}", output, "q", "g", ("c",), ("c",), True)


RECORDS = [
    record("a", "How fast?", "##Answer: nine"),
    record("b", "Café?", "##Answer: ünïcode\nand more"),
    record("c", "Why?", ""),
]


@pytest.mark.parametrize("family", [smollm2, llama2_like])
@pytest.mark.parametrize("style", ["chat", "alpaca"])
def test_the_mask_is_over_the_target_and_its_end(family, style):
    tokenizer = family()
    for made, sequence in zip(RECORDS, encode_records(RECORDS, tokenizer, style), strict=True):
        assert sequence.tokens.dtype == np.int32 and sequence.loss_mask.dtype == np.bool_
        assert sequence.tokens.shape == sequence.loss_mask.shape
        learnt = sequence.tokens[sequence.loss_mask]
        assert learnt[-1] == tokenizer.end_id(style)
        assert tokenizer.decode(learnt).strip() == made.output
        (prompt,) = encode_prompts(["p"], [made.prompt], tokenizer, style)
        assert sequence.tokens[~sequence.loss_mask].tolist() == prompt.tokens.tolist()
        assert np.diff(sequence.loss_mask.astype(np.int8)).min() == 0  # once begun, the target goes on to the end


def test_files_give_back_what_was_written(tmp_path):
    tokenizer = smollm2()
    sequences = encode_records(RECORDS, tokenizer, "chat")
    prompts = encode_prompts(["x", "y"], [Prompt("One?", ""), Prompt("Two", "three?")], tokenizer, "chat")
    write_sequences(tmp_path, sequences)
    write_prompts(tmp_path, prompts)
    for before, after in zip(sequences, read_sequences(tmp_path), strict=True):
        assert before.id == after.id and after.tokens.dtype == np.int32 and after.loss_mask.dtype == np.bool_
        np.testing.assert_array_equal(before.tokens, after.tokens)
        np.testing.assert_array_equal(before.loss_mask, after.loss_mask)
    for before, after in zip(prompts, read_prompts(tmp_path), strict=True):
        assert before.id == after.id
        np.testing.assert_array_equal(before.tokens, after.tokens)


def test_files_are_as_the_other_side_of_the_seam_reads_them(tmp_path):
    from safetensors.numpy import load_file

    sequences = encode_records(RECORDS, smollm2(), "chat")
    write_sequences(tmp_path, sequences)
    arrays = load_file(tmp_path / "sequences.safetensors")
    lengths = [len(sequence.tokens) for sequence in sequences]
    assert arrays["offsets"].dtype == np.int64 and arrays["offsets"].tolist() == [0, *np.cumsum(lengths).tolist()]
    assert {name: array.shape for name, array in arrays.items() if name != "offsets"} == {
        "tokens": (sum(lengths),),
        "loss_mask": (sum(lengths),),
    }
    assert (tmp_path / "sequences.json").read_text() == '{"ids": ["a", "b", "c"]}\n'


def test_answers_are_read_as_generation_writes_them(tmp_path):
    from safetensors.numpy import save_file

    arrays = {"tokens": np.array([5, 6, 7], np.int32), "offsets": np.array([0, 2, 2, 3], np.int64)}
    save_file(arrays, tmp_path / "answers.safetensors")
    (tmp_path / "answers.json").write_text('{"ids": ["a", "b", "c"]}')
    assert [answer.tolist() for answer in read_answers(tmp_path)] == [[5, 6], [], [7]]


def test_grammars_and_what_they_overruled_cross_the_seam(tmp_path):
    from jora_model.generation.prompt_files import read_grammars, write_tokens

    grammars = ['start: "é"', None, 'start: "b"', 'start: "é"']
    write_grammars(tmp_path, grammars)
    assert (tmp_path / GRAMMARS_NAME).read_text().count("é") == 1, "each wording once"
    assert read_grammars(tmp_path / GRAMMARS_NAME, 4) == grammars
    pieces = [np.zeros(1, np.int32)] * 3
    write_tokens(tmp_path, "answers", ["a", "b", "c"], pieces, overruled=[0, None, 2])
    assert read_overruled(tmp_path) == [0, None, 2]
    write_tokens(tmp_path, "answers", ["a", "b", "c"], pieces)
    assert read_overruled(tmp_path) == [None] * 3
    (tmp_path / "answers.json").write_text("[]")
    with pytest.raises(ValueError, match=r"answers in .* cannot be read"):
        read_overruled(tmp_path)


def test_same_sequences_same_bytes(tmp_path):
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_sequences(tmp_path / name, encode_records(RECORDS, smollm2(), "chat"))
        contents.append((tmp_path / name / "sequences.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_no_sequences_at_all(tmp_path):
    write_sequences(tmp_path, [])
    assert read_sequences(tmp_path) == []
    assert length_statistics([]) == {"sequences": 0, "tokens": 0}


@pytest.mark.parametrize("damage", ["missing", "cut", "mixed"])
def test_damaged_files_are_refused(tmp_path, damage):
    write_sequences(tmp_path, encode_records(RECORDS, smollm2(), "chat"))
    path = tmp_path / "sequences.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        (tmp_path / "sequences.json").write_text('{"ids": ["a"]}')
    with pytest.raises(ValueError, match=r"the sequences in .*rebuild them"):
        read_sequences(tmp_path)


def test_length_statistics():
    sequences = encode_records(RECORDS, smollm2(), "alpaca")
    statistics = length_statistics(sequences)
    lengths = sorted(len(sequence.tokens) for sequence in sequences)
    assert statistics == {
        "sequences": 3,
        "tokens": sum(lengths),
        "shortest": lengths[0],
        "median": lengths[1],
        "95th percentile": lengths[2],
        "longest": lengths[2],
        "answer tokens": sum(int(sequence.loss_mask.sum()) for sequence in sequences),
    }
