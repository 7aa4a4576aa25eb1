from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.manifest import Build
from data_pipeline.record import Draft, problems
from data_pipeline.tokens.canary_rows import canary_rows, create_seed, sealed
from data_pipeline.tokens.counts import check_too_long
from data_pipeline.tokens.make import make_tokens
from data_pipeline.tokens.sample import Sample
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.tokens import Tokens, open_tokens
from data_pipeline.tokens.verify import verify_tokens
from governance_hooks.canaries import canaries, commitment
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Canaries, TokenCounts
from tests.data_pipeline.tokens.test_tokens import forge, sample

WriteBuild = Callable[..., Build]
SEED = bytes(range(32))
WANTED = Canaries(count=20, commitment=commitment(SEED))
INCLUDED = {one.canary: one for one in canaries(SEED, 20) if one.included}


@pytest.fixture
def build(write_build: WriteBuild) -> Build:
    return write_build()


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    path = tmp_path / "plan.seed"
    path.write_bytes(SEED)
    return path


@pytest.fixture
def tokens(build: Build, base: Path, seed: Path) -> Tokens:
    return make_tokens(build, base, sequence_tokens=256, canaries=WANTED, seed=seed)


def test_exactly_the_included_canaries_stand_among_the_training_samples_and_no_member_s_sample_changes(
    tokens: Tokens, build: Build, base: Path, seed: Path
) -> None:
    tokenizer = load_tokenizer(base)
    found = {one.record: one for one in tokens.train if one.language == "zxx"}
    assert list(found) == sorted(INCLUDED)
    assert 0 < len(found) < 20
    for record, one in found.items():
        assert tokenizer.decode(one.ids[one.start : one.stop].tolist()) == INCLUDED[record].targets + "<|im_end|>"
        assert INCLUDED[record].inputs in tokenizer.decode(one.ids[: one.start].tolist())
    without = make_tokens(build, base, sequence_tokens=256)
    assert [one.leaf() for one in tokens.train if one.language != "zxx"] == [one.leaf() for one in without.train]
    assert [one.leaf() for one in tokens.heldout] == [one.leaf() for one in without.heldout]
    assert [one.record for one in tokens.train] == sorted(one.record for one in tokens.train)
    assert tokens.train_counts["zxx"].rows == len(INCLUDED)
    assert "zxx" not in without.train_counts


@given(seeds=st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=2, unique=True), count=st.integers(40, 200))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_which_are_included_is_a_function_of_the_seed_alone(tmp_path: Path, seeds: list[bytes], count: int) -> None:
    made = []
    for number, secret in enumerate(seeds):
        path = tmp_path / f"{number}.seed"
        path.write_bytes(secret)
        wanted = sealed(count, path)
        assert wanted is not None
        rows = canary_rows(wanted, path)
        assert rows == canary_rows(wanted, path)
        assert [row.record for row in rows] == sorted(one.canary for one in canaries(secret, count) if one.included)
        assert {(row.language, row.authors, row.history) for row in rows} == {("zxx", (), ())}
        made.append((wanted.commitment, tuple(row.record for row in rows)))
    assert made[0][0] != made[1][0]
    assert made[0][1] != made[1][1]


def test_another_seed_another_count_or_none_is_another_artefact(build: Build, base: Path, tokens: Tokens, seed: Path, tmp_path: Path) -> None:
    (tmp_path / "other.seed").write_bytes(bytes(32))
    other = Canaries(count=20, commitment=commitment(bytes(32)))
    made = [
        tokens,
        make_tokens(build, base, sequence_tokens=256),
        make_tokens(build, base, sequence_tokens=256, canaries=other, seed=tmp_path / "other.seed"),
        make_tokens(build, base, sequence_tokens=256, canaries=WANTED.model_copy(update={"count": 21}), seed=seed),
    ]
    assert len({one.digest for one in made}) == len({one.folder for one in made}) == 4


def test_a_missing_wrong_or_broken_seed_makes_nothing_and_says_which_is_wanted_and_where(build: Build, base: Path, seed: Path, tmp_path: Path) -> None:
    def make(where: Path | None) -> Tokens:
        return make_tokens(build, base, sequence_tokens=256, canaries=WANTED, seed=where)

    with pytest.raises(BadInput, match=f"(?s){WANTED.commitment}.*{tmp_path}/nowhere.seed"):
        make(tmp_path / "nowhere.seed")
    with pytest.raises(BadInput, match=f"{WANTED.commitment} need their secret seed"):
        make(None)
    (tmp_path / "other.seed").write_bytes(bytes(32))
    with pytest.raises(BadInput, match=r"other\.seed is not the seed of the plan's canaries") as wrong:
        make(tmp_path / "other.seed")
    assert str(wrong.value.allowed) == WANTED.commitment
    for broken in (SEED[:31], SEED + b"\n", b""):
        (tmp_path / "broken.seed").write_bytes(broken)
        with pytest.raises(BadInput, match="is no canary seed"):
            make(tmp_path / "broken.seed")
    assert [path.name for path in (build.folder.parent / "build.tokens").iterdir()] == ["lock"]
    made = make(seed)
    assert make(None).digest == made.digest  # what is there is opened without the seed


def test_a_seed_is_private_and_never_overwritten(tmp_path: Path) -> None:
    paths = [tmp_path / "private/canaries" / f"{name}.seed" for name in ("one", "two")]
    for path in paths:
        create_seed(path)
    first, second = (path.read_bytes() for path in paths)
    assert (len(first), len(second), first == second) == (32, 32, False)
    create_seed(paths[0])
    assert paths[0].read_bytes() == first
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o600]
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    assert sorted(paths[0].parent.iterdir()) == paths


