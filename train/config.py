"""The run config: what an engineer writes in YAML, and nothing the plan does not know.

Strict on purpose: a typo that falls back to a default trains another model than the one asked for
(unslothai/unsloth PR 10452). No torch is imported here, so `coop plan` answers at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from governance_hooks.attribution import AttributionPolicy
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.fields import Slug, Strict
from governance_hooks.plan import EvaluationPolicy, Limits, Mix, Policies, explain_validation
from governance_hooks.training import Training
from train.other_names import here
from train.task_config import name_files

__all__ = ["RunConfig", "read_config", "resolve_precision"]

CPUINFO = Path("/proc/cpuinfo")
NVIDIA = Path("/proc/driver/nvidia/version")
INTERVAL: Final = "t"
"""How new plans state intervals: a percentile bootstrap at 95% holds the truth in 81 to 88% of cases with 5 to 8 contributors (docs/eval.md)."""


class RunConfig(Strict):
    """A training run as an engineer asks for it; `train.plan.resolve` turns it into digests."""

    name: Slug
    """Name of the plan: lower-case letters, digits, dot, dash, underscore."""
    use: Use
    """What the texts are used for; every text's consent must allow it."""
    base: str
    """A folder with base weights, relative to the config, or `smollm2-135m-instruct`."""
    build: str
    """A dataset: a folder relative to the config, or the name of a dataset of the cooperative."""
    mix: Mix = Mix()
    """How often each language is seen; the default is every row once an epoch."""
    canaries: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many lines nobody wrote are made; a secret coin puts about half of them into training."""
    training: Training = Training()
    """How the weights are trained. `precision: auto`, the default, becomes what this machine computes fastest."""
    evaluation: EvaluationPolicy = EvaluationPolicy(interval=INTERVAL)
    """What the release must show. `interval` is `t` unless the config says otherwise; a plan that says nothing is an old one, and means `bootstrap`."""
    limits: Limits = Limits()
    policies: Policies = Policies()
    attribution: AttributionPolicy | None = None
    """How the credit is shared among guilds; without it nothing is shared."""

    @field_validator("evaluation", mode="before")
    @classmethod
    def _the_honest_interval(cls, value: Any) -> Any:
        # Here, not in EvaluationPolicy: there a changed default would change what members voted in plans that are silent about it.
        if isinstance(value, dict):
            return {"interval": INTERVAL} | value
        if isinstance(value, EvaluationPolicy) and "interval" not in value.model_fields_set:
            return value.model_copy(update={"interval": INTERVAL})
        return value

    @model_validator(mode="after")
    def _leak_test_has_its_canaries(self) -> RunConfig:
        if self.evaluation.leak is not None and not self.canaries:
            raise ValueError("evaluation.leak needs canaries: 200 or more (and no training.max_steps)")
        return self

    @model_validator(mode="after")
    def _dora_finds_its_weights(self) -> RunConfig:
        # PEFT reads the weights of other layers in DoRA's; ZeRO-3 hands a layer its weights only when that layer is called.
        if self.training.method == "dora" and self.training.strategy == "zero3":
            raise ValueError("dora does not run with strategy zero3: fsdp2 or zero2")
        return self

    @model_validator(mode="after")
    def _recomputed_layers_find_their_weights(self) -> RunConfig:
        # torch compares shapes when it recomputes a layer, and ZeRO-3 has taken its weights back by then.
        if self.training.gradient_checkpointing and self.training.strategy == "zero3":
            raise ValueError("gradient_checkpointing does not run with strategy zero3: fsdp2 or zero2")
        return self

    @model_validator(mode="after")
    def _flash_has_its_type(self) -> RunConfig:
        if self.training.attention == "flash" and self.training.precision != "bf16-true":
            raise ValueError("training.attention flash computes in half precision only: set training.precision: bf16-true")
        return self


class _Loader(yaml.SafeLoader):
    """YAML with the numbers people write: PyYAML takes `2e-4` for text, as YAML 1.1 wants a dot in it."""


_Loader.yaml_implicit_resolvers = {key: list(resolvers) for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def resolve_precision() -> str:
    """Return `bf16-true` where bfloat16 is the faster type: AMX, AMD with AVX512-BF16, or such a GPU; else `32-true`.

    The flag avx512_bf16 alone does not decide: an Intel Xeon that shows it without AMX multiplied bfloat16 at about 0.6 of its
    float32 rate (docs/train.md), while a Zen 5 gained.
    """
    try:
        words = set(CPUINFO.read_text().split())
    except OSError:
        words = set()
    if "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words:
        return "bf16-true"
    if NVIDIA.exists():
        import torch  # only on a machine with a GPU driver, where the seconds do not matter

        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-true"
    return "32-true"


def _lines(node: yaml.Node, source: str, where: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Return {path of a key: line}; raise BadInput for a key that stands twice (YAML would keep the last, silently)."""
    lines: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path, line = (*where, str(key.value)), key.start_mark.line + 1
            if path in lines:
                raise BadInput(f"{source}:{line}: the key {'.'.join(path)} stands twice", value=key.value, allowed=f"once; first at line {lines[path]}")
            lines[path] = line
            lines |= _lines(value, source, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*where, str(index))] = value.start_mark.line + 1
            lines |= _lines(value, source, (*where, str(index)))
    return lines


