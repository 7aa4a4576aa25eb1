"""README.md of a release: the Hugging Face card, rendered from the card document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.verdict import MINIMUM_CLUSTERS
from model_card import front_matter
from model_card.decisions import COMPARED, LABELS, WHOLE
from model_card.hostile import code, fenced
from model_card.records import CardRecords
from model_card.renderers.loading import how_to_load
from model_card.renderers.profit import QUESTION, for_profit
from model_card.renderers.words import (
    amount,
    in_the_way,
    interval,
    language_name,
    number,
    percent,
    prose,
    quote,
    reason,
    said,
    show,
    table,
    use_of,
    value_of,
    words,
)

__all__ = ["render"]

_METHODS: Final = {
    "lora": "A LoRA adapter",
    "dora": "A DoRA adapter",
    "qlora": "A LoRA adapter, trained over a 4-bit copy of the base (QLoRA),",
    "full": "Full weights made from a base",
}


def _outcome(card: Mapping[str, Any]) -> str:
    if "value" not in card["evaluation"]["passed"]:
        return show(card["evaluation"]["passed"])
    if card["evaluation"]["passed"]["value"] is True:
        return "passed"
    waiver = card["votes"]["run"].get("waiver", {}).get("value")
    why = "".join(f": {told}" for told in [", ".join(in_the_way(card))] if told)
    return f"**not passed{why}; members decided by vote {code(waiver)} to release it all the same**" if waiver else f"**not passed{why}**"


def _beside(card: Mapping[str, Any]) -> str:
    """Return what else of the weights lies in the folder: somebody who reads `adapter` need not think that the base is needed."""
    derived = card["weights"]["derived"]
    files = any(path.startswith("derived/") and path != "derived/merge.json" for path in derived)
    found = [told for told, here in (("merged into it", "derived/merge.json" in derived), ("as GGUF files", files)) if here]
    return f" ({'alone, ' * (card['training']['method']['value'] != 'full')}{' and '.join(found)})" if found else ""


def _names(languages: list[str]) -> str:
    return ", ".join(map(language_name, languages))


def _vote(card: Mapping[str, Any]) -> str:
    vote = card["votes"]["run"]
    if "for" not in vote:
        return show(vote)
    return (
        f"{show(vote['for'])} for, {show(vote['against'])} against, {show(vote['abstain'])} abstained, of {show(vote['roll'])} members on the roll "
        f"(turnout {show(vote['turnout_percent'])} %, quorum {show(vote['quorum_percent'])} %, approval at {show(vote['approval_percent'])} %)"
    )


def _status(card: Mapping[str, Any]) -> str:
    dissent = value_of(card["dissent"]["reasons"])
    published = card["dissent"]["published"]
    told = f"{len(dissent)} member{'s' * (len(dissent) > 1)} gave a reason against it" if dissent else "no member gave a reason against it"
    said_so = len(published["value"]) if "value" in published else 0
    told += f"; what {said_so} of them wrote stands word for word under Votes and dissent" if said_so else f" ({reason(published)})" if dissent else ""
    waived = [name for name, gate in card["gates"].items() if gate["result"] == "waived"]
    waived = [name for name in waived if name != WHOLE] or waived  # the whole says nothing where a part of it is named
    odd = (
        f">\n> **Not passed: {', '.join(map(prose, waived))}.** Members knew, and voted to release these weights all the same ([governance](card/governance.md)).\n"
        if waived
        else ""
    )
    return (
        "> **Do not believe this page: check it.** Run `coop verify DIR` on the downloaded folder, and compare the cooperative's fingerprint with one you got another way:\n"
        f"> `coop verify DIR --pin {card['coop']['value']}`\n>\n"
        "> These weights are released only if that command says so; it also says whether they are current, superseded or withdrawn, and which stewards signed. It needs no account and no network.\n"
        f"{odd}>\n"
        f"> Vote on the training run: {_vote(card)}; {told}. The members' vote on this release came after this page was written, because it is about this page too; `coop verify` shows it."
    )


def _how(policy: Mapping[str, Any]) -> str:
    """Return how the intervals of the held-out loss were made, by the policy members voted."""
    if policy.get("interval", "bootstrap") == "t":
        return f"by leaving out one contributor at a time (Student's t); where fewer than {MINIMUM_CLUSTERS} contributed none is stated, and nothing is shown"
    return f"by resampling contributors, or rows (marked) where fewer than {MINIMUM_CLUSTERS} contributed"


def _results(card: Mapping[str, Any]) -> str:
    # What a reader came for stands first: on a narrow page the table ends at the edge.
    head = [
        "Language",
        "Better than base?",
        "Verdict",
        "Base",
        "Tuned",
        "Difference",
        "Interval",
        "Members",
        "Rows: for training / held out",
        "Tokens trained on",
    ]
    rows = []
    for language, row in card["languages"].items():
        given = [number(row["members"]), f"{number(row['train'])} / {number(row['heldout'])}", number(row["supervised_tokens"])]
        rows.append([language_name(language), *_measured(row), *given])
    rows.append(["All", *_measured(card["evaluation"]["overall"]), "", "", ""])
    return table(head, rows)


def _read(card: Mapping[str, Any]) -> list[str]:
    """Say it where a run was too short to read all rows it might have."""
    read, there = value_of(card["run"]["trained_records"]), value_of(card["data"]["splits"], {}).get("train")
    return (
        [f"The run read {read:,} of the {there:,} rows for training; the rest were in the build and not learned from."]
        if read is not None and there and read < there
        else []
    )


def _measured(row: Mapping[str, Any]) -> list[str]:
    better = "yes" if value_of(row["improved"]) is True else "**not shown**"
    losses = [number(row["base"], 3), number(row["tuned"], 3), number(row["difference"], 3, sign=True)]
    return [better, str(value_of(row["verdict"], "-")), *losses, interval(row)]


def _unproven(card: Mapping[str, Any]) -> str:
    worse, unproven = value_of(card["evaluation"]["worse"], []), value_of(card["evaluation"]["unproven"], [])
    if "value" not in card["evaluation"]["passed"]:
        return f"Nothing was measured ({show(card['evaluation']['passed'])})."
    parts = []
    if worse:
        parts.append(f"**Measured worse than the base weights:** {_names(worse)}.")
    if rest := [language for language in unproven if language not in worse]:
        parts.append(
            f"**Not shown to be better than the base weights** (too few held-out rows or contributors, or the interval includes zero): {_names(rest)}."
        )
    if not parts:
        parts.append("In every language of this release the whole interval lies below zero: the held-out loss fell.")
    tasks = card["tasks"] if "not_collected" not in card["tasks"] else {}
    if open_ := [f"{code(name)} ({words(value_of(task['verdict']))})" for name, task in tasks.items() if value_of(task["verdict"]) not in ("PASS", None)]:
        parts.append(f"**Tasks that were not passed:** {', '.join(open_)}; the table below shows how far.")
    few = [language for language, row in card["languages"].items() if value_of(row["resampled"]) == "items"]
    if few:
        parts.append(
            f"**Of few people:** {_names(few)}. Fewer than {MINIMUM_CLUSTERS} gave the held-out answers, so rows were resampled: such an interval is too narrow, and says nothing about other people."
        )
    parts.append("A lower loss on members' held-out answers is not proof that the answers are true, useful or safe.")
    return " ".join(parts)


def _points(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a score of 0 to 1 as points of 100."""
    value = field.get("value")
    return dict(field) | {"value": 100 * value} if isinstance(value, (int, float)) and not isinstance(value, bool) else field


