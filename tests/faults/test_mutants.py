"""Each deliberate sabotage is caught: what ends right in the product ends wrong in the mutant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mutants import (
    MUTANTS,
    OK,
    Case,
    Change,
    DoesNotFit,
    Mutant,
    Theatre,
    play,
    play_all,
    theatre,
)


@pytest.fixture(scope="module")
def at() -> Iterator[Theatre]:
    """One world, in which one version after the other runs."""
    with theatre() as running:
        yield running


@pytest.fixture(scope="module")
def product(at: Theatre) -> dict[Case, str]:
    """How every case ends in the product as it is."""
    return play_all(at)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_caught(at: Theatre, product: dict[Case, str], mutant: Mutant) -> None:
    unmutated = [product[case] for case in mutant.cases]

    mutated = "; ".join(play(at, mutant).values())

    assert unmutated == [OK] * len(mutant.cases)
    assert mutant.shows in mutated


@pytest.mark.parametrize("times", [0, 2])
def test_a_mutant_that_no_longer_fits_the_code_says_so(tmp_path: Path, times: int) -> None:
    """A replacement that changes nothing, or more than was meant, would prove nothing."""
    package = tmp_path / "layers/linking/tiktok_linking"
    package.mkdir(parents=True)
    (package / "renewal.py").write_text("self.save()\n" * times)

    with pytest.raises(DoesNotFit, match=f"renewal.py holds this {times} times"):
        Change("renewal.py", "self.save()", "pass").apply(tmp_path)
