"""axe-core, which finds what keeps people from using a page: where it is, and how it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["AXE", "needs_axe"]

AXE = Path.home() / ".cache/commonweights/axe/node_modules/axe-core/axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here: sh .ci/page-tools")