def _parse(text: str, source: str) -> tuple[Any, dict[tuple[str, ...], int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise BadInput(f"{source} is empty", next="coop plan --example > first.yaml")
        lines = _lines(node, source)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise BadInput(f"{source}:{line}: {error.problem or 'not YAML'}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{source} is not YAML: {error}") from error
    except RecursionError as error:
        raise BadInput(f"{source} is nested too deeply") from error
    finally:
        loader.dispose()


def read_config(path: Path, *, files: dict[str, Path] | None = None) -> RunConfig:
    """Read a run config; raise BadInput with file, line and nearest name for anything that is not exactly right.

    `files` gets digest -> path of every file that evaluation tasks name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}", next="coop plan --example > first.yaml") from error
    document, lines = _parse(text, str(path))
    if not isinstance(document, dict):
        raise BadInput(f"{path} is not a mapping of keys to values", value=document, next="coop plan --example > first.yaml")
    if document.get("format") == "coop.plan/v1":
        raise BadInput(f"{path} is a plan already", allowed="a config", next=f"coop plan explain {path}")
    training = document.setdefault("training", {})
    if isinstance(training, dict) and training.get("precision", "auto") == "auto":
        training["precision"] = resolve_precision()
    evaluation = document.get("evaluation")
    if isinstance(evaluation, dict) and isinstance(evaluation.get("tasks"), list):
        name_files(evaluation["tasks"], path.parent, {} if files is None else files)
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        where = tuple(str(part) for part in error.errors()[0]["loc"])
        while where and where not in lines:  # a missing key has no line; its section has
            where = where[:-1]
        raise _of_another_trainer(error, path, lines) or explain_validation(error, RunConfig, f"{path}:{lines[where]}" if where else str(path)) from error


def _of_another_trainer(error: ValidationError, path: Path, lines: dict[tuple[str, ...], int]) -> BadInput | None:
    """Return what is said of keys that other trainers use, all at once; None if there are none."""
    found = {}
    for one in error.errors():
        where = tuple(str(part) for part in one["loc"])
        ours = here(where[-1]) if one["type"] == "extra_forbidden" else None
        if ours is not None:
            found[where] = ours
    if not found:
        return None
    first = next(iter(found))
    more = f", and {len(found) - 1} more that other trainers use" if len(found) > 1 else ""
    told = (f"{'.'.join(where)} is {ours}" for where, ours in found.items())
    return BadInput(
        f"{path}:{lines[first]}: unknown field {'.'.join(first)}{more}", allowed="\n           ".join(told), next="coop plan --example shows every setting"
    )
