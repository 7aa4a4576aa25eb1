"""What may lie in a release folder, file by file: which paths, with which role, how large, and which belong together.

release.json            what members vote on; lists every file below by path, size, digest and role
README.md card.json card/...                    rendered from the records
plan.json run.json data/... eval/...            records every release has
privacy/... stake/... statements/... previous/  records it may have
adapter/...             what a run of method lora, dora or qlora wrote
config.json *.safetensors tokenizer*            what loads: the merged weights, or what a run of method full wrote
gguf/... derived/...    the same for llama.cpp, and how merged and GGUF files were made
proof.jsonl.gz attestations/*.dsse.json         after the vote, so not in release.json
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

__all__ = [
    "ATTESTATION", "LONGEST_ATTESTATION", "LONGEST_PROOF", "LONGEST_RELEASE", "MERGE", "MOST_ATTESTATIONS", "MOST_FILES", "PROOF", "RELEASE", "ROLES", "Role", "Rule",
    "gguf_types", "odd_paths", "rule_of", "wrong_selection",
]  # fmt: skip

RELEASE, PROOF, MERGE = "release.json", "proof.jsonl.gz", "derived/merge.json"
Role = Literal["adapter", "card", "data", "derivation", "evaluation", "gguf", "model", "plan", "previous", "privacy", "run", "stake", "statement"]
ROLES: tuple[str, ...] = get_args(Role)

MOST_FILES = 2000
MOST_ATTESTATIONS = 64
LONGEST_RELEASE = 4 << 20
LONGEST_PROOF = 1 << 30
LONGEST_ATTESTATION = 1 << 20
ATTESTATION = re.compile(r"attestations/[a-z0-9][a-z0-9_-]{0,63}(\.[a-z0-9_-]{1,64}){0,4}\.dsse\.json")

_RECORD, _LINES, _WEIGHTS = 64 << 20, 1 << 30, 1 << 44
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of file may be."""

    pattern: re.Pattern[str]
    role: Role
    most: int
    """Bytes."""
    held: bool = True
    """Whether a reader keeps its bytes; of the others it knows size and digest."""


def _rule(pattern: str, role: Role, most: int = _RECORD, *, held: bool = True) -> Rule:
    return Rule(re.compile(pattern), role, most, held)


