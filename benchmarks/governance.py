"""Governance: signature checks against ssh-keygen. The log has its own, log.py."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from measure import publish, seconds

sys.path.insert(0, str(Path(__file__).parent.parent))

from governance_hooks.sshsig import NAMESPACE, generate_key, verify


def signatures(folder: Path) -> dict[str, float]:
    key, message = generate_key(folder / "id"), b'{"type":"coop.ballot/v1"}' * 20
    armored = key.sign(message)
    (folder / "sig").write_text(armored)
    (folder / "allowed").write_text(f"m {key.public.line}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "allowed"), "-I", "m", "-n", NAMESPACE, "-s", str(folder / "sig")]
    ours = seconds(lambda: [verify(armored, message) for _ in range(500)]) / 500
    theirs = seconds(lambda: [subprocess.run(command, input=message, capture_output=True, check=True) for _ in range(20)]) / 20
    return {"ours_ms": round(ours * 1e3, 4), "ssh_keygen_process_ms": round(theirs * 1e3, 3), "ratio_to_ssh_keygen": round(ours / theirs, 4)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(
            "governance",
            ["cryptography", "rfc8785", "pydantic", "SQLAlchemy"],
            {"verify_signature": signatures(folder)},
        )
