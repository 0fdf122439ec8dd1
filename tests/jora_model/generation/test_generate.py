"""Greedy tokens equal transformers'; draws depend on no batch; little is compiled; the job runs as a process."""

import functools
import json
import subprocess
import sys
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from jora_model.generation import decode_programs
from jora_model.generation.decode import Decoder
from jora_model.generation.generate import generate
from jora_model.generation.prompt_files import read_tokens, write_tokens
from jora_model.model.load import load_model
from jora_model.packing.prompt_rows import bucket_length, pack_row
from jora_model.spec.job import GenerateJob
from jora_model.spec.settings import ALL_LINEAR, GenerationSettings, LoraSettings
from testing.adapters import nonzero_adapter
from testing.tiny_models import VOCAB, hf_folder, hf_model
from testing.transformers_answers import greedy_tokens

QUESTIONS = [
    "What is the capital of France? Answer briefly.",
    "Write the numbers from one to twenty in words.",
    "Here is a long story. " + "The fox went to the river and came back to the hill. " * 12 + "Where did the fox go?",
    "Hi",
    "List three animals that live in the sea, one on each line.",
]


def random_prompts(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(3, VOCAB, length, dtype=np.int32) for length in lengths]


@pytest.fixture
def tiny(tmp_path):
    hf_folder(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.slow
def test_greedy_equals_transformers_on_smollm2(smollm2):
    """float32 on both sides; a batch of uneven lengths; some answers end by themselves, others are cut."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    prompts = []
    for question in QUESTIONS:
        chat = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        prompts.append(np.array(ids, np.int32))
    settings = GenerationSettings(max_new_tokens=12, batch_size=3)
    ours = generate(load_model(smollm2, compute_dtype=jnp.float32), prompts, settings, [2])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    for prompt, answer in zip(prompts, ours, strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(theirs, prompt, 12, eos=2))
    assert tokenizer.decode(ours[0], skip_special_tokens=True) == "The capital of France is Paris."
    assert ours[0][-1] == 2
    assert len(ours[1]) == 12


@pytest.mark.parametrize("batch_size", [1, 4])
def test_greedy_equals_transformers_with_odd_constants(tiny, batch_size):
    """Lengths on both sides of a bucket's edge, one token among them; results come in the order of the prompts."""
    prompts = random_prompts([5, 64, 1, 65, 17, 70])
    settings = GenerationSettings(max_new_tokens=9, batch_size=batch_size)
    finished = []
    ours = generate(load_model(tiny, compute_dtype=jnp.float32), prompts, settings, [], finished.append)
    for prompt, answer in zip(prompts, ours, strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(hf_model(), prompt, 9))
        assert answer.dtype == np.int32
    assert sum(finished) == len(prompts)


@pytest.mark.parametrize("penalty", [1.0, 1.4, 0.6])
def test_greedy_with_a_repetition_penalty_equals_transformers(tiny, penalty):
    """The penalty counts the prompt, and each answer has its own."""
    prompts = random_prompts([30, 64, 3])
    settings = GenerationSettings(max_new_tokens=12, repetition_penalty=penalty)
    ours = generate(load_model(tiny, compute_dtype=jnp.float32), prompts, settings, [])
    for prompt, answer in zip(prompts, ours, strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(hf_model(), prompt, 12, repetition_penalty=penalty))


@pytest.mark.parametrize(("frequency", "presence"), [(0.2, 0.0), (0.0, 0.5), (-0.3, 2.0)])
def test_greedy_with_penalties_on_the_answer_equals_transformers(tiny, frequency, presence):
    prompts = random_prompts([30, 64, 3])

    def penalize(tokens, scores, *, length):
        """vLLM's formula: the answer's tokens alone count."""
        times = torch.bincount(tokens[0, length:], minlength=scores.shape[-1])
        return scores - frequency * times - presence * (times > 0)

    settings = GenerationSettings(max_new_tokens=24, frequency_penalty=frequency, presence_penalty=presence)
    model = load_model(tiny, compute_dtype=jnp.float32)
    ours = generate(model, prompts, settings, [])
    for prompt, answer in zip(prompts, ours, strict=True):
        processor = functools.partial(penalize, length=len(prompt))
        np.testing.assert_array_equal(answer, greedy_tokens(hf_model(), prompt, 24, logits_processor=[processor]))
    plain = generate(model, prompts, GenerationSettings(max_new_tokens=24), [])
    assert any(not np.array_equal(one, other) for one, other in zip(plain, ours, strict=True))


def test_a_prompt_of_one_token_is_not_padding(tiny):
    """Beside one of 256 tokens, and as the last of a row, at position 256 where a block of queries begins."""
    model = load_model(tiny, compute_dtype=jnp.float32)
    prompts = random_prompts([256, 1])
    for prompt, answer in zip(prompts, generate(model, prompts, GenerationSettings(max_new_tokens=4), []), strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(hf_model(), prompt, 4))
    decoder = Decoder(model, slots=2)
    row = pack_row([prompts[1]] * 257)
    assert row.ends[-1] == 256
    logits, _, _ = decoder.prefill(row)
    alone, _, _ = decoder.prefill(pack_row([prompts[1]]))
    np.testing.assert_allclose(logits[256], alone[0], rtol=1e-5, atol=1e-5)


def test_unmerged_adapter_equals_peft(tiny, tmp_path):
    import peft

    lora = LoraSettings(rank=3, alpha=7.5, target_modules=ALL_LINEAR)
    nonzero_adapter(tmp_path / "adapter", tiny, lora)
    prompts = random_prompts([12, 30])
    model = load_model(tiny, adapter=tmp_path / "adapter", compute_dtype=jnp.float32)
    ours = generate(model, prompts, GenerationSettings(max_new_tokens=12), [])
    theirs = peft.PeftModel.from_pretrained(hf_model(), tmp_path / "adapter").eval()
    for prompt, answer in zip(prompts, ours, strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(theirs, prompt, 12))
    base = generate(load_model(tiny, compute_dtype=jnp.float32), prompts, GenerationSettings(max_new_tokens=12), [])
    assert any(not np.array_equal(one, two) for one, two in zip(base, ours, strict=True))


def test_an_end_token_ends_its_own_answer_only(tiny):
    model = load_model(tiny, compute_dtype=jnp.float32)
    prompts = random_prompts([20, 30, 40])
    settings = GenerationSettings(max_new_tokens=10)
    whole = generate(model, prompts, settings, [])
    end = int(whole[0][3])
    for before, after in zip(whole, generate(model, prompts, settings, [end]), strict=True):
        places = np.flatnonzero(before == end)
        # The end token itself belongs to the answer.
        np.testing.assert_array_equal(after, before[: places[0] + 1] if len(places) else before)


def test_draws_do_not_depend_on_the_batch(tiny):
    model = load_model(tiny, compute_dtype=jnp.float32)
    prompts = random_prompts([20, 30, 70, 41, 5])

    def sample(**changes):
        settings = {"max_new_tokens": 12, "temperature": 1.5, "top_k": 40, "top_p": 0.95, **changes}
        return [tuple(answer.tolist()) for answer in generate(model, prompts, GenerationSettings(**settings), [])]

    first = sample(batch_size=4)
    assert sample(batch_size=2) == first
    assert sample(batch_size=1) == first
    for change in ({"seed": 1}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.1}):
        assert sample(**change) != first, change
    greedy = sample(temperature=0.0, top_k=None, top_p=None)
    assert sample(top_k=1) == greedy


