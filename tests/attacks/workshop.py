"""A trainer with tiny real weights and a tiny real build; loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.attacks.forge import OwnGuard
from tests.tiny import write_base
from tests.train.conftest import CODE, COOP, TINY, USE, write_build
from train.config import RunConfig
from train.plan import resolve
from train.run import train

__all__ = ["Workshop"]


class Workshop:
    """Base weights, a build and the plan that names both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, write_base(folder / "base")
        (folder / "data").mkdir()
        self.build = write_build(folder / "data")
        config = RunConfig.model_validate(
            {"name": "tiny", "use": USE, "base": str(self.base), "build": str(self.build), "training": TINY | {"max_steps": 2}, "limits": {"max_starts": 9}}
        )
        self.plan = resolve(config, coop=COOP, base=self.base, build=self.build, code=CODE)

    def train(self, guard: Any = None, run: str = "run-1", **changes: Any) -> dict[str, Any]:
        """Call the trainer directly, without any command of ours."""
        honest: dict[str, Any] = {"base": self.base, "build": self.build, "run_id": run, "coop": COOP, "proposal": None}
        return train(self.folder / run, self.plan, guard=guard or OwnGuard(), **(honest | changes))

    def adapter(self, run: str = "run-1") -> Path:
        """Where trained weights would lie."""
        return self.folder / run / "adapter" / "adapter_model.safetensors"
