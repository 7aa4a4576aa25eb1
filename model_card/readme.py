"""README.md of a release: the Hugging Face card, rendered from the card document and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_card import front_matter, iso639
from model_card.hostile import code, fenced

__all__ = ["render"]

PROMISE = (
    "A member may withdraw at any time. The cooperative stops using the member's records at once; the next release is trained without them and supersedes this one. "
    "Copies already downloaded cannot be recalled and may still hold traces of the withdrawn records; no unlearning method is claimed to erase them."
)
_HUMAN = (("intended_use", "Intended use"), ("out_of_scope_use", "Out of scope"), ("limits", "Limits"), ("bias_and_risks", "Bias and risks"),
          ("privacy_audit", "Leak test"), ("safety_evaluation", "Safety test"), ("contact", "Contact"))  # fmt: skip


HOW_TO_LOAD = """In this folder, with the base weights whose digest stands under Provenance (`coop base FOLDER` prints the digest of a folder):

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "BASE"  # the folder of the base weights
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "adapter")
messages = [{"role": "user", "content": "What is the sun?"}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=60)[0][prompt["input_ids"].shape[1]:]))
```"""
"""The tests run this code as it stands, with BASE replaced."""


_METHODS = {
    "lora": "A LoRA adapter",
    "dora": "A DoRA adapter",
    "qlora": "A LoRA adapter, trained over a 4-bit copy of the base (QLoRA),",
    "full": "Full weights made from a base",
}


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{code(key)}: {_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    return code(value)


def _show(field: Mapping[str, Any]) -> str:
    """Return a typed field as inline Markdown; a field without a value says why."""
    if "value" in field:
        return _value(field["value"])
    kind, reason = next(iter(field.items()))
    return f"{kind.replace('_', ' ')}: {reason}"


def _number(field: Mapping[str, Any], digits: int | None = None, *, sign: bool = False) -> str:
    value = field.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(field["withheld"]) if "withheld" in field else "-"
    if digits is None:
        return f"{value:,}"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _interval(row: Mapping[str, Any]) -> str:
    if "value" not in row["low"]:
        return "-"
    note = " (rows)" if row["resampled"].get("value") == "items" else ""
    return f"{_number(row['low'], 3, sign=True)} to {_number(row['high'], 3, sign=True)}{note}"


def _outcome(card: Mapping[str, Any]) -> str:
    if card["evaluation"]["passed"].get("value") is True:
        return "passed"
    waiver = card["votes"]["run"].get("waiver", {}).get("value")
    return f"**not passed; members decided by vote {code(waiver)} to release it all the same**" if waiver else "not passed"


def _names(languages: list[str]) -> str:
    return ", ".join(f"{iso639.name(language)} ({code(language)})" for language in languages)


def _status(card: Mapping[str, Any]) -> str:
    vote = card["votes"]["run"]
    if "for" in vote:
        counted = (
            f"{_show(vote['for'])} for, {_show(vote['against'])} against, {_show(vote['abstain'])} abstained, of {_show(vote['roll'])} members on the roll "
            f"(turnout {_show(vote['turnout_percent'])} %, quorum {_show(vote['quorum_percent'])} %, approval at {_show(vote['approval_percent'])} %)"
        )
    else:
        counted = _show(vote)
    dissent = card["dissent"].get("value")
    return (
        "> **Do not believe this page: check it.** Run `coop verify DIR` on the downloaded folder, and compare the cooperative's fingerprint with one you got another way:\n"
        f"> `coop verify DIR --pin {card['coop']['value']}`\n>\n"
        "> These weights are released only if that command says so. It needs no account and no network.\n>\n"
        f"> Vote on the training run: {counted}. The members' vote on this release came after this page was written, because it is about this page too; `coop verify` shows it.\n>\n"
        f"> Reasons given by members who voted against, by digest: {', '.join(code(item) for item in dissent) if dissent else 'none'}."
    )


def _results(card: Mapping[str, Any]) -> str:
    head = ["Language", "Members", "Rows trained on / held out", "Tokens trained on", "Base", "Tuned", "Difference", "Interval", "Verdict", "Better than base?"]
    rows = []
    for language, row in card["languages"].items():
        cells = [_number(row["members"]), f"{_number(row['train'])} / {_number(row['heldout'])}", _number(row["supervised_tokens"])]
        cells += [_number(row["base"], 3), _number(row["tuned"], 3), _number(row["difference"], 3, sign=True), _interval(row)]
        verdict = _show(row["verdict"])
        rows.append([f"{iso639.name(language)} ({code(language)})", *cells, verdict, "yes" if row["improved"].get("value") is True else "**not shown**"])
    overall = card["evaluation"]["overall"]
    rows.append(["All", "", "", "", _number(overall["base"], 3), _number(overall["tuned"], 3), _number(overall["difference"], 3, sign=True), _interval(overall),
                 _show(overall["verdict"]), "yes" if overall["improved"].get("value") is True else "**not shown**"])  # fmt: skip
    return _table(head, rows)


def _unproven(card: Mapping[str, Any]) -> str:
    worse, unproven = card["evaluation"]["worse"].get("value", []), card["evaluation"]["unproven"].get("value", [])
    parts = []
    if worse:
        parts.append(f"**Measured worse than the base weights:** {_names(worse)}.")
    if rest := [language for language in unproven if language not in worse]:
        parts.append(f"**Not shown to be better than the base weights** (too few held-out rows, or the interval includes zero): {_names(rest)}.")
    if not parts:
        parts.append("In every language of this release the whole interval lies below zero: the held-out loss fell.")
    parts.append("A lower loss on members' held-out answers is not proof that the answers are true, useful or safe.")
    return " ".join(parts)


def _generations(card: Mapping[str, Any]) -> str:
    samples = card["generations"].get("value", [])
    if not samples:
        return "No sample answers were made."
    parts = ["One greedy answer each to fixed questions of ours, never a member's text. They are shown as they came, right or wrong."]
    for sample in samples:
        parts.append(f"**{iso639.name(sample['language'])}** ({code(sample['language'])}), question:\n\n{fenced(sample['prompt'])}")
        parts.append(f"Base weights:\n\n{fenced(sample['base'])}")
        parts.append(f"Tuned weights:\n\n{fenced(sample['tuned'])}")
    if missing := card["evaluation"]["languages_without_prompt"].get("value"):
        parts.append(f"No question was ready in: {_names(missing)}.")
    return "\n\n".join(parts)


def _canaries(card: Mapping[str, Any]) -> list[str]:
    found = card["canaries"]
    if "count" not in found:
        return []
    return [
        f"Canaries: {_show(found['count'])} lines of random syllables that no member wrote were made, and about half of them, drawn by a secret coin, trained on, so that it can be "
        f"tested how much these weights give away. The weights may repeat them. Commitment to the seed they follow from: {_show(found['commitment'])}."
    ]


def _energy(card: Mapping[str, Any]) -> str:
    found = card["energy"].get("value")
    if found is None:
        return f"Energy: {_show(card['energy'])}."
    methods = "; ".join(
        f"{name}: {_value(found[key])}" for name, key in (("CPU", "cpu_method"), ("GPU", "gpu_method"), ("memory", "ram_method")) if found.get(key)
    )
    left_out = f" {code(found['segments_unmeasured'])} more left none." if found["segments_unmeasured"] else ""
    carbon = f", {code(round(found['co2e_kg'], 4))} kg CO2 equivalents ({_value(found.get('country', []))})" if found.get("co2e_kg") is not None else ""
    return (
        f"Energy, **estimated**: {code(round(found['kwh'], 4))} kWh{carbon}, over {code(found['segments'])} segment(s).{left_out} "
        f"Method: {_value(found.get('method', []))}. {methods}."
    )


def _segments(card: Mapping[str, Any]) -> str:
    rows = []
    for one in card["run"]["segments"]["value"]:
        steps = "-" if one["from_step"] is None or one["to_step"] is None else f"{one['from_step']} to {one['to_step']}"
        outcome = one["status"] + (f" ({one['cause']})" if one["cause"] else "")
        rows.append([code(one["start"]), code(one["started"]), code(outcome), code(steps), "-" if one["seconds"] is None else code(round(one["seconds"]))])
    return _table(["Start", "At", "How it ended", "Steps", "Seconds"], rows)


def _hardware(card: Mapping[str, Any]) -> str:
    found = card["run"]["hardware"]["value"]
    devices = [f"{one['name']} ({one['memory_bytes'] / 2**30:.0f} GiB)" for one in found["devices"]]
    names = ", ".join(f"{devices.count(name)} x {code(name)}" for name in sorted(set(devices)))
    versions = "; ".join(f"{name} {code(found[key])}" for name, key in (("driver", "driver"), ("CUDA", "cuda")) if found.get(key))
    parts = [names, f"{code(found['cpu'])}, {code(found['cpus'])} cores, {code(round(found['memory_bytes'] / 2**30))} GiB", versions]
    return f"Hardware of the last start: {'; '.join(part for part in parts if part)}."


def _provenance(card: Mapping[str, Any]) -> str:
    rows = [
        ["Cooperative (digest of its founding statement)", _show(card["coop"])],
        ["Plan members voted on", _show(card["plan"])],
        ["Dataset build", _show(card["data"]["manifest"])],
    ]
    rows += [["Base weights", f"{_show(card['base']['name'])}, {_show(card['base']['licence'])}, {_show(card['base']['digest'])}"]]
    rows += [[label, _show(card["run"][name])] for name, label in (("run", "Run"), ("started", "Started"), ("ended", "Ended"), ("wall_s", "Seconds"), ("device", "Device"),
                                                                   ("steps", "Optimizer steps"), ("trained_records", "Records trained on"), ("trainable_parameters", "Trained parameters"),
                                                                   ("packages", "Packages"), ("environment", "All packages (digest of the list)"))]  # fmt: skip
    return _table(["What", "Value"], rows)


def render(card: Mapping[str, Any]) -> str:
    """Return README.md for a card of `make_card`: Hugging Face metadata, then the page; the same card gives the same text.

    Names and generated text are treated as hostile: they appear only in code spans and fenced blocks they cannot close.

    Raises:
        BadInput: the metadata would not pass our check of the Hub's rules.
    """
    policy = card["evaluation"]["policy"]["value"]
    sections = [
        f"# {code(card['name']['value'])}",
        _status(card),
        f"{_METHODS[card['training']['method']['value']]} for {code(card['base']['name']['value'])}, trained{' by preference between pairs of answers (DPO)' * (card['training']['objective']['value'] == 'dpo')} by a cooperative on what its members gave for this use. Licence: {_show(card['licence'])}.",
        "## Results by language",
        f"Loss on held-out answers in nats per token; lower is better. Difference is tuned minus base; interval at {code(policy['confidence'])}, by resampling contributors, or rows (marked) where fewer than five contributed. "
        f"Policy voted before the run: margin {code(policy['margin'])}, at least {code(policy['minimum_items'])} rows. Outcome: {_outcome(card)}.",
        _results(card),
        "## Where it is worse or unproven",
        _unproven(card),
        "## Consent",
        f"Every record was given by a member who consented to this use: {_show(card['consent']['use'])}. Consents behind the data: {_show(card['consent']['named'])}; "
        f"withdrawn by the end of the run: {_show(card['consent']['withdrawn_by_run_end'])}. Records left out of the build: {_show(card['data']['excluded'])}.",
        PROMISE,
        "## How to load",
        HOW_TO_LOAD,
        "## Sample answers",
        _generations(card),
        "## Training",
        _table(["Setting", "Value"], [[name.replace("_", " "), _show(field)] for name, field in card["training"].items()]),
        *_canaries(card),
        _hardware(card),
        _energy(card),
        "Every start of the run, those that failed too:",
        _segments(card),
        "## Limits and use",
        "\n".join(f"- {label}: {_show(card[name])}" for name, label in _HUMAN),
        "## Provenance",
        "Rendered from the records of this folder by machine; `card.json` holds the source of every value, and `coop verify` renders both again and compares every byte.",
        _provenance(card),
    ]
    return front_matter.dumps(front_matter.front_matter(card)) + "\n" + "\n\n".join(sections) + "\n"
