"""Training and answering of this tree against those of an earlier commit, on the embedded model.

    .venv/bin/python -m bench.before_after ef1710a [--rounds 3]

A change of the layer should cost no speed. The commit is checked out beside this tree, and both run the same work in
turns, each in a process of its own: SmolLM2-135M, rank 16 on all linears, bf16. Training: an update on two rows of
2,048, each four contexts of 300 tokens with three examples of 70 on each. Answering: 32 prompts, eight to a context of
600 tokens, 32 new tokens each. The tokens are random, which does not change the work. A figure is the median time of
the commit over that of this tree: above 1, this tree is faster.
"""

import argparse
import tempfile
from pathlib import Path

from bench.machine import describe_machine
from bench.trees import in_turns, print_figures

_VOCABULARY = 49152
# Runs in either tree, by what both have: no import of this package.
_WORK = """
import json, sys, time
from pathlib import Path
import jax, numpy as np
from jora_model.generation.engine import Engine, Request
from jora_model.model.load import load_model
from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import pack
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import GenerationSettings, LoraSettings
from jora_model.training.step import Trainer

base, vocabulary = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
draw = lambda count: random.integers(10, vocabulary, count).astype(np.int32)
examples = []
for context in range(8):
    prefix = draw(300)
    for number in range(3):
        tokens = np.append(prefix, draw(70)).astype(np.int32)
        examples.append(Sequence(f"{context}-{number}", tokens, np.arange(370) >= 340))
settings = TrainSettings(row_length=2048)
trainer = Trainer(load_model(base, lora=LoraSettings(rank=16, target_modules=("all-linear",))), settings, 99)
rows = pack(examples, 2048)

def update():
    sums = trainer.zero()
    for number in range(len(rows)):
        sums = trainer.accumulate(sums, rows.slice(number, 1), 0, number)
    jax.block_until_ready(trainer.apply(sums))

def timed(work, times):
    work()  # compiles
    seconds = []
    for _ in range(times):
        begun = time.monotonic()
        work()
        seconds.append(time.monotonic() - begun)
    return seconds

training = timed(update, 3)
del trainer
contexts = [draw(600) for _ in range(4)]
prompts = [np.append(context, draw(20)).astype(np.int32) for context in contexts for _ in range(8)]
engine = Engine(load_model(base), slots=16)

def answer():
    for number, prompt in enumerate(prompts):
        engine.submit(Request(prompt, GenerationSettings(max_new_tokens=32), (), draw=number))
    while not engine.idle:
        engine.step()

print(json.dumps({"training": training, "answering": timed(answer, 2)}))
"""


def main() -> None:
    """Print the figures."""
    from jora_model.formats.base import resolve_base
    from jora_model.formats.gguf_import import import_gguf

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(describe_machine("jax", "jaxlib"))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        import_gguf(resolve_base("embedded"), base)
        print_figures(in_turns(given.commit, given.rounds, _WORK, (str(base), str(_VOCABULARY))))


if __name__ == "__main__":
    main()
