"""The mutants' files are alive: each change still fits the code, and the tests that it names are there."""

import re

import pytest

from testing.mutants import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


def test_there_are_enough_and_of_each_package() -> None:
    assert len(MUTANTS) >= 25
    assert {mutant.file.split("/")[0] for mutant in MUTANTS} >= {"data", "jora_model", "tasks"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutant.mutated(text)
    assert changed != text and mutant.why
    compile(changed, mutant.file, "exec")
    for test in mutant.tests:
        file, _, name = test.partition("::")
        function = re.sub(r"\[.*\]$", "", name)
        assert not name or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), f"{test} does not exist"
