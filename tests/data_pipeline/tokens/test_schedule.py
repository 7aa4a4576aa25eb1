"""Which samples a run reads, and how often: properties over made-up languages and mixes."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data_pipeline.tokens.mix_svg import mix_svg
from data_pipeline.tokens.mixture import MixRow, canary_passes, mix_lines, mixture
from data_pipeline.tokens.packing import steps
from data_pipeline.tokens.schedule import Schedule
from data_pipeline.tokens.tokens import Samples
from governance_hooks.plan import Mix, TokenCounts
from governance_hooks.training import Training

NATURAL = Mix()
UNIMAX = Mix(strategy="unimax", max_epochs=4)
TEMPERATURE = Mix(strategy="temperature", max_epochs=3, temperature_tenths=20)
LANGUAGES = ("eng", "eus", "spa", "zho")

Sizes = dict[str, list[int]]
"""Language -> lengths of its samples."""

SIZES = st.dictionaries(st.sampled_from(LANGUAGES), st.lists(st.integers(2, 40), min_size=1, max_size=25), min_size=1)


def samples_of(sizes: Sizes) -> Samples:
    """Samples without a file: schedules read lengths and languages only."""
    rows = sorted((f"{n:03d}", language, length) for language, lengths in sizes.items() for n, length in enumerate(lengths))
    random.Random(1).shuffle(rows)
    lengths = np.array([length for *_, length in rows], dtype=np.int32)
    nothing: Any = None
    return Samples(nothing, 0, b"", lengths, lengths // 2, [language for _, language, _ in rows], lengths)


def counts_of(sizes: Sizes) -> dict[str, TokenCounts]:
    return {language: TokenCounts(rows=len(lengths), tokens=sum(lengths), supervised=0, too_long=0) for language, lengths in sizes.items()}


def schedule(sizes: Sizes, mix: Mix, *, epochs: int = 1, **training: Any) -> tuple[Schedule, list[MixRow]]:
    rows = mixture(counts_of(sizes), mix, epochs=epochs)
    return Schedule(samples_of(sizes), rows, Training(sequence_tokens=64, sequences_per_step=2, epochs=epochs, **training)), rows


@given(sizes=SIZES, epochs=st.integers(1, 3), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_natural_proportions_read_every_sample_once_an_epoch_in_the_order_of_the_packer(sizes: Sizes, epochs: int, seed: int) -> None:
    made, _ = schedule(sizes, NATURAL, epochs=epochs, seed=seed)
    assert made.rounds == epochs
    found = [(step.round, step.sequences) for step in made.after(0)]
    plan = made.training
    lengths = made.samples.lengths.tolist()
    expected = [
        (epoch, step)
        for epoch in range(epochs)
        for step in steps(lengths, sequence_tokens=plan.sequence_tokens, sequences_per_step=plan.sequences_per_step, seed=seed, epoch=epoch)
    ]
    assert found == expected


@given(sizes=SIZES, mix=st.sampled_from([UNIMAX, TEMPERATURE]), epochs=st.integers(1, 3), seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_each_language_is_read_as_much_as_the_mix_says_and_its_samples_equally_often(sizes: Sizes, mix: Mix, epochs: int, seed: int) -> None:
    made, rows = schedule(sizes, mix, epochs=epochs, seed=seed)
    seen = Counter(sample for step in made.after(0) for sequence in step.sequences for sample in sequence)
    for row in rows:
        members = made._members[row.language].tolist()
        times = [seen[sample] for sample in members]
        read = sum(seen[sample] * int(made.samples.lengths[sample]) for sample in members)
        assert abs(read - row.budget) < max(sizes[row.language])
        assert max(times) - min(times) <= 1
        assert mix.max_epochs is not None
        assert max(times) <= mix.max_epochs
        assert not row.capped or set(times) == {mix.max_epochs}


@given(sizes=SIZES, mix=st.sampled_from([NATURAL, UNIMAX, TEMPERATURE]), start=st.integers(0, 30), most=st.one_of(st.none(), st.integers(1, 30)))
@settings(max_examples=80, deadline=None)
def test_a_schedule_begun_later_goes_on_exactly(sizes: Sizes, mix: Mix, start: int, most: int | None) -> None:
    made, _ = schedule(sizes, mix, epochs=2, max_steps=most)
    again, _ = schedule(sizes, mix, epochs=2, max_steps=most)
    every = list(made.after(0))
    assert [step.number for step in every] == list(range(1, made.total_steps + 1))
    assert made.total_steps == min(made.planned_steps, most or made.planned_steps)
    assert list(again.after(start)) == every[start:]


@given(sizes=SIZES, mix=st.sampled_from([NATURAL, UNIMAX, TEMPERATURE]))
@settings(max_examples=60, deadline=None)
def test_the_table_adds_up(sizes: Sizes, mix: Mix) -> None:
    rows = mixture(counts_of(sizes), mix, epochs=2)
    total = sum(map(sum, sizes.values()))
    assert sum(row.now for row in rows) == sum(row.share for row in rows) == 1
    assert sum(row.budget for row in rows) == (2 * total if mix is NATURAL else min(2 * total, total * (mix.max_epochs or 0)))
    if mix is NATURAL:
        assert all(row.now == row.share and row.epochs == 2 and not row.capped for row in rows)
    else:
        assert all(row.epochs <= Fraction(mix.max_epochs or 0) for row in rows)


CANARIES = st.lists(st.integers(2, 40), min_size=1, max_size=25)


def with_canaries(sizes: Sizes, canaries: list[int], mix: Mix, *, epochs: int, seed: int = 0) -> Schedule:
    both = sizes | {"zxx": canaries}
    rows = mixture(counts_of(both), mix, epochs=epochs)
    passes = canary_passes(mix, epochs=epochs)
    return Schedule(samples_of(both), rows, Training(sequence_tokens=64, sequences_per_step=2, epochs=epochs, seed=seed), canary_passes=passes)


@given(sizes=SIZES, canaries=CANARIES, mix=st.sampled_from([NATURAL, UNIMAX, TEMPERATURE]), epochs=st.integers(1, 3), seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_every_canary_is_read_once_an_epoch_or_once_in_a_mixed_run(sizes: Sizes, canaries: list[int], mix: Mix, epochs: int, seed: int) -> None:
    made = with_canaries(sizes, canaries, mix, epochs=epochs, seed=seed)
    members = set(made._members["zxx"].tolist())
    seen = [(step.round, sample) for step in made.after(0) for sequence in step.sequences for sample in sequence if sample in members]
    if mix is NATURAL:
        assert sorted(seen) == sorted((turn, member) for turn in range(epochs) for member in members)
    else:
        assert sorted(sample for _, sample in seen) == sorted(members)


@given(sizes=SIZES, canaries=CANARIES, mix=st.sampled_from([NATURAL, UNIMAX, TEMPERATURE]), epochs=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_canaries_take_no_part_of_the_mix_from_a_language(sizes: Sizes, canaries: list[int], mix: Mix, epochs: int) -> None:
    assert mixture(counts_of(sizes | {"zxx": canaries}), mix, epochs=epochs) == mixture(counts_of(sizes), mix, epochs=epochs)
    made = with_canaries(sizes, canaries, mix, epochs=epochs)
    plain, _ = schedule(sizes, mix, epochs=epochs)

    def read(found: Schedule) -> Counter[str]:
        numbers = (sample for step in found.after(0) for sequence in step.sequences for sample in sequence)
        return Counter(found.samples.languages[found.samples.codes[number]] for number in numbers)

    assert set(read(made)) == {*read(plain), "zxx"}
    assert made.rounds == plain.rounds


@given(sizes=SIZES, canaries=CANARIES, mix=st.sampled_from([NATURAL, UNIMAX, TEMPERATURE]), start=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_schedule_with_canaries_begun_later_goes_on_exactly(sizes: Sizes, canaries: list[int], mix: Mix, start: int) -> None:
    every = list(with_canaries(sizes, canaries, mix, epochs=2).after(0))
    assert list(with_canaries(sizes, canaries, mix, epochs=2).after(start)) == every[start:]


def test_unimax_reads_small_languages_more_and_a_budget_counts_tokens() -> None:
    sizes = {"eng": [10] * 100, "eus": [10] * 10}
    [eng, eus] = mixture(counts_of(sizes), UNIMAX, epochs=1)
    assert (eng.budget, eus.budget, eus.capped, eng.capped) == (700, 400, True, False)
    [eng, eus] = mixture(counts_of(sizes), Mix(strategy="unimax", max_epochs=4, budget_tokens=100), epochs=1)
    assert (eng.budget, eus.budget) == (50, 50)
    assert "capped" in mix_lines(mixture(counts_of(sizes), UNIMAX, epochs=1))[2]


def test_a_language_whose_rows_are_all_too_long_is_not_in_the_mix() -> None:
    counts = counts_of({"eng": [5, 6]}) | {"eus": TokenCounts(rows=0, tokens=0, supervised=0, too_long=3)}
    assert [row.language for row in mixture(counts, UNIMAX, epochs=1)] == ["eng"]


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "natural", "max_epochs": 4},
        {"strategy": "natural", "budget_tokens": 4},
        {"strategy": "natural", "temperature_tenths": 20},
        {"strategy": "unimax"},
        {"strategy": "unimax", "max_epochs": 4, "temperature_tenths": 20},
        {"strategy": "temperature", "max_epochs": 4},
        {"strategy": "temperature", "max_epochs": 4, "temperature_tenths": 9},
        {"strategy": "unimax", "max_epochs": 0},
        {"strategy": "unimax", "max_epochs": 4, "budget_tokens": 0},
        {"strategy": "unimax", "max_epochs": 4, "budget": 10},
        {"strategy": "sqrt"},
    ],
)
def test_a_mix_with_a_field_nothing_reads_or_without_one_it_needs_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Mix.model_validate(fields)


def test_the_drawing_says_every_number_as_text_and_holds_no_script() -> None:
    rows = mixture(counts_of({"eng": [10] * 100, "eus": [10] * 10}), UNIMAX, epochs=1)
    drawn = mix_svg(rows, "<script>alert(1)</script> & more")
    assert "<script" not in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    for word in ("<title", "<desc", "Basque", "9.1% → 36.4%", "4.00 times, capped", "prefers-color-scheme:dark", 'role="img"'):
        assert word in drawn
