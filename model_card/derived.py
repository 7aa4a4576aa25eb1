"""What was made from the run's weights: whether the records of merged and GGUF files bind them to the adapter, the base and each other.

    plan's base + adapter ──coop.merge/v1──► files at the root ──► gguf/NAME-f16.gguf, gguf/NAME-q8_0.gguf
                       derived/merge.json ─┘        derived/NAME-*.json ─┘

The records say how each file was made; only making it again (`coop verify --rederive`) shows that it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance_hooks.canonical import digest, loads
from governance_hooks.errors import BadInput
from governance_hooks.plan import Plan
from model_card.gguf_header import read_gguf_header
from model_card.layout import MERGE, gguf_types, rule_of
from model_card.weights import check_safetensors

__all__ = ["RULE", "Facts", "check_config", "check_copied", "check_derived", "model_files"]

RULE = "coop.merge/v1"
_FORBIDDEN = ("auto_map", "quantization_config", "custom_pipelines", "trust_remote_code", "_name_or_path")
"""Keys of config.json that load code, or weights of another kind, or name a path of whoever made it."""
_MADE = ("config.json", "model.safetensors.index.json")
"""Files of a model folder that are written anew rather than copied from the base."""
_TENSOR_TYPE = {"f16": 1, "q8_0": 8}

Entry = dict[str, Any]


class Facts:
    """What a release says of itself and what its files are, for the checks of its weights.

    Args:
        folder: where the large files lie.
        release: name, run and digest of the plan.
        plan: the voted plan.
        held: bytes of the small files by path.
        found: size and digest of every file by path.
    """

    def __init__(self, folder: Path, release: tuple[str, str, str], plan: Plan, held: Mapping[str, bytes], found: Mapping[str, tuple[int, str]]) -> None:
        self.folder, self.plan, self.held, self.found = folder, plan, held, found
        self.name, self.run, self.plan_digest = release

    def entries(self, role: str, *, below: str = "") -> list[Entry]:
        """Return the inventory of the files of a role, by their paths below a folder of the bundle."""
        paths = sorted(path for path in self.found if (rule := rule_of(path)) is not None and rule.role == role)
        return [{"path": path.removeprefix(below), "size": self.found[path][0], "sha256": self.found[path][1]} for path in paths]


def _require(condition: bool, what: str, *, value: object = None, allowed: object = None) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=None if allowed is None else str(allowed), next="do not load these weights")


def model_files(facts: Facts) -> list[Entry]:
    """Return the inventory of the files at the root that load as one model."""
    return facts.entries("model")


def check_config(data: bytes) -> None:
    """Refuse a config.json that makes a loader run code, or load another kind of weights (BadInput)."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput("config.json is not JSON", next="do not load these weights") from error
    _require(isinstance(config, dict), "config.json is no object of settings")
    odd = sorted(set(config) & set(_FORBIDDEN))
    _require(not odd, "config.json asks for code, or for weights of another kind", value=odd, allowed="a plain config")


def check_copied(plan: Plan, entries: list[Entry]) -> int:
    """Check that tokenizer, template, generation settings and licence are the voted base's own, byte for byte; return how many there are."""
    base = {file.path: (file.size, file.sha256) for file in plan.base.files}
    copied = [entry for entry in entries if entry["path"] not in _MADE and not entry["path"].endswith(".safetensors")]
    for entry in copied:
        wanted = base.get(entry["path"])
        _require(wanted is not None, f"{entry['path']} is no file of the voted base", value=entry["path"], allowed=", ".join(sorted(base))[:200])
        _require(wanted == (entry["size"], entry["sha256"]), f"{entry['path']} is not the voted base's", value=entry["sha256"], allowed=wanted and wanted[1])
    return len(copied)


def _record(facts: Facts, path: str, form: str) -> dict[str, Any]:
    document = loads(facts.held[path], floats=True, source=path)
    _require(isinstance(document, dict) and document.get("format") == form, f"{path} is no record of format {form}")
    found: dict[str, Any] = document
    for key, wanted in (("name", facts.name), ("licence", facts.plan.use.licence)):
        _require(found.get(key) == wanted, f"{path} names another {key}", value=found.get(key), allowed=wanted)
    return found


def _check_merge(facts: Facts) -> str:
    """Check derived/merge.json against the plan, the adapter and the files at the root; return the digest of these."""
    plan, record, files = facts.plan, _record(facts, MERGE, "coop.export/v1"), model_files(facts)
    lora, adapter = plan.training.lora, facts.entries("adapter", below="adapter/")
    _require(lora is not None, "there is nothing to merge: members voted for no adapter", value=plan.training.method)
    assert lora is not None
    said = record.get("adapter") or {}
    wanted = {
        "rule": RULE,
        "run": facts.run,
        "plan": facts.plan_digest,
        "base": {"name": plan.base.name, "licence": plan.base.licence, "digest": plan.base.digest},
        "weights": digest(files),
        "outputs": files,
    }
    for key, value in wanted.items():
        _require(record.get(key) == value, f"{MERGE} names {'other' if key == 'outputs' else 'another'} {key}", value=record.get(key), allowed=value)
    settings = {
        "digest": digest(adapter),
        "files": adapter,
        "rank": lora.rank,
        "scale": lora.alpha / lora.rank,
        "dora": plan.training.method == "dora",
        "rslora": False,
    }
    for key, voted in settings.items():
        _require(said.get(key) == voted, f"{MERGE}: adapter.{key} is not the run's", value=said.get(key), allowed=voted)
    return digest(files)


def _check_gguf(facts: Facts, kind: str, source: str) -> None:
    path, note = f"gguf/{facts.name}-{kind}.gguf", f"derived/{facts.name}-{kind}.json"
    record, (size, found) = _record(facts, note, "coop.gguf/v1"), facts.found[path]
    for key, value in (("type", kind), ("source", source), ("size", size), ("sha256", found)):
        _require(record.get(key) == value, f"{note} names another {key} than {path} has", value=record.get(key), allowed=value)
    header = read_gguf_header(facts.folder / path)
    for key, value in (
        ("general.name", facts.name),
        ("general.license", facts.plan.use.licence.lower()),
        ("coop.source", source),
        ("general.base_model.0.name", facts.plan.base.name),
    ):
        _require(header.texts.get(key) == value, f"{path}: {key} in its header is another", value=header.texts.get(key), allowed=value)
    _require(
        _TENSOR_TYPE[kind] in header.types and header.types <= {1, _TENSOR_TYPE[kind]}, f"{path} is of another type than {kind}", value=sorted(header.types)
    )


def check_derived(facts: Facts) -> list[str]:
    """Check everything that was made from the run's weights and return a word for each; an empty list if nothing was.

    Raises:
        BadInput: a record that is about other files, another adapter, base, plan or licence; files that are not what their name says.
    """
    done, files = [], model_files(facts)
    if MERGE in facts.found:
        source = _check_merge(facts)
        check_config(facts.held["config.json"])
        check_copied(facts.plan, files)
        counted = [check_safetensors(facts.folder / entry["path"]) for entry in files if entry["path"].endswith(".safetensors")]
        done.append(f"merged by {RULE}, {sum(parameters for _, parameters in counted):,} parameters")
    else:
        source = digest(files)
    for kind in gguf_types(facts.found, facts.name):
        _check_gguf(facts, kind, source)
        done.append(f"GGUF {kind}")
    return done
