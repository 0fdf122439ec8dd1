"""How rows are filled: prefixes of every depth, tries larger than a row, families; and the files they are read from."""

import json
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import save_file

from jora_model.packing.sequences import Sequence, read_sequences
from jora_model.packing.tries import Rows, families, pack, pack_evenly, row_lengths


def sequence(name: str, prompt: list[int], answer: list[int], trained: list[int] | None = None) -> Sequence:
    mask = [False] * len(prompt) + [True] * len(answer) if trained is None else trained
    return Sequence(name, np.array(prompt + answer, np.int32), np.array(mask, bool))


def made(seed: int, count: int = 24, vocabulary: int = 4) -> list[Sequence]:
    """Prompts over few tokens, so that they meet at every depth; some are duplicates, some learn two spans."""
    random = np.random.default_rng(seed)
    found: list[Sequence] = []
    trunks = [random.integers(0, vocabulary, 12).tolist() for _ in range(3)]
    for number in range(count):
        if number % 7 == 6:
            twin = found[int(random.integers(len(found)))]
            found.append(Sequence(f"{twin.id}-again-{number}", twin.tokens, twin.loss_mask))
            continue
        trunk = trunks[int(random.integers(3))][: int(random.integers(0, 13))]
        prompt = trunk + random.integers(0, vocabulary, int(random.integers(1, 9))).tolist()
        answer = random.integers(0, vocabulary, int(random.integers(1, 6))).tolist()
        mask = [False] * len(prompt) + [True] * len(answer)
        if number % 5 == 4 and len(prompt) > 3:
            mask[len(prompt) // 2] = True
        found.append(sequence(f"example-{number:02d}", prompt, answer, mask))
    return found


def learnt_in_rows(rows: Rows) -> Counter[tuple[tuple[int, ...], int]]:
    """(what a prediction sees, in order of position; what it is to predict), for every prediction of the rows."""
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    places = np.arange(rows.tokens.shape[1])
    for row in range(len(rows)):
        for at, target, weight in zip(rows.predict_at[row], rows.targets[row], rows.weights[row], strict=True):
            if weight == 0:
                continue
            seen = (places <= at) & (at < rows.reach[row])
            assert rows.positions[row][seen].tolist() == list(range(int(seen.sum())))
            found[tuple(rows.tokens[row][seen].tolist()), int(target)] += 1
    return found


def learnt_in(sequences: list[Sequence]) -> Counter[tuple[tuple[int, ...], int]]:
    return Counter(
        (tuple(s.tokens[:place].tolist()), int(s.tokens[place]))
        for s in sequences
        for place in np.flatnonzero(s.loss_mask)
    )


@pytest.mark.parametrize("row_length", [32, 64, 512])
@pytest.mark.parametrize("seed", range(8))
def test_every_prediction_sees_its_own_sequence(seed, row_length):
    sequences = made(seed)
    rows = pack(sequences, row_length)
    assert learnt_in_rows(rows) == learnt_in(sequences)
    assert rows.tokens.shape[1] == row_length


def test_three_levels():
    shared, middle = [1, 2], [3, 4]
    sequences = [
        sequence("a", [*shared, *middle, 5], [9]),
        sequence("b", [*shared, *middle, 6], [9]),
        sequence("c", [*shared, 7], [9, 9]),
    ]
    rows = pack(sequences, 32)
    assert rows.used == rows.lengths.sum() == 2 + 2 + 2 + 2 + 3
    # Depth first: the shared 1 2, then 7 9 9, then 3 4 with its two branches.
    assert rows.tokens[0][:11].tolist() == [1, 2, 7, 9, 9, 3, 4, 5, 9, 6, 9]
    assert rows.reach[0][:12].tolist() == [11, 11, 5, 5, 5, 11, 11, 9, 9, 11, 11, 12]


def test_rows_do_not_depend_on_the_order_of_the_examples():
    sequences = made(3)
    first, second = pack(sequences, 64), pack(sequences[::-1], 64)
    for name, array in vars(first).items():
        np.testing.assert_array_equal(array, vars(second)[name])


def test_trie_larger_than_a_row_repeats_its_prefix():
    context = list(range(20))
    sequences = [sequence(f"{number}", [*context, 30 + number], [9]) for number in range(12)]
    rows = pack(sequences, 32)
    assert learnt_in_rows(rows) == learnt_in(sequences)
    # 20 of context and 6 branches of 2 fill a row exactly.
    assert (len(rows), rows.used) == (2, 64)


def test_tries_of_different_contexts_do_not_mix_when_they_need_not():
    """Two contexts cut into branches: each branch goes where its own context lies."""
    first, second = list(range(20)), list(range(1, 21))
    sequences = [sequence(f"{c}-{n}", [*c, 30 + n], [9]) for c in (first, second) for n in range(6)]
    rows = pack(sequences, 32)
    assert (len(rows), rows.used) == (2, 64)


def test_empty_rows_fill_a_microbatch():
    rows = pack(made(0), 64)
    part = rows.slice(len(rows) - 1, 4)
    assert len(part) == 4
    assert part.weights[1:].sum() == 0
    np.testing.assert_array_equal(part.reach[3], np.arange(1, 65))


def test_families_share_a_context_not_a_system_prompt():
    system = [7] * 10
    context = {name: np.random.default_rng(name).integers(0, 5, 40).tolist() for name in (1, 2)}
    sequences = [sequence(f"{n}", [*system, *context[1 + n % 2], 20 + n], [9]) for n in range(6)]
    assert sorted(sorted(family) for family in families(sequences, 16)) == [[0, 2, 4], [1, 3, 5]]


def test_family_over_the_limit_is_a_family_of_families():
    """All share a manual of 100 tokens: it is set aside; then pairs share a page, and the rest little."""
    manual, pages = [7] * 100, [[n] * 20 for n in range(4)]
    sequences = [sequence(f"{n}", [*manual, *pages[n % 4], 30 + n], [9]) for n in range(8)]
    (family,) = families(sequences, 3)
    assert sorted(sorted(member) for member in family) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    twins = [sequence(f"{n}", [1, 2, 3], [9]) for n in range(5)]
    assert sorted(families(twins, 3)[0]) == [[0], [1], [2], [3], [4]]


def write(folder, tokens, mask, offsets, ids):
    arrays = {
        "tokens": np.array(tokens, np.int32),
        "loss_mask": np.array(mask, bool),
        "offsets": np.array(offsets, np.int64),
    }
    save_file(arrays, folder / "sequences.safetensors")
    (folder / "sequences.json").write_text(json.dumps({"ids": ids}))


def test_files_are_read(tmp_path):
    write(tmp_path, [1, 2, 3, 4, 5], [0, 1, 0, 1, 1], [0, 2, 5], ["a", "b"])
    first, second = read_sequences(tmp_path)
    assert (first.id, first.tokens.tolist(), first.first_prediction) == ("a", [1, 2], 0)
    assert (second.id, second.tokens.tolist(), second.first_prediction) == ("b", [3, 4, 5], 0)


@pytest.mark.parametrize(
    ("mask", "offsets", "ids", "message"),
    [
        ([0, 1, 0, 0, 0], [0, 2, 5], ["a", "b"], "example b has no token to train on"),
        ([0, 1, 1, 1, 1], [0, 2, 5], ["a", "b"], "example b trains on its first token"),
        ([0, 1, 0, 0, 1], [0, 2, 5], ["a"], "3 offsets do not fit 1 ids and 5 tokens; build the dataset again"),
        ([0, 1, 0, 0, 1], [0, 2, 6], ["a", "b"], "3 offsets do not fit 2 ids and 5 tokens; build the dataset again"),
        ([0, 1, 0, 0], [0, 2, 5], ["a", "b"], "do not fit 2 ids"),
        ([], [0], [], "holds no sequence; build a dataset with examples"),
    ],
)
def test_files_that_are_wrong(tmp_path, mask, offsets, ids, message):
    write(tmp_path, [1, 2, 3, 4, 5][: len(mask)], mask, offsets, ids)
    with pytest.raises(ValueError, match=message):
        read_sequences(tmp_path)


def test_files_that_are_missing(tmp_path):
    with pytest.raises(ValueError, match="build the dataset again"):
        read_sequences(tmp_path)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_even_rows_are_no_more_and_no_longer(parts):
    random = np.random.default_rng(parts)
    sequences = [
        sequence(str(number), random.integers(0, 99, int(random.integers(50, 400))).tolist(), [1, 2, 3])
        for number in range(9)
    ]
    rows, even = pack(sequences, 1024), pack_evenly(sequences, 1024, parts)
    assert len(even) <= -(-len(rows) // parts) * parts
    assert even.tokens.shape[1] in row_lengths(1024)
    assert even.used == rows.used
    assert even.weights.sum() == rows.weights.sum() == 27


def test_two_devices_share_a_row():
    three = [sequence(str(number), [number] * 300, [1]) for number in range(3)]
    assert pack_evenly(three, 1024, 1).tokens.shape == (1, 1024)
    assert pack_evenly(three, 1024, 2).tokens.shape == (2, 768)


def test_lengths_of_rows_are_few():
    assert row_lengths(40) == [40]
    assert row_lengths(1000) == [256, 512, 768, 1000]
    assert row_lengths(4096) == list(range(512, 4097, 512))
    assert all(len(row_lengths(length)) <= 8 for length in range(32, 9000))
