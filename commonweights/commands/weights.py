"""`coop weights`: what a run made, as weights that load alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.adapters import finished_run, folder_adapter, model_of_folder, model_of_run
from commonweights.cli import Session
from commonweights.progress import progress
from commonweights.run_inputs import find_base
from commonweights.workspace import open_workspace
from governance_hooks.errors import BadInput

__all__ = ["weights"]


@click.group()
def weights() -> None:
    """Merge an adapter into its base, and write GGUF files; nothing is written that does not answer as the adapter does.

    \b
    coop weights merge first-voices                       the adapter of a run, into runs/first-voices/merged
    coop weights merge --adapter RELEASE --base BASE --out DIR
                                                          the same from a release bundle, or any folder with a LoRA adapter
    coop weights gguf first-voices --type q8_0            for llama.cpp and what is built on it

    The merge adds in a fixed order: the same adapter and base give the same bytes on any processor, so anybody can make them again
    and compare. `coop release assemble` makes both for a release.
    """


def _parity_text(record: dict[str, Any]) -> str:
    from train.export.parity import table

    parity = record["parity"]
    if parity is None:
        return "NOT CHECKED: nobody knows yet whether this answers as the adapter does"
    tensors = parity["tensors"]
    told = (
        f"{tensors['compared']} tensors compared one by one, {tensors['changed']} changed, each number as base plus adapter rounds; "
        f"rounding takes away {tensors['lost']:.2%} of the change (of its squares)"
    )
    if parity["texts"] == "none":
        return (
            f"{told}\nNOT COMPUTED: the model takes {parity['needed_bytes'] / 2**30:.1f} GiB in float32 and {parity['free_bytes'] / 2**30:.1f} GiB are free, "
            "so nobody knows yet what it answers"
        )
    rows = {"merge, before rounding": parity["unrounded"], "merged folder": parity["merged"], "base alone": parity["base"]}
    answers = parity["answers"]
    same = f"greedy answers: {answers['same']} of {answers['answers']} the same, {answers['near_ties']} part at a near tie"
    return f"{table(rows)}\n{told}\n{same}\n({parity['merged']['tokens']} tokens of {parity['texts']} texts; reference: base with adapter, float32)"


@weights.command()
@click.argument("run", required=False)
@click.option(
    "--adapter", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A release bundle, or a folder with a LoRA adapter, instead of RUN."
)
@click.option("--base", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the base weights [default with RUN: the cache].")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make [default: merged, in the run's folder].")
@click.option("--rslora", is_flag=True, help="Accept an rsLoRA adapter, whose scale is alpha / sqrt(rank).")
@click.option("--no-check", is_flag=True, help="Write without comparing or loading anything; the record says so.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the merge [default: all cores]; the bytes are the same for any number.")
@click.pass_obj
def merge(
    session: Session, run: str | None, adapter: Path | None, base: Path | None, out: Path | None, rslora: bool, no_check: bool, threads: int | None
) -> None:
    """Merge the adapter of RUN, or of --adapter, into its base: a folder that transformers loads without PEFT.

    Writes safetensors in the base's own shards, tokenizer, chat template and generation config as the base has them, and export.json:
    digests of everything that went in and came out, and how far the merged model is from base with adapter. It is compared on
    held-out rows of the run's dataset, else on a few fixed texts; beyond the bounds nothing is written.

    \b
    coop weights merge first
    coop weights merge --adapter releases/first --base models/llama-8b --out first-merged
    """
    from train.export.merge import merge as merge_weights

    if (run is None) == (adapter is None):
        raise BadInput("merge takes RUN or --adapter, one of them", allowed="coop weights merge RUN, or --adapter DIR --base DIR --out DIR", next="coop runs")
    with progress(quiet=session.json) as show:
        if adapter is not None:
            if base is None or out is None:
                raise BadInput("--adapter needs --base and --out", allowed="coop weights merge --adapter DIR --base DIR --out DIR")
            folder, origin = folder_adapter(adapter)
        else:
            assert run is not None
            with open_workspace(session.folder, read_only=True) as space:
                finished = finished_run(space, run)
            if finished.plan.training.method == "full":
                raise BadInput(
                    f"run {run} trained all weights: there is nothing to merge", value="full", allowed="lora, dora, qlora", next=f"coop weights gguf {run}"
                )
            folder, origin = finished.folder / "adapter", finished.origin()
            base, out = find_base(finished.plan, base), out or finished.folder / "merged"
        record = merge_weights(base, folder, out, origin, rslora=rslora, check=not no_check, threads=threads, progress=show)
    licence = record["licence"] or f"unknown: ask who made the adapter (the base is under {record['base']['licence']})"
    session.show(
        record,
        f"{_parity_text(record)}\n\nmerged   {out}\nweights  {record['weights']}\nlicence  {licence}\nnext     coop weights gguf {run or out}",
    )


@weights.command()
@click.argument("model")
@click.option("--type", "kind", type=click.Choice(["f16", "q8_0"]), default="q8_0", show_default=True, help="f16: 2 bytes a weight. q8_0: about 1.06.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to make [default: RUN-TYPE.gguf in the run's folder].")
@click.option("--no-check", is_flag=True, help="Write without reading the weights back; the record says so.")
@click.pass_obj
def gguf(session: Session, model: str, kind: Any, out: Path | None, no_check: bool) -> None:
    """Write MODEL as one GGUF file: a run (merged before, or fully fine-tuned), or a folder that `coop weights merge` made.

    Llama, Mistral and Qwen2 with a byte-level BPE tokenizer; others are refused. The file carries tokenizer, chat template, name, licence and
    the digest of the folder it was made from. It is read back, one weight at a time: every byte is compared with the model's, and so is what both answer.

    \b
    coop weights gguf first --type q8_0
    coop weights gguf first-merged --type f16 --out first-f16.gguf
    """
    from train.export.gguf_file import write_gguf

    with progress(quiet=session.json) as show:
        build = None
        if Path(model, "export.json").is_file():
            source = model_of_folder(Path(model))
            if out is None:
                raise BadInput("a folder needs --out", allowed=f"coop weights gguf {model} --out FILE.gguf")
        elif Path(model).is_dir():
            raise BadInput(
                f"{model} is no folder that coop weights merge made: it holds no export.json", allowed="such a folder, or the name of a run",
                next=f"coop weights merge --adapter {model} --base BASE --out DIR",
            )  # fmt: skip
        else:
            with open_workspace(session.folder, read_only=True) as space:
                finished = finished_run(space, model)
            source, build = model_of_run(finished), finished.build
            out = out or finished.folder / f"{model}-{kind}.gguf"
        record = write_gguf(source, out, kind, build=build, check=not no_check, progress=show)
    from train.export.parity import table

    parity = record["parity"]
    shown = "NOT CHECKED: nobody has read it back"
    if parity is not None:
        tensors = parity["tensors"]
        shown = f"{table({f'GGUF {kind}': parity['gguf']})}\n{tensors['compared']} tensors, {tensors['bytes']:,} bytes, each as the model's numbers round"
    session.show(record, f"{shown}\n\nfile     {out}\nsha256   {record['sha256']}\nsize     {record['size']:,} bytes\nlicence  {record['licence']}")
