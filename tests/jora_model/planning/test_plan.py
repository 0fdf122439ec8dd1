"""Plans: of the program that trains, with the sizes of the real shards, refused in one line where they cannot be."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jora_model.formats.named_config import config_of, shipped_names
from jora_model.model.abstract import abstract_model
from jora_model.model.load import load_model
from jora_model.packing.tries import pack
from jora_model.planning.flops import ProgramFlops, model_flops, program_flops
from jora_model.planning.footprint import full_rows, measure
from jora_model.planning.longest import PROBES, STEP, largest_fit, longest_row, meshes
from jora_model.planning.plan_job import PlanAnswer, PlanJob
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import TrainSettings
from jora_model.spec.parameters import adapter_count, parameter_count
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training.step import Trainer
from testing.sequences import random_sequences
from testing.tiny_models import hf_folder

ROOT = Path(__file__).parents[3]
LORA = LoraSettings(rank=4, target_modules=("v_proj", "down_proj"))
DORA = LORA.model_copy(update={"use_dora": True})
MESHES = [MeshSettings(), MeshSettings(data=2, fsdp=2, tp=2)]
TRAINING = TrainSettings(row_length=128, rows_per_microbatch=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return hf_folder(tmp_path_factory.mktemp("base"))


def real_trainer(
    base: Path, mesh: MeshSettings, training: TrainSettings = TRAINING, lora: LoraSettings = LORA
) -> Trainer:
    placed = make_mesh(mesh) if mesh.devices > 1 else None
    model = load_model(base, lora=lora, mesh=placed, compute_dtype=training.compute_dtype)
    return Trainer(model, training, 2)


def held(tree: object) -> int:
    """Bytes on the first device, from the arrays themselves."""
    first = jax.devices()[0]
    shards = [shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards if shard.device == first]
    return sum(shard.data.nbytes for shard in shards)


def instructions(program: jax.stages.Compiled) -> list[str]:
    """Without where in our sources each comes from: planning and training ask for the same program in two places."""
    lines = re.sub(r", metadata=\{[^}]*\}", "", program.as_text()).splitlines()
    return [line for line in lines if " = " in line or line.endswith("{")]


@pytest.mark.parametrize(
    ("mesh", "dtype", "lora"),
    [
        (MESHES[1], "bfloat16", LORA),
        pytest.param(MESHES[0], "float32", LORA, marks=pytest.mark.slow),
        pytest.param(MESHES[0], "bfloat16", LORA, marks=pytest.mark.slow),
        pytest.param(MESHES[1], "float32", LORA, marks=pytest.mark.slow),
        pytest.param(MESHES[1], "bfloat16", DORA, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_planned_program_is_the_one_that_trains(base, mesh, dtype, lora):
    """Instruction for instruction, of a real trainer that has trained and of one without a single array."""
    training = TRAINING.model_copy(update={"compute_dtype": dtype})
    trainer = real_trainer(base, mesh, training, lora)
    trained_rows = pack(random_sequences(), training.row_length).slice(0, training.rows_per_microbatch)
    trainer.apply(trainer.accumulate(trainer.zero(), trained_rows, 0, 0))
    placed = make_mesh(mesh) if mesh.devices > 1 else None
    planner = Trainer(abstract_model(ModelConfig.read(base), lora, placed, dtype), training, 2)
    planned, rows = planner.lower(full_rows(training)), full_rows(training)
    for name, lowered in trainer.lower(rows).items():
        assert planned[name].as_text() == lowered.as_text()
    # And what the trainer really ran, which it lowered from its arrays.
    for name, program in trainer.programs.compiled.items():
        assert instructions(program) == instructions(planned[name.split()[0]].compile())


@pytest.mark.parametrize(("mesh", "lora"), [*((mesh, LORA) for mesh in MESHES), (MESHES[1], DORA)], ids=str)
def test_bytes_are_those_of_the_shards(base, mesh, lora):
    trainer = real_trainer(base, mesh, lora=lora)
    config = ModelConfig.read(base)
    held_by_all = sum(leaf.size for leaf in jax.tree.leaves(trainer.state.adapter))
    assert held_by_all == adapter_count(config, lora.rank, lora.target_modules, lora.use_dora)
    found = measure(config, lora, mesh, TRAINING)
    sums = trainer.zero()
    assert found.weights == held(trainer.frozen)
    assert found.adapter == held(trainer.state.adapter)
    assert found.optimizer == held(trainer.state.optimizer)
    assert found.sums == held(sums)
    # Six numbers a token; for the one block of a row its one tile (three numbers) and two ends; and the row's number.
    numbers = 6 * TRAINING.row_length + 3 + 2 + 1
    assert found.rows == TRAINING.rows_per_microbatch * numbers * 4 // (mesh.data * mesh.fsdp)
    # The compiler's own account of the arguments: those, and three numbers for the dropout. Without dropout it leaves
    # these out, and the rows' numbers.
    arguments = trainer.lower(full_rows(TRAINING))["accumulate"].compile().memory_analysis().argument_size_in_bytes
    parts = found.weights + found.adapter + found.sums + found.rows
    assert -4 * TRAINING.rows_per_microbatch <= arguments - parts <= 16
    assert found.temporaries > 0


@pytest.mark.slow
def test_temporaries_grow_with_the_row_and_shrink_with_remat(base):
    config = ModelConfig.read(base)

    def temporaries(**changes: object) -> int:
        return measure(config, LORA, MeshSettings(), TRAINING.model_copy(update=changes)).temporaries

    kept = [temporaries(row_length=512, remat=remat) for remat in ("full", "dots", "none")]
    assert temporaries(remat="full") < kept[0] < kept[1] < kept[2]


@pytest.mark.slow
def test_operations_are_counted(base):
    """Without layers computed again the program does what the model needs, and the masked half of its tiles."""
    config = ModelConfig.read(base)
    training = TrainSettings(row_length=512, remat="none")
    found = measure(config, LORA, MeshSettings(), training)
    assert found.model_flops == model_flops(config, LORA, 512).per_token
    # By hand: 4 operations a frozen weight, 6 a trained one, 12 a channel and visible key.
    frozen = 48 * 64 * 2 + 48 * 32 * 2 + 3 * 48 * 80
    trained = 4 * (32 + 48) + 4 * (80 + 48)
    assert found.model_flops == 3 * (4 * frozen + 6 * trained + 12 * 64 * 513 / 2)
    assert found.answer_flops == 4 * 104 * 48
    # Blocks of 256 see 256 and 512 keys, 384 on average instead of 256.5, and the sums of their weights are another row
    # of values; the backward pass computes the scores once more, and the adapters' inner states and their errors.
    attention = 14 * 64 * 384 + 2 * 4 * 384
    # Queries and keys are turned forward, again backward, and turned back: 2 operations for each of a head's 16.
    turns = 3 * 2 * 16 * (64 + 32)
    assert found.program_flops == 3 * (4 * frozen + 6 * trained + 2 * trained + attention + turns)
    dots, full = (
        measure(config, LORA, MeshSettings(), training.model_copy(update={"remat": remat})).program_flops
        for remat in ("dots", "full")
    )
    assert dots == found.program_flops
    assert 3 * 2 * 0.8 * frozen < full - dots < 3 * 2 * (frozen + trained)


def test_loops_are_counted_by_their_turns():
    def run(x, w, turns):
        def repeat(x, w):
            with jax.named_scope("repeated"):
                return jax.lax.fori_loop(0, turns, lambda _, x: x @ w, x)

        x, _ = jax.lax.scan(lambda x, w: (repeat(x @ w, w), None), x, w)
        return jax.lax.fori_loop(0, turns, lambda _, x: x @ w[0], x)

    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in ((8, 16), (5, 16, 16))]
    text = jax.jit(run).lower(*shapes, jax.ShapeDtypeStruct((), np.int32)).compile().as_text()
    one = 2 * 8 * 16 * 16
    assert program_flops(text, {"repeated": 1.5}) == ProgramFlops(fixed=5 * (1 + 1.5) * one, per_turn=one)


@pytest.mark.parametrize(
    ("name", "weights", "heads"),
    [
        ("llama-2-7b", 6_738_415_616, (32, 32)),
        ("llama-2-13b", 13_015_864_320, (40, 40)),
        ("llama-2-70b", 68_976_648_192, (64, 8)),
        ("llama-3.1-8b", 8_030_261_248, (32, 8)),
        ("mistral-7b-v0.3", 7_248_023_552, (32, 8)),
        ("qwen3-8b", 8_190_735_360, (32, 8)),
        ("qwen3-32b", 32_762_123_264, (64, 8)),
        ("gemma-3-12b", 11_766_034_176, (16, 8)),
        ("phi-4-mini", 3_836_021_760, (24, 8)),
    ],
)
def test_shipped_configs(name, weights, heads):
    """The published numbers of weights."""
    config = config_of(name)
    assert parameter_count(config) == weights
    assert (config.num_heads, config.num_kv_heads) == heads
    assert name in shipped_names()


def test_models_by_folder_file_and_embedded(base):
    assert config_of(str(base)) == config_of(str(base / "config.json")) == ModelConfig.read(base)
    assert config_of("embedded").num_layers == 30


def test_unknown_model(tmp_path):
    with pytest.raises(ValueError, match=r"unknown model 'llama-3'; allowed are gemma-3-12b, .*, qwen3-8b, a config"):
        config_of("llama-3")
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        config_of(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"must hold a JSON object; it holds list"):
        config_of(str(tmp_path / "config.json"))


def test_largest_fit_equals_looking_at_every_row():
    """Straight, bent and flat lines; edges below the shortest row, above the limit and on it."""
    random = np.random.default_rng(0)
    for _ in range(300):
        a, b = random.uniform(0, 2000), random.uniform(0, 3)
        c = random.choice([0.0, 1e-4])
        memory, limit = random.uniform(0, 60_000), int(random.choice([256, 700, 4096, 32_768]))
        looked: list[int] = []

        def size(length: int, a=a, b=b, c=c, looked=looked) -> int:
            looked.append(length)
            return int(a + b * length + c * length**2)

        known = {length: size(length) for length in PROBES}
        found = largest_fit(size, known, int(memory), limit)
        every = [length for length in range(STEP, limit + 1, STEP) if size(length) <= int(memory)]
        assert found == max(every, default=0)


def test_meshes_divide_the_model():
    config = config_of("embedded")  # 9 query and 3 key/value heads
    assert meshes(config, 3) == [MeshSettings(fsdp=3), MeshSettings(tp=3)]
    assert meshes(config, 2) == [MeshSettings(fsdp=2)]


@pytest.mark.slow
def test_longest_row_fits_and_the_next_does_not(base):
    config = ModelConfig.read(base)
    training = TrainSettings()
    memory = measure(config, LORA, MeshSettings(), TrainSettings(row_length=768)).total
    one, two = (longest_row(config, LORA, training, devices, memory, 1280) for devices in (1, 2))
    assert one.footprint is not None
    assert one.footprint.row_length == 768
    assert one.needed == one.footprint.total == memory
    assert not one.capped
    assert two.footprint is not None
    assert two.footprint.row_length > 768
    assert two.footprint.rows_per_microbatch == two.mesh.fsdp
    assert longest_row(config, LORA, training, 1, memory, 700).capped
    with pytest.raises(ValueError, match="no mesh of 5 devices divides the model"):
        longest_row(config, LORA, training, 5, memory, 4096)


def run_plan(folder: Path, job: PlanJob) -> tuple[int, str]:
    path = folder / "job.json"
    path.write_text(job.model_dump_json())
    command = [sys.executable, "-m", "jora_model.planning.plan", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.slow
def test_a_process_has_its_own_devices(base, tmp_path):
    """Sixteen, which this one lacks; and key/value heads that are too few are named."""
    few = hf_folder(tmp_path / "few", num_attention_heads=8, num_key_value_heads=2, num_hidden_layers=2)
    output = tmp_path / "answer.json"
    job = PlanJob(
        model=str(few),
        output=str(output),
        mesh=MeshSettings(fsdp=2, tp=8),
        training=TrainSettings(row_length=64, rows_per_microbatch=2),
    )
    assert run_plan(tmp_path, job) == (0, "")
    answer = PlanAnswer.model_validate_json(output.read_bytes())
    assert answer.footprint is not None
    assert answer.notes == ("2 key/value heads are fewer than tp=8: every device holds all of them",)
    # Kernels of k and v whole over tp, all others split by 16, norms whole.
    layer = (2 * 128 * 48 + 3 * 80 * 48) // 16 + 2 * 32 * 48 // 2 + 2 * 48
    assert answer.footprint.weights == 2 * (2 * layer + 2 * 104 * 48 // 16 + 48)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mesh": {"tp": 3}}, "error: mesh tp=3 does not divide the model's attention heads (4); allowed are 1, 2, 4"),
        ({"mesh": {"data": 2}}, "error: training.rows_per_microbatch=1 is no multiple of data x fsdp = 2; set it to 2"),
        ({"model": "llama-9"}, "error: unknown model 'llama-9'; allowed are"),
        pytest.param(
            {"device_memory": 1000, "devices": [1]},
            "error: no row fits: on 1 device the shortest needs 0.00 GB",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_refusals_are_one_line(base, tmp_path, changes, message):
    job = {"model": str(base), "output": str(tmp_path / "answer.json"), "training": {"row_length": 64}, **changes}
    code, line = run_plan(tmp_path, PlanJob.model_validate_json(json.dumps(job)))
    assert code == 2
    assert line.startswith(message)
    assert not (tmp_path / "answer.json").exists()
