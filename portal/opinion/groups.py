"""Finds groups of opinions through red-dwarf, in a process of its own: rows of +, - and 0 on standard input, JSON on standard output.

The libraries behind it (pandas, scikit-learn) take 200 MB and over a second to import, so no page and no command imports this
module; `portal.opinion.drawing` runs it. It reads nothing but its input, opens no file and no connection.
"""

from __future__ import annotations

import json
import resource
import sys
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from reddwarf.implementations.base import run_pipeline
from reddwarf.utils.consensus import select_consensus_statements
from reddwarf.utils.matrix import generate_raw_matrix
from reddwarf.utils.reducer.base import run_reducer
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from portal.opinion.found import FEWEST_MEMBERS, SMALLEST_GROUP

__all__ = ["find", "parse"]

MOST_GROUPS: Final = 5
SHUFFLES: Final = 19
"""Of which none may look as grouped as the answers do: by chance that happens once in twenty."""
SAMPLE: Final = 1000
"""Members whose silhouettes are averaged to compare numbers of groups; all of them would take the square of their number."""
CONFIDENCE: Final = 0.9
"""One-sided, as Polis has it; groups are made from the same answers, so it orders statements, and proves nothing."""
SIGNIFICANT: Final = 1.2816
"""The normal quantile of `CONFIDENCE`."""
CPU_S: Final = 120
MEMORY_BYTES: Final = 4 << 30

Positions = NDArray[np.float64]


def find(answers: NDArray[np.int8]) -> dict[str, Any]:
    """Return positions, groups and telling statements of a matrix of answers: members x statements, 1 agree, -1 disagree, 0 pass.

    The answer depends on the matrix alone: every random choice is seeded.
    """
    positions = _project(answers)
    labels, centers, silhouette = _groups(positions)
    found: dict[str, Any] = {"positions": positions.round(6).tolist(), "silhouette": silhouette, "by_chance": 0.0, "labels": [], "represented": {}}
    votes = [
        {"participant_id": member, "statement_id": statement, "vote": int(vote)} for member, row in enumerate(answers) for statement, vote in enumerate(row)
    ]
    if len(np.unique(answers, axis=0)) == 1:
        found["state"] = "alike"
    elif labels is None:
        found["state"] = "no-groups"
    else:
        found["by_chance"] = _by_chance(answers)
        found["state"] = "groups" if silhouette > found["by_chance"] else "chance"
    if found["state"] != "groups":
        return found | {"consensus": _listed(select_consensus_statements(generate_raw_matrix(votes), pick_max=5, confidence=CONFIDENCE))}
    assert centers is not None
    # Polis leaves out who answered fewer than seven statements; here everybody answers all of them in one ballot.
    result = run_pipeline(
        votes, min_user_vote_threshold=1, force_group_count=len(centers), init_centers=centers, random_state=0, pick_max=5, confidence=CONFIDENCE
    )
    assert result.clusterer is not None
    found["labels"] = [int(one) for one in result.clusterer.labels_]
    found["represented"] = {
        int(group): [_told(one, one["repful-for"], one["repness"], one["repness-test"]) for one in listed if _significant(one)]
        for group, listed in result.repness.items()
    }
    return found | {"consensus": _listed(result.consensus)}


def parse(text: str) -> NDArray[np.int8]:
    """Return the matrix of answers written as lines of +, - and 0."""
    values = {"+": 1, "-": -1, "0": 0}
    answers = np.array([[values[one] for one in row] for row in text.split()], dtype=np.int8)
    assert len(answers) >= FEWEST_MEMBERS
    return answers


def _project(answers: NDArray[np.int8]) -> Positions:
    with warnings.catch_warnings():  # all the same: no variance, of which the shares are 0 / 0
        warnings.simplefilter("ignore", RuntimeWarning)
        positions, _, _ = run_reducer(answers.astype(np.float64), reducer="pca", random_state=0)
    return np.asarray(positions, dtype=np.float64)


def _groups(positions: Positions, starts: int = 10) -> tuple[NDArray[np.int32] | None, list[list[float]] | None, float]:
    """Return labels, centres and silhouette of the best number of groups, of those in which every group has so many members as a group needs."""
    best: tuple[NDArray[np.int32] | None, list[list[float]] | None, float] = (None, None, 0.0)
    distinct = len(np.unique(positions.round(9), axis=0))
    for count in range(2, min(MOST_GROUPS, distinct, len(positions) // SMALLEST_GROUP) + 1):
        # red-dwarf starts once, from the leftmost points; several starts find the same groups whatever the order of members.
        made = KMeans(count, n_init=starts, random_state=0).fit(positions)
        if np.bincount(made.labels_, minlength=count).min() < SMALLEST_GROUP:
            continue
        score = _silhouette(positions, made.labels_)
        if score > best[2]:
            best = made.labels_, made.cluster_centers_.tolist(), score
    return best


def _silhouette(positions: Positions, labels: NDArray[np.int32]) -> float:
    """Return the mean silhouette of a sample in which every group is: of a small group among thousands a plain draw may hold nobody."""
    drawn = np.random.default_rng(0).permutation(len(positions))[:SAMPLE]
    some = [np.flatnonzero(labels == group)[:SMALLEST_GROUP] for group in np.unique(labels)]
    sample = np.unique(np.concatenate([drawn, *some]))
    return float(silhouette_score(positions[sample], labels[sample]))


def _by_chance(answers: NDArray[np.int8]) -> float:
    """Return the best silhouette among shuffles: k-means finds groups in anything, and this is how good those are."""
    random, most = np.random.default_rng(0), 0.0
    for _ in range(SHUFFLES):
        shuffled = random.permuted(answers, axis=0)
        most = max(most, _groups(_project(shuffled), starts=3)[2])
    return most


def _significant(one: Any) -> bool:
    return bool(one["p-test"] > SIGNIFICANT and one["repness-test"] > SIGNIFICANT)


def _told(one: Any, answer: str, representativeness: float, z: float) -> dict[str, Any]:
    return {"statement": int(one["tid"]), "answer": answer, "representativeness": round(float(representativeness), 3), "z": round(float(z), 3)}


def _listed(consensus: Any) -> list[dict[str, Any]]:
    return [_told(one, answer, 0.0, one["p-test"]) for answer in ("agree", "disagree") for one in consensus[answer]]


def main() -> None:
    """Read answers, find groups, write what was found."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    json.dump(find(parse(sys.stdin.read())), sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