def _tasks(card: Mapping[str, Any]) -> list[str]:
    tasks = card["tasks"]
    if "not_collected" in tasks:
        return []
    rows = []
    for name, task in tasks.items():
        policy = value_of(card["gates"].get(f"task {name}", {}).get("policy", {}), {})
        level = policy.get("comparison") == "threshold"
        notes = [*([str(policy["tier"])] if policy.get("tier") else []), *(["lower is better"] if task["lower_is_better"] else [])]
        label = code(name) + (f" ({', '.join(notes)})" if notes else "")
        over_all = [("", task["overall"])] if len(task["languages"]) != 1 else []
        for language, row in [*task["languages"].items(), *over_all]:
            if "value" not in row["tuned"] and "value" not in row["verdict"]:
                continue
            points = {key: _points(row[key]) for key in ("base", "tuned", "difference", "low", "high", "tuned_low", "tuned_high")}
            shown = f"{number(points['tuned_low'], 1)} to {number(points['tuned_high'], 1)} (of the score)" if level else interval(points, 1)
            rows.append(
                [label, language_name(language) if language else "all", number(row["items"]), number(row["clusters"]), number(points["base"], 1), number(points["tuned"], 1),
                 number(points["difference"], 1, sign=True), shown, str(value_of(row["verdict"], "-"))]
            )  # fmt: skip
    return ["## Tasks", "Scores of the tasks members voted for, in points of 100, base and tuned, with the interval of the difference, or of the score itself where members voted a threshold. "
            "Required: without PASS no release; supporting: FAIL blocks; advisory: shown only. Translations of one item count once as independent.",
            table(["Task", "Language", "Items", "Independent", "Base", "Tuned", "Difference", "Interval", "Verdict"], rows)]  # fmt: skip