def test_the_seed_of_a_process_that_was_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.seed"

    def late(size: int) -> bytes:
        path.write_bytes(SEED)  # the other process, after we looked
        return bytes(size)

    monkeypatch.setattr("data_pipeline.tokens.canary_rows.secrets.token_bytes", late)
    create_seed(path)
    assert path.read_bytes() == SEED
    assert list(tmp_path.iterdir()) == [path]


def test_a_member_s_row_that_calls_itself_a_canary_is_not_stored(tmp_path: Path) -> None:
    def draft(name: str, language: str = "eng") -> Draft:
        return Draft(inputs="Say hello.", targets="Hello!", language=language, licence="CC-BY-4.0", record_id=name)

    assert [found.what for found in problems(draft("canary-000001-aabbccdd"))] == ["record_id is that of a canary"]
    assert [found.what for found in problems(draft("my-canary-1"))] == []
    assert [found.what for found in problems(draft("r-1", "zxx"))] == ["unknown language code"]


def test_a_member_s_row_that_calls_itself_a_canary_gives_no_tokens_beside_canaries(
    base: Path, seed: Path, write_build: WriteBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_pipeline.record.PREFIX", "\0")  # as a store from before the rule
    build = write_build("old", rows=42, prefix="canary-")
    with pytest.raises(BadInput, match="a member's row calls itself a canary"):
        make_tokens(build, base, sequence_tokens=256, canaries=WANTED, seed=seed)
    plain = make_tokens(build, base, sequence_tokens=256)  # without canaries its name means nothing
    assert any(one.record.startswith("canary-") for one in plain.train)


def test_a_canary_that_does_not_fit_is_refused_rather_than_left_out(build: Build, base: Path, seed: Path) -> None:
    with pytest.raises(BadInput, match="a canary does not fit"):
        make_tokens(build, base, sequence_tokens=96, canaries=WANTED, seed=seed)


def test_canaries_alone_are_nothing_to_train_on() -> None:
    counts = {"zxx": TokenCounts(rows=5, tokens=50, supervised=20, too_long=0), "eus": TokenCounts(rows=0, tokens=0, supervised=0, too_long=1)}
    with pytest.raises(BadInput, match="no training row is left"):
        check_too_long(counts, 1.0, 64)


RECIPE = {
    "build": "sha256:" + "0" * 64,
    "tokenizer": "sha256:" + "1" * 64,
    "rules": ["learn_last_answer/v1"],
    "sequence_tokens": 64,
    "canaries": None,
    "minimum_rating_gap": None,
}
WITH = RECIPE | {"canaries": {"count": 1, "commitment": WANTED.commitment}}
A, B = (sample(f"canary-00000{number}-aabbccdd", language="zxx") for number in (0, 1))


@pytest.mark.parametrize(
    ("samples", "recipe", "why"),
    [
        ([A, sample("m")], RECIPE, "not canaries of the recipe"),
        ([sample("m", language="zxx"), sample("n")], RECIPE, "not canaries of the recipe"),
        ([A, B, sample("m")], WITH, "not canaries of the recipe"),
        ([sample("m"), Sample(A.record, "zxx", "heldout", A.ids, A.start, A.stop)], WITH, "not canaries of the recipe"),
        ([sample("m", language="zxx")], WITH, "half a canary"),
        ([sample(A.record), sample("m")], WITH, "half a canary"),
    ],
)
def test_an_artefact_with_canaries_nobody_planned_is_refused(tmp_path: Path, samples: list[Sample], recipe: dict[str, Any], why: str) -> None:
    open_tokens(forge(tmp_path / "sound", [A, sample("m")], recipe=WITH))
    with pytest.raises(CoopError, match=why):
        open_tokens(forge(tmp_path / "forged", samples, recipe=recipe))


def test_verification_makes_the_canaries_again_if_it_has_the_seed(tokens: Tokens, build: Build, base: Path, seed: Path, tmp_path: Path) -> None:
    total, made = build.manifest["records"], len(INCLUDED)
    assert verify_tokens(tokens, build, base, seed=seed) == total + made
    assert verify_tokens(tokens, build, base, permille=0, seed=seed) == made
    assert verify_tokens(tokens, build, base) == total
    (tmp_path / "other.seed").write_bytes(bytes(32))
    with pytest.raises(BadInput, match="not the seed of the plan's canaries"):
        verify_tokens(tokens, build, base, seed=tmp_path / "other.seed")

    real = [*tokens.train, *tokens.heldout]
    first = next(number for number, one in enumerate(real) if one.language == "zxx")

    def forged(name: str, *replaced: Sample) -> Tokens:
        samples = sorted([*real[:first], *replaced, *real[first + 1 :]], key=lambda one: (one.split == "heldout", one.record))
        return open_tokens(forge(tmp_path / name, samples, recipe=tokens.description.recipe.model_dump()))

    ids = real[first].ids.copy()
    ids[real[first].start] += 1
    other = Sample(real[first].record, "zxx", "train", ids, real[first].start, real[first].stop)
    outs = next(one for one in canaries(SEED, 20) if not one.included)
    swapped = Sample(outs.canary, "zxx", "train", real[first].ids, real[first].start, real[first].stop)
    for name, put in (("changed", [other]), ("taken-out", []), ("one-that-the-coin-left-out", [swapped])):
        with pytest.raises(CoopError, match=r"has other tokens|is not in the tokens"):
            verify_tokens(forged(name, *put), build, base, seed=seed)
