"""What each link of a verification proves, what it leaves open, and what nothing in a release proves."""

from __future__ import annotations

__all__ = ["EXIT", "NOT_PROVEN", "PROVES"]

PROVES: tuple[tuple[str, str], ...] = (
    (
        "The folder holds exactly the files release.json lists, each with its size and SHA-256, the proof and the attestations; no link, no extra file.",
        "who made them; that is what the next links are for.",
    ),
    (
        "The proof is a log whose first statement is the founding of the cooperative, and one checkpoint signed by its key covers every entry.",
        "that the cooperative is the one you mean: compare the fingerprint, or give --pin.",
    ),
    (
        "Every statement of the log was signed by whoever had the right at that place, by the rules in force then; as many witnesses cosigned as the bylaws ask for.",
        "that others are shown the same log, where no witness is required.",
    ),
    (
        "Members voted for exactly this release.json, counted again from their ballots under the rules the vote was opened with, and the log holds its release.",
        "that those members are different people: members admit members.",
    ),
    ("Members voted for exactly this plan.json, with its evaluation policy, before the run began.", "that the run did what the plan says; see 6 and 7."),
    (
        "The weights are the files the operator signed for at the end of the run; plain safetensors with the voted settings.",
        "that training made them: only training again would show it.",
    ),
    (
        "The dataset is the one the plan names; its counts and its root follow from the ledger; it was made from a prefix of this log.",
        "what the texts say: the ledger has ids, commitments and languages.",
    ),
    (
        "Every author of every text consented to this use, to the public's having it, at every start; nobody withdrew before the release; each text is one its member signed for.",
        "that a member understood what they consented to, or owned what they gave.",
    ),
    (
        "The verdicts follow from what was measured of each held-out text, under the policy voted before the run, and none was left out.",
        "that the measuring was honest, which the operator signed, or that the evaluation asks the right questions.",
    ),
    (
        "The leak test is the voted one, and every number of it follows from what was measured of each canary.",
        "that nothing leaks: it is a lower bound on what can be found, by one kind of attack.",
    ),
    (
        "The records of the merged and GGUF files name this adapter, the voted base, known rules and exactly these files; tokenizer and template are the base's own.",
        "that the merge was computed as its record says: coop verify --rederive --base DIR makes it again and compares every byte.",
    ),
    (
        "Card, README and every other page are what the records render to, byte for byte.",
        "that what a person stated on it is true: such sentences are signed by their author.",
    ),
    ("Every attestation says what the records say, and is signed by as many stewards as the bylaws ask for.", "more than the stewards' word."),
    (
        "By the log you have, the release is neither superseded nor withdrawn; with --now also: not halted, and the log is no older than --max-age-days.",
        "what happened after the checkpoint: ask the cooperative for a newer proof.",
    ),
)
"""For each link: what it proves, and what it leaves open."""

NOT_PROVEN = """What this does not prove:
- that training read only the listed texts: it would take training again to show it; the operator signed that it did
- that the commitments in the ledger are those in the batches members signed, and that no author of an edit was left out: the log has
  their number by language, contributor and batch; the cooperative's own store can show the rest
- that the losses were measured honestly: verdicts are recomputed from them, but the operator signed the measurement
- that a member understood what they consented to, or owned what they gave
- that the clock of the log is right, and that the log shown to you is the one shown to others: link 3 says how many witnesses vouch for
  both; where it says none, times are the operator's word: compare the checkpoint with somebody else's
- that nobody withdrew, halted or superseded it after the checkpoint: ask the cooperative for a newer one
- that the evaluation asks the right questions: a lower loss is not truth, use or safety"""

EXIT = """Exit code 0: every link holds. 1: a link is broken, do not use it. 2: something is missing or unknown here, it could not be checked.
3: every link holds, and the release is superseded, withdrawn or halted. 4: every link holds, and the proof is older than you accept (only with --now)."""