def _share(value: object) -> str:
    return percent(round(value, 3)) if isinstance(value, (int, float)) else "-"


def _bits(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "-"


def _at_most(limit: object) -> str:
    return f"at most {percent(limit)}" if isinstance(limit, (int, float)) else "-"


def _leak(card: Mapping[str, Any]) -> str:
    leak = card["leak"]
    if value_of(leak["epsilon_lower"]) is None:
        return f"{show(leak['verdict'])[0].upper()}{show(leak['verdict'])[1:]}. Whether the weights give away what members wrote is therefore not known."
    tpr, extraction, exposure, areas = (value_of(leak[name], {}) for name in ("tpr", "extraction", "exposure", "auc"))
    policy, apart, whole = value_of(leak["policy"]) or {}, areas.get("calibrated", {}), extraction.get("whole", {})
    rows = [
        [
            "told apart: of a pair of lines, one trained on and one not, which is which",
            f"right for {_share(apart.get('value'))} of pairs ({_share(apart.get('low'))} to {_share(apart.get('high'))}); chance is 50 %",
            "-",
        ],
        [
            "recognised as trained on, at 1 % false alarms",
            f"{words(tpr.get('count'))} of {words(tpr.get('of'))} ({_share(tpr.get('low'))} to {_share(tpr.get('high'))})",
            _at_most(policy.get("maximum_tpr")),
        ],
        [
            "repeated word for word",
            f"{words(whole.get('count'))} of {words(whole.get('of'))} (at most {_share(whole.get('high'))})",
            _at_most(policy.get("maximum_extraction")),
        ],
        [
            "epsilon, lower bound",
            f"{show(leak['epsilon_lower'])} (no audit with so many lines could show more than {show(leak['epsilon_ceiling'])})",
            f"not shown above {words(policy['maximum_epsilon'])}" if "maximum_epsilon" in policy else "-",
        ],
        [
            "exposure, bits: trained on / not",
            f"{_bits(exposure.get('included'))} / {_bits(exposure.get('others'))} of at most {_bits(exposure.get('ceiling'))}",
            "-",
        ],
        ["the same on the base weights alone: epsilon", words(value_of(leak["control"], {}).get("base", {}).get("lower_bound")), "must be 0"],
        ["verdict under the voted policy", show(leak["verdict"]), "-"],
    ]
    parts = [
        f"Measured on {show(leak['made'])} lines of random syllables that no member wrote, of which a secret coin put {show(leak['included'])} into training; never on members' texts.",
        table(["Leak test", "Result", "Voted limit"], rows),
        "The bound is a lower one: the weights give away at least so much. That nothing was extracted is no evidence that nothing can be.",
        *_compared(card),
    ]
    waived = [name for name in ("leak test", COMPARED) if card["gates"].get(name, {}).get("result") == "waived"]
    if waived:
        parts.append(
            f"**Not passed: {' and '.join(waived)}. Members decided by vote {show(card['gates'][waived[0]]['waiver'])} to release these weights all the same.**"
        )
    return "\n\n".join(parts)


def _compared(card: Mapping[str, Any]) -> list[str]:
    """Return what somebody sees who lays these weights beside those of the release before."""
    found = card["leak"]["differential"]
    if "auc" not in found:
        return []
    auc, dealt = value_of(found["auc"], {}), value_of(found["permutation"], {})
    limit = (value_of(card["leak"]["policy"]) or {}).get("differential") or {}
    return [
        f"**Beside the release of run {show(found['previous_run'])}.** Somebody who has both sets of weights, and a line that was trained on before and now is not beside one that never was, "
        f"tells which is which for {_share(auc.get('value'))} of pairs ({_share(auc.get('low'))} to {_share(auc.get('high'))}; chance is 50 %, "
        f"members voted {_at_most(limit.get('maximum_auc')) if limit else 'no limit'}). Coins dealt anew told them apart as well in {words(dealt.get('as_high'))} of {words(dealt.get('of'))} deals. "
        f"Between the two releases {number(found['members_left'])} contributors left and {number(found['members_joined'])} joined. Verdict: {show(found['verdict'])}."
    ]


def _in_order(card: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return members' statements by field in the order a reader wants them: card.json has them by the alphabet."""
    return [(name, card["statements"][name]) for name in LABELS if name in card["statements"]]


def _statements(card: Mapping[str, Any]) -> str:
    """Return what members say, and in one line what nobody has said."""
    told = ["Each was signed by the member named below it. Members approve all of it, or not, when they vote on the release."]
    told += [f"**{LABELS[name]}**\n\n{said(field)}" for name, field in _in_order(card) if "value" in field or "signed" in field]
    silent = [LABELS[name] for name, field in _in_order(card) if "value" not in field and "signed" not in field]
    if silent:
        told.append(f"No member has signed a statement on: {', '.join(silent)}. So nothing is said here about it, rather than something made up.")
    return "\n\n".join(told)


def _generations(card: Mapping[str, Any]) -> str:
    samples = value_of(card["generations"], [])
    if not samples:
        return "No sample answers were made."
    parts = ["One greedy answer each to fixed questions of ours, never a member's text. They are shown as they came, right or wrong."]
    for sample in samples:
        parts.append(f"**{language_name(sample['language'])}**, question:\n\n{fenced(sample['prompt'])}")
        parts.append(f"Base weights:\n\n{fenced(sample['base'])}")
        parts.append(f"Tuned weights:\n\n{fenced(sample['tuned'])}")
    if missing := value_of(card["evaluation"]["languages_without_prompt"]):
        parts.append(f"No question was ready in: {_names(missing)}.")
    return "\n\n".join(parts)


def _canaries(card: Mapping[str, Any]) -> list[str]:
    found = card["canaries"]
    if "count" not in found:
        return []
    return [
        f"Canaries: {show(found['count'])} lines of random syllables that no member wrote were made, and about half of them, drawn by a secret coin, trained on, so that it can be "
        f"tested how much these weights give away. The weights may repeat them. Commitment to the seed they follow from: {show(found['commitment'])}."
    ]


def _energy(card: Mapping[str, Any]) -> str:
    kwh, carbon = value_of(card["energy"]["kwh"]), value_of(card["energy"]["co2e_kg"])
    if kwh is None:
        return f"Energy: {show(card['energy']['kwh'])}."
    told = f", {code(amount(carbon))} kg CO2 equivalents" if carbon is not None else ""
    return f"Energy, **estimated**: {code(amount(kwh))} kWh{told}. Method: {code(card['energy']['kwh']['method'])}."


def _compute(card: Mapping[str, Any]) -> str:
    compute = card["compute"]
    flop, ratio = value_of(compute["flop"]), value_of(compute["eu_one_third_ratio"])
    parts = [f"Compute, **estimated**: {code(amount(flop))} FLOP." if flop is not None else f"Compute: {show(compute['flop'])}."]
    if ratio is not None:
        parts.append(
            f"That is {code(amount(ratio))} of the compute from which a modified model counts as a new one in the EU (a computation, not legal advice)."
        )
    runs = value_of(compute["other_runs"], {})
    if runs:
        failed = sum(sum(other["ends"].get(status, 0) for status in ("failed", "halted")) for other in runs.values())
        parts.append(
            f"Other runs of this cooperative before it: {code(len(runs))}, with {code(failed)} failed or halted start(s); their own energy is on their own cards."
        )
    return " ".join(parts)


def _segments(card: Mapping[str, Any]) -> str:
    rows = []
    for one in value_of(card["run"]["segments"], []):
        steps = "-" if one["from_step"] is None or one["to_step"] is None else f"{one['from_step']} to {one['to_step']}"
        outcome = one["status"] + (f" ({one['cause']})" if one["cause"] else "")
        rows.append([code(one["start"]), code(one["started"]), code(outcome), code(steps), "-" if one["seconds"] is None else code(round(one["seconds"]))])
    return table(["Start", "At", "How it ended", "Steps", "Seconds"], rows) if rows else show(card["run"]["segments"])


def _hardware(card: Mapping[str, Any]) -> str:
    found = value_of(card["run"]["hardware"])
    if found is None:
        return f"Hardware: {show(card['run']['hardware'])}."
    devices = [f"{one['name']} ({one['memory_bytes'] / 2**30:.0f} GiB)" for one in found["devices"]]
    names = ", ".join(f"{devices.count(name)} x {code(name)}" for name in sorted(set(devices)))
    versions = "; ".join(f"{name} {code(found[key])}" for name, key in (("driver", "driver"), ("CUDA", "cuda")) if found.get(key))
    cores = f"{code(found['cpus'])} core{'s' * (found['cpus'] != 1)}"
    parts = [names, f"{code(found['cpu'])}, {cores}, {code(round(found['memory_bytes'] / 2**30))} GiB", versions]
    return f"Hardware of the last start: {'; '.join(part for part in parts if part)}."


def _provenance(card: Mapping[str, Any]) -> str:
    rows = [
        ["Cooperative (digest of its founding statement)", show(card["coop"])],
        ["Plan members voted on", show(card["plan"])],
        ["Dataset build", show(card["data"]["manifest"])],
        ["Base weights", f"{show(card['base']['name'])}, {show(card['base']['licence'])}, {show(card['base']['digest'])}"],
    ]
    rows += [[label, number(card["run"][name]) if name in _COUNTS else show(card["run"][name])] for name, label in (("run", "Run"), ("started", "Started"), ("ended", "Ended"), ("wall_s", "Seconds"), ("device", "Device"),
                                                                  ("steps", "Optimizer steps"), ("trained_records", "Records trained on"), ("trainable_parameters", "Trained parameters"),
                                                                  ("packages", "Packages"), ("environment", "All packages (digest of the list)"))]  # fmt: skip
    return table(["What", "Value"], rows)


def _dissent(card: Mapping[str, Any]) -> str:
    found = card["dissent"]["published"]
    if "value" not in found:
        return f"Dissent: {show(found)}."
    parts = ["Members who voted against wrote, word for word:"]
    parts += [f"{quote(one['text'])}\n>\n> (member {code(one['author'])}, whose ballot names this text)" for one in found["value"]]
    return "\n\n".join(parts)


_COUNTS: Final = ("steps", "trained_records", "trainable_parameters")

_PAGES: Final = """| Page | For whom |
| --- | --- |
| [`card/summary.eng.md`](card/summary.eng.md) | everybody: one page in plain words |
| [`card/governance.md`](card/governance.md) | members, journalists: votes, consent, gates, what was waived |
| [`card/changes.md`](card/changes.md) | what changed since the release before |
| [`card/eu_public_summary.md`](card/eu_public_summary.md), [`card/model_documentation_form.json`](card/model_documentation_form.json) | EU AI Act: training content, documentation form |
| [`card/bom.cdx.json`](card/bom.cdx.json), [`data/croissant.json`](data/croissant.json) | machines: bill of materials, dataset |
| [`card/mof.yaml`](card/mof.yaml), [`card/fmti.csv`](card/fmti.csv) | researchers: how open it is, and 100 transparency indicators |
| [`card.json`](card.json) | all of it, every value with its source |"""


def render(card: Mapping[str, Any], records: CardRecords) -> str:
    """Return README.md for a card of `make_card`: Hugging Face metadata, then the page; the same card gives the same text.

    Names and generated text are treated as hostile: they appear only in code spans and fenced blocks they cannot close; what members
    wrote is quoted with everything escaped that Markdown would act on.

    Raises:
        BadInput: the metadata would not pass our check of the Hub's rules.
    """
    policy = card["evaluation"]["policy"]["value"]
    method, objective = card["training"]["method"]["value"], card["training"]["objective"]["value"]
    sections = [
        f"# {code(card['name']['value'])}",
        f"{_METHODS[method]} for {code(card['base']['name']['value'])}{_beside(card)}, trained{' by preference between pairs of answers (DPO)' * (objective == 'dpo')} by a cooperative on what its members gave for this use. Licence: {show(card['licence'])}. [In plain words](card/summary.eng.md).",
        _status(card),
        "## What is where",
        _PAGES,
        "## Results by language",
        f"Loss on held-out answers in nats per token; lower is better. Difference is tuned minus base; interval at {percent(policy['confidence'])}, {_how(policy)}. "
        f"Policy voted before the run: margin {words(policy['margin'])}, at least {words(policy['minimum_items'])} rows. Outcome: {_outcome(card)}.",
        _results(card),
        *_read(card),
        "![Change of the held-out loss by language, with intervals](card/charts/loss.svg)",
        "## Where it is worse or unproven",
        _unproven(card),
        *_tasks(card),
        "## What it gives away",
        _leak(card),
        "## Intended use, limits and risks, in members' words",
        _statements(card),
        "## Consent",
        f"Every record was given by a member who consented to this use: {use_of(value_of(card['consent']['use'], {}))}. Consents behind the data: {show(card['consent']['named'])}; "
        f"withdrawn by the end of the run: {show(card['consent']['withdrawn_by_run_end'])}. Records left out of the build: {show(card['data']['excluded'])}.",
        f"**{QUESTION}** {for_profit(card)}",
        prose(card["consent"]["promise"]["value"]),
        "## Votes and dissent",
        "![How members voted on the run](card/charts/vote.svg)",
        _dissent(card),
        "## How to load",
        how_to_load(card),
        "## Sample answers",
        _generations(card),
        "## Training",
        table(["Setting", "Value"], [[name.replace("_", " "), show(field)] for name, field in card["training"].items()]),
        "![Records by language](card/charts/data.svg)",
        *_canaries(card),
        _hardware(card),
        _compute(card),
        _energy(card),
        "Every start of the run, those that failed too:",
        _segments(card),
        "## Provenance",
        "Rendered from the records of this folder by machine; `card.json` holds the source of every value, and `coop verify` renders all pages again and compares every byte.",
        _provenance(card),
    ]
    return front_matter.dumps(front_matter.front_matter(card)) + "\n" + "\n\n".join(sections) + "\n"