def test_compiled_once_for_each_shape(tiny, monkeypatch, request):
    traced = Counter()

    def counted(name):
        function = getattr(decode_programs, name)

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            traced[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(decode_programs, name, wrapper)

    for name in ("_start_row", "_row_layer", "_start", "_queries", "_over_rows", "_finish_layer"):
        counted(name)
    decode_programs.programs.cache_clear()
    request.addfinalizer(decode_programs.programs.cache_clear)
    model = load_model(tiny)
    for lengths in ([3, 50], [10, 20], [65, 70]):
        generate(model, random_prompts(lengths), GenerationSettings(max_new_tokens=4), [])
    # Once for all layers; a step does not depend on the row's length but where it reads it.
    assert traced == {
        "_start_row": 2,
        "_row_layer": 2,
        "_start": 1,
        "_queries": 1,
        "_over_rows": 2,
        "_finish_layer": 1,
    }


def test_buckets_hold_their_prompts_and_waste_a_fifth_at_most():
    lengths = np.arange(65, 5000)
    buckets = np.array([bucket_length(int(length)) for length in lengths])
    assert (buckets >= lengths).all()
    assert (buckets <= lengths * 1.25).all()
    assert len(set(buckets)) < 30
    assert bucket_length(1) == bucket_length(64) == 64


def test_bf16_stays_close_to_float32(tiny):
    """Logits of a row of two prompts and of three steps, teacher-forced."""
    prompts = random_prompts([30, 17])
    found = []
    for dtype in (jnp.bfloat16, jnp.float32):
        decoder = Decoder(load_model(tiny, compute_dtype=dtype), slots=2)
        packed = pack_row(prompts)
        logits, _, row = decoder.prefill(packed)
        seen = [np.asarray(logits)]
        groups = decoder.group([(row, dict(enumerate(packed.ends.tolist())))])
        for step, tokens in enumerate(random_prompts([2, 2, 2], seed=3)):
            ages = np.full(2, step + 1, np.int32)
            logits, _ = decoder.step(tokens, np.array([30, 17], np.int32) + step, np.zeros(2, np.int32), ages, groups)
            seen.append(np.asarray(logits))
        found.append(np.stack(seen))
    assert np.abs(found[0] - found[1]).max() < 0.1 * np.abs(found[1]).max()


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([[3], []], {}, "prompt 1 has no token"),
        ([[3] * 500], {"max_new_tokens": 13}, "prompt 0 has 500 tokens.*more than the 512 positions allowed"),
    ],
)
def test_refuses(tiny, prompts, settings, message):
    arrays = [np.array(prompt, np.int32) for prompt in prompts]
    with pytest.raises(ValueError, match=message):
        generate(load_model(tiny), arrays, GenerationSettings(**settings), [2])


