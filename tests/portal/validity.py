"""Whether pages are valid HTML: html-validate over what the portal sends."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM = Path.home() / ".cache/commonweights/page-tools/node_modules/.bin/html-validate"
INSTALL = "sh .ci/page-tools"
needs_html_validate = pytest.mark.skipif(not PROGRAM.is_file(), reason=f"html-validate is not here: {INSTALL}")
"""Put this over a test that calls `complaints`, and `pytest.mark.browser`: it needs node."""

CONFIG = {
    "root": True,
    "extends": ["html-validate:recommended"],
    "rules": {
        "doctype-style": ["error", {"style": "lowercase"}],
        "form-dup-name": ["error", {"shared": ["radio", "checkbox", "button", "reset", "submit"]}],  # boxes of one question share its name
        "no-trailing-whitespace": "off",  # of templates; no reader and no program meets it
    },
}


def _node() -> list[str]:
    """Return the Node.js that Playwright brings, which is new enough; nothing where it is not here, for the system's own."""
    found = importlib.util.find_spec("playwright")
    driver = Path(str(found.origin)).parent / "driver/node" if found else None
    return [str(driver)] if driver and driver.is_file() else []


def complaints(pages: Mapping[str, str]) -> list[str]:
    """Return what html-validate finds wrong, a line each, in HTML by name (for example its path); an empty list if nothing.

    One process looks at all of them: starting it takes longer than looking.
    """
    assert pages, "no page was given: nothing would be found"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "config.json").write_text(json.dumps(CONFIG))
        names = dict[str, str]()
        for number, (name, html) in enumerate(pages.items()):
            file = root / f"{number}.html"
            file.write_text(html, encoding="utf-8")
            names[str(file)] = name
        command = [*_node(), str(PROGRAM), "--config", str(root / "config.json"), "--formatter", "json", *names]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"})
        if done.returncode not in (0, 1) or not done.stdout.strip():
            raise RuntimeError(f"html-validate did not run: {done.stderr[-500:]}")
        found = json.loads(done.stdout)
    return [
        f"{names[one['filePath']]}:{said['line']}:{said['column']} {said['ruleId']}: {said['message']}"
        for one in found
        for said in one["messages"]
        if said["severity"] == 2
    ]
