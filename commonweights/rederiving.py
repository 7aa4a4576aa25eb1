"""Makes merged and GGUF weights again from the base and the adapter of a release, and compares every byte; the card from card.json too."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from commonweights.progress import Progress
from governance_hooks.atomic import PREFIX
from governance_hooks.canonical import loads
from governance_hooks.inventory import inventory, sha256_file
from governance_hooks.links import check_base
from governance_hooks.report import Checklist, Report, StepFailed, StepSkipped, StepUnknown
from model_card.derived import model_files
from model_card.layout import MERGE, gguf_types
from model_card.renderers import render_all

if TYPE_CHECKING:
    from model_card.evidence import Evidence

__all__ = ["rederive"]

_DO_NOT = "do not load these weights; ask the cooperative how they were made, and with which versions of gguf and commonweights"


class _Again:
    """Makes one thing after the other in a folder of its own."""

    def __init__(self, found: Evidence, base: Path, scratch: Path, threads: int | None, show: Progress | None) -> None:
        self.found, self.base, self.scratch, self.threads, self.show = found, base, scratch, threads, show
        self.facts = found.facts("adapter", "model", "gguf", "derivation")
        self.source = ""

    def base_weights(self) -> str:
        """Hash the base against the plan."""
        return check_base(self.base, self.facts.plan.base)

    def _same(self, path: str, made: dict[str, Any]) -> None:
        """Compare a record with the one in the bundle, but for the measured differences, which are of one machine."""
        published = loads(self.facts.held[path], floats=True, source=path)
        if {**made, "parity": None} != {**published, "parity": None}:
            raise StepFailed(f"{path} says other things than what was made again", todo=_DO_NOT)

    def merged(self) -> str:
        """Merge again, and compare every file at the root."""
        from train.export.merge import EXPORT, Origin, merge

        files = model_files(self.facts)
        if MERGE not in self.facts.found:
            from governance_hooks.canonical import digest

            self.source = digest(files)
            raise StepSkipped("nothing was merged: the weights at the root are the run's own" if files else "this release holds no merged weights")
        plan, release, out = self.facts.plan, self.found.release, self.scratch / "merged"
        origin = Origin(release.name, release.licence, run=release.run, plan=release.plan, base=plan.base.digest)
        made = merge(self.base, self.found.bundle.folder / "adapter", out, origin, check=False, threads=self.threads, progress=self.show)
        again = inventory(out, skip=[EXPORT])
        odd = sorted({str(entry["path"]) for entry in (*again, *files) if entry not in files or entry not in again})
        if odd:
            raise StepFailed(f"made again, these differ: {', '.join(odd[:5])}", todo=_DO_NOT)
        self._same(MERGE, made)
        self.source = made["weights"]
        return f"{len(files)} files, {sum(entry['size'] for entry in files):,} bytes, the same to the last"

    def gguf(self, kind: Any) -> str:
        """Convert again, and compare the file."""
        from train.export.gguf_file import Source, write_gguf

        facts = self.facts
        if kind not in gguf_types(facts.found, facts.name):
            raise StepSkipped(f"this release holds no GGUF {kind}")
        if not self.source:
            raise StepUnknown("needs the merged weights")
        source = Source(self.found.bundle.folder, facts.name, facts.plan.use.licence, self.source, facts.plan.base.name)
        out = self.scratch / f"{facts.name}-{kind}.gguf"
        made = write_gguf(source, out, kind, check=False, progress=self.show)
        if (out.stat().st_size, sha256_file(out)) != facts.found[f"gguf/{facts.name}-{kind}.gguf"]:
            raise StepFailed(f"gguf/{facts.name}-{kind}.gguf, made again, differs", todo=_DO_NOT)
        self._same(f"derived/{facts.name}-{kind}.json", made)
        out.unlink()
        return f"{made['size']:,} bytes, the same to the last"

    def card(self) -> str:
        """Render every page from card.json as it lies there, and compare."""
        pages = render_all(loads(self.found.get("card.json"), floats=True, source="card.json"), self.found.records)
        odd = sorted(path for path, data in pages.items() if self.found.bundle.data.get(path) != data)
        if odd:
            raise StepFailed(f"rendered from card.json, these differ: {', '.join(odd[:5])}", todo="do not believe them")
        return f"{len(pages)} pages follow from card.json"


def rederive(found: Evidence, base: Path, *, threads: int | None = None, show: Progress | None = None) -> Report:
    """Make again whatever was made from the weights of a release that holds, and compare every byte; return the table.

    It needs the extra [train] and room for the weights in the folder for temporary files.
    """
    with TemporaryDirectory(prefix=PREFIX) as scratch:
        again = _Again(found, base, Path(scratch), threads, show)
        checklist = Checklist(f"Made again from {base.name} and the release")
        checklist.run("base weights", again.base_weights)
        checklist.run("merged weights", again.merged)
        checklist.run("GGUF f16", lambda: again.gguf("f16"))
        checklist.run("GGUF q8_0", lambda: again.gguf("q8_0"))
        checklist.run("card from card.json", again.card)
    return checklist.report()