def run(job_file):
    command = [sys.executable, "-m", "jora_model.generation.generate", str(job_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_job_as_a_process(tiny, tmp_path):
    prompts = random_prompts([20, 7, 33])
    write_tokens(tmp_path / "prompts", "prompts", ["a", "b", "ç"], prompts)
    settings = GenerationSettings(max_new_tokens=6, batch_size=2)
    expected = generate(load_model(tiny, compute_dtype=jnp.float32), prompts, settings, [2])
    job = GenerateJob(
        base=str(tiny),
        prompts=str(tmp_path / "prompts"),
        output=str(tmp_path / "answers"),
        end_ids=(2,),
        compilation_cache=str(tmp_path / "xla"),
        compute_dtype="float32",
        generation=settings,
    )
    job_file = tmp_path / "job.json"
    job_file.write_text(job.model_dump_json())
    done = run(job_file)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "3/3" in done.stderr
    assert any((tmp_path / "xla").iterdir())
    ids, answers = read_tokens(tmp_path / "answers", "answers")
    assert ids == ["a", "b", "ç"]
    assert json.loads((tmp_path / "answers" / "answers.json").read_text())["overruled"] == [None] * 3
    for answer, other in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer, other)
    written = (tmp_path / "answers" / "answers.safetensors").read_bytes()

    (tmp_path / "prompts" / "prompts.json").write_text(json.dumps({"ids": ["a"]}))
    failed = run(job_file)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert "4 offsets do not fit 1 ids" in failed.stderr.splitlines()[-1]
    assert (tmp_path / "answers" / "answers.safetensors").read_bytes() == written


def test_prompt_files_are_the_same_bytes_and_refuse_damage(tmp_path):
    pieces = random_prompts([3, 0, 5])
    for name in ("one", "two"):
        write_tokens(tmp_path / name, "prompts", ["x", "y", "z"], pieces)
    ids, read = read_tokens(tmp_path / "one", "prompts")
    assert ids == ["x", "y", "z"]
    for piece, other in zip(pieces, read, strict=True):
        np.testing.assert_array_equal(piece, other)
    file = "prompts.safetensors"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    write_tokens(tmp_path / "none", "prompts", [], [])
    assert read_tokens(tmp_path / "none", "prompts") == ([], [])
    with pytest.raises(ValueError, match=r"must hold answers\.safetensors and answers\.json"):
        read_tokens(tmp_path / "one", "answers")
    (tmp_path / "one" / file).write_bytes(b"no")
    with pytest.raises(ValueError, match="is damaged"):
        read_tokens(tmp_path / "one", "prompts")