_RULES = (
    _rule(r"README\.md|card\.json", "card"),
    _rule(rf"card/({_NAME}/)?{_NAME}\.(csv|html|json|md|svg|yaml)", "card"),
    _rule(r"data/croissant\.json", "card"),
    _rule(r"plan\.json", "plan"),
    _rule(r"run\.json", "run"),
    _rule(r"data/manifest\.json", "data"),
    _rule(r"data/(ledger|batches)\.jsonl", "data", _LINES),
    _rule(r"eval/report\.json", "evaluation"),
    _rule(r"eval/results\.jsonl", "evaluation", _LINES),
    _rule(r"eval/(items|previous)/[a-z0-9][a-z0-9._-]{0,63}\.jsonl", "evaluation", _LINES),
    _rule(r"privacy/(leak|differential)\.json", "privacy"),
    _rule(r"privacy/canaries\.jsonl", "privacy", _LINES),
    _rule(r"stake/shares\.json", "stake"),
    _rule(r"stake/(values|guilds)\.jsonl", "stake", _LINES),
    _rule(r"statements/[0-9a-f]{64}\.json", "statement", 1 << 20),
    _rule(r"previous/(release|card)\.json", "previous"),
    _rule(r"adapter/adapter_config\.json", "adapter", 1 << 20),
    _rule(r"adapter/adapter_model\.safetensors", "adapter", _WEIGHTS, held=False),
    _rule(r"(config|generation_config)\.json", "model", 1 << 20),
    _rule(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors", "model", _WEIGHTS, held=False),
    _rule(r"model\.safetensors\.index\.json", "model", held=False),
    _rule(r"(added_tokens|special_tokens_map|tokenizer|tokenizer_config|vocab)\.json|tokenizer\.model|merges\.txt|chat_template\.jinja", "model", 100 << 20, held=False),
    _rule(r"(LICENSE|NOTICE)(\.md|\.txt)?|USE_POLICY\.md", "model", 1 << 20, held=False),
    _rule(r"gguf/[a-z0-9][a-z0-9._-]{0,127}-(f16|q8_0)\.gguf", "gguf", _WEIGHTS, held=False),
    _rule(r"derived/merge\.json|derived/[a-z0-9][a-z0-9._-]{0,127}-(f16|q8_0)\.json", "derivation", 16 << 20),
)  # fmt: skip
_ALWAYS = {
    "README.md": "coop card RUN",
    "card.json": "coop card RUN",
    "data/batches.jsonl": "coop build",
    "data/ledger.jsonl": "coop build",
    "data/manifest.json": "coop build",
    "eval/report.json": "coop eval",
    "eval/results.jsonl": "coop eval",
    "plan.json": "coop plan",
    "run.json": "coop train",
}
_ADAPTER = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
_TOGETHER = (
    _ADAPTER,
    {"stake/shares.json", "stake/values.jsonl", "stake/guilds.jsonl"},
    {"previous/release.json", "previous/card.json"},
    {"privacy/leak.json", "privacy/canaries.jsonl"},
)
"""All of them or none."""
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-([0-9]{5})-of-([0-9]{5})\.safetensors")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
"""Names a Windows file system takes for devices."""


@cache
def rule_of(path: str) -> Rule | None:
    """Return the rule for a path, or None if no release holds such a file."""
    if any(_RESERVED.match(part) or part.endswith(".") or ".." in part for part in path.split("/")):
        return None
    return next((rule for rule in _RULES if rule.pattern.fullmatch(path)), None)


def odd_paths(paths: Iterable[str]) -> list[str]:
    """Return what is wrong with a list of paths: not sorted, twice, the same where case does not count, a file where another has a folder."""
    listed, wrong = list(paths), []
    if listed != sorted(set(listed)):
        wrong.append("the paths are not sorted, each once")
    folded: dict[str, str] = {}
    for path in listed:
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            wrong.append(f"{other} and {path} are one file where case does not count")
    folders = {"/".join(path.casefold().split("/")[:depth]) for path in listed for depth in range(1, path.count("/") + 1)}
    wrong += [f"{path} is a file and a folder" for path in listed if path.casefold() in folders]
    return wrong


def gguf_types(paths: Collection[str], name: str) -> list[str]:
    """Return the types of GGUF a list of paths holds."""
    return [kind for kind in ("f16", "q8_0") if f"gguf/{name}-{kind}.gguf" in paths]


def wrong_selection(paths: Collection[str], name: str) -> list[str]:
    """Return what is missing from, or too much in, a list of allowed paths of the release called `name`."""
    have = set(paths)
    wrong = [f"{path} is missing (made by {made})" for path, made in _ALWAYS.items() if path not in have]
    wrong += [
        f"{', '.join(sorted(group - have))} is missing beside {', '.join(sorted(group & have))}" for group in _TOGETHER if have & group and not have >= group
    ]
    root = {path for path in have if (rule := rule_of(path)) is not None and rule.role == "model"}
    if not root and not have & _ADAPTER:
        wrong.append("no weights")
    if root:
        wrong += _wrong_model(root)
    if (MERGE in have) != bool(root and have & _ADAPTER):
        wrong.append(f"{MERGE} belongs to merged weights beside the adapter, and they to it")
    made = {path for path in have if path.startswith(("gguf/", "derived/")) and path != MERGE}
    kinds = gguf_types(have, name)
    if made != {path for kind in kinds for path in (f"gguf/{name}-{kind}.gguf", f"derived/{name}-{kind}.json")}:
        wrong.append(f"GGUF files are gguf/{name}-f16.gguf and gguf/{name}-q8_0.gguf, each with its record in derived/")
    elif kinds and not root:
        wrong.append("a GGUF file without the weights it was made from")
    if "privacy/differential.json" in have and "privacy/leak.json" not in have:
        wrong.append("privacy/differential.json without privacy/leak.json")
    return wrong


def _wrong_model(root: set[str]) -> list[str]:
    """Return what a model folder lacks: a config, and weights in one file or in all shards with their index."""
    shards = sorted(match.groups() for path in root if (match := _SHARD.fullmatch(path)) is not None)
    wrong = [] if "config.json" in root else ["weights without config.json"]
    whole = [(f"{number:05}", f"{len(shards):05}") for number in range(1, len(shards) + 1)]
    if _SINGLE in root:
        if shards or _INDEX in root:
            wrong.append(f"{_SINGLE} beside shards")
    elif not shards or shards != whole or _INDEX not in root:
        wrong.append(f"the weights are not {_SINGLE} alone, nor all shards with {_INDEX}")
    return wrong
