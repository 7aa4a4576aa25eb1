"""Links 6 and 11: the weights are what the run wrote, and everything else that loads was made from them."""

from __future__ import annotations

from governance_hooks.canonical import digest
from governance_hooks.report import StepFailed, StepSkipped
from governance_hooks.sentence import Sentence
from model_card.conformity import check_adapter_config
from model_card.derived import check_config, check_copied, check_derived, model_files
from model_card.evidence import DISTRUST, Evidence
from model_card.weights import check_safetensors

__all__ = ["derived", "weights"]


def weights(found: Evidence) -> str:
    """(6) The weights are what the signed end of the run says came out of it, and they are plain safetensors."""
    release, record, output = found.release, found.plain.run, found.plain.plan.training.output
    facts = found.facts(output)
    listed = facts.entries("adapter") if output == "adapter" else [entry | {"path": f"model/{entry['path']}"} for entry in model_files(facts)]
    if not listed or sorted(record.get("outputs"), key=lambda entry: str(entry["path"])) != listed:
        raise StepFailed("the weights are not the output run.json names", todo="do not load them")
    if output == "adapter":
        check_adapter_config(facts.plan, found.get("adapter/adapter_config.json"))
    else:
        if facts.entries("adapter"):
            raise StepFailed("members voted for no adapter", todo="do not load it")
        check_config(found.get("config.json"))
        check_copied(facts.plan, model_files(facts))
    paths = [path for path in sorted(facts.found) if path.endswith(".safetensors") and (output == "model" or path.startswith("adapter/"))]
    counted = [check_safetensors(found.bundle.folder / path) for path in paths]
    run = found.run
    if not (run.status == record.get("status") == "completed" and record.get("run") == run.id):
        raise StepFailed("the log does not say that this run completed", todo=DISTRUST)
    if record.get("unreleasable") is not None:
        raise StepFailed("run.json says that this run may not be released", todo=DISTRUST)
    if not (run.record == record.sha256 == release.record and run.outputs == digest(record.get("outputs"))):
        raise StepFailed("run.json is not the record the operator signed at the end of the run", todo=DISTRUST)
    if record.get("proposal") != release.run_proposal or record.get("plan") != release.plan or record.get("coop") != release.coop:
        raise StepFailed("run.json names another plan, proposal or cooperative", todo=DISTRUST)
    tensors, parameters = sum(n for n, _ in counted), sum(n for _, n in counted)
    return Sentence("{count} tensors, {parameters:,} parameters, output of run {run}", count=tensors, parameters=parameters, run=run.id)


def derived(found: Evidence) -> str:
    """(11) Merged and GGUF weights are recorded as made from the adapter and the voted base, under known rules."""
    done = check_derived(found.facts("adapter", "model", "gguf", "derivation"))
    if not done:
        raise StepSkipped(Sentence("nothing was made from the run's weights"), checked=Sentence("no merged and no GGUF weights in this release"))
    return Sentence("{what}, as their records say (--rederive makes them again)", what="; ".join(done))
