"""The quality stages of data builds against real contributions, planted cases and other packages.

    python benchmarks/data_quality.py FOLDER

FOLDER holds `contributions.jsonl` and `scale.parquet` (rows with record_id, inputs, targets, language_code, user_id, created_at) and
`eval_xcopa.jsonl`, `eval_mgsm.jsonl` (translated questions with a language). They are not part of the project.
`data_quality_labels.json` holds what a reader of the rows decided, by record id: whether a mark or a drop was right. Other packages
(datasketch, commonregex, scrubadub, datafog) are compared where they are installed.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import publish

sys.path.insert(0, str(Path(__file__).parent.parent))

import pyarrow.parquet as pq
from langcodes import Language

from data_pipeline.candidate import Candidate
from data_pipeline.deduplicate import deduplicate
from data_pipeline.record import Record
from data_pipeline.stages import decontamination as decont
from data_pipeline.stages import language_id as lid
from data_pipeline.stages import near_duplicates as near
from data_pipeline.stages import pii as personal
from data_pipeline.stages.code import prose
from data_pipeline.stages.likeness import likeness
from data_pipeline.stages.stage import Evidence, Item
from data_pipeline.stages.table import STAGES

LABELS = json.loads((Path(__file__).parent / "data_quality_labels.json").read_text(encoding="utf-8"))

# Invented values; the first column says what is planted.
PLANTED = [
    ("email phone", "eng", "Contact me at jane.doe@brightmail.org or +44 20 7946 0958."),
    ("phone", "eng", "My cell is (415) 555-2671, call any time."),
    ("email phone", "spa", "Mi correo es maria_perez@correo.es y mi móvil +34 612 345 678."),
    ("phone", "spa", "Llámame al 612 345 678 por la tarde."),
    ("phone", "hin", "मेरा नंबर +91 98765 43210 है।"),
    ("phone", "hin", "फ़ोन करें: ९८७६५ ४३२१०"),
    ("phone", "zho", "电话：+86 138 1234 5678"),
    ("phone email", "zho", "我的手机13812345678，邮箱wang@mail.cn"),
    ("email phone", "ara", "بريدي ali@barid.net والهاتف +966 50 123 4567"),
    ("phone", "ara", "رقمي 0100 123 4567"),
    ("phone iban", "deu", "Rufen Sie 030 901820 an, IBAN DE89 3704 0044 0532 0130 00"),
    ("card ip", "deu", "Karte 4539 1488 0343 6467, Adresse 54.240.162.118"),
    ("phone", "jpn", "電話は090-1234-5678です"),
    ("email", "jpn", "メールはtanaka@mail.jpまで"),
    ("phone", "swa", "Piga simu 0712 345 678"),
    ("email phone", "swa", "Andika kwa juma@barua.co.ke au +254 712 345 678"),
    ("ip", "eng", "The server is 2a00:1450:4001:81b::200e."),
    ("iban", "fra", "Mon IBAN est FR14 2004 1010 0505 0001 3M02 606."),
]
CLEAN = [
    ("eng", "Use alice@example.com and 192.168.0.1, version 10.2.3, on 2019-12-01 00:00:00."),
    ("eng", "12 + 3 = 15, 1234567890 is a number, and so is 4539 1488 0343 6468."),
    ("eng", "@decorator\ndef f(x): return std::move(x) @ y"),
    ("deu", "Am 01.02.2003 um 12:30:45 kostete es 1.234.567,89 Euro."),
    ("zho", "公元2024年，圆周率3.1415926535，订单20240101。"),
    ("hin", "२०२४ में १२३४५ लोग आए।"),
    ("eng", "chmod 0755 /usr/bin; commit 836abcd7335137228ad77feb28655d85712680f1"),
]


def candidate(row: dict[str, Any]) -> Candidate:
    record = Record(
        record=row["record_id"],
        inputs=row["inputs"],
        targets=row["targets"],
        language=row["language_code"],
        annotation_type=row["annotation_type"],
        user_id=None,
        parents=(),
        licence=row["licence"],
        written_at=None,
        line=1,
        batch="b",
        position=0,
        statement="s",
        member=row["user_id"],
        authors=(row["user_id"],),
        salt="",
        commitment="",
        created_at=row["created_at"],
        erased_at=None,
    )
    return Candidate(record, ("c",), record.inputs, record.targets)


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def labelled(name: str, found: set[str]) -> dict[str, Any]:
    """How many of the labelled marks or drops that still occur were right."""
    known = {record: right for record, right in LABELS[name].items() if record in found}
    return {"found": len(found), "read": len(known), "right": sum(known.values())}


def doubted(rows: Sequence[Candidate], stage: Callable[[Candidate], bool]) -> set[str]:
    return {row.record for row in rows if stage(row)}


def language(rows: list[Candidate], questions: list[tuple[str, str]]) -> dict[str, Any]:
    parameters = lid.LanguageIdParameters()
    model = lid._model()

    def flags(some: list[Candidate]) -> set[str]:
        return {row.record for row in lid.language_id(some, parameters)[0] if any("doubt" in mark for mark in row.marks)}

    def judged(some: list[Candidate]) -> int:
        return sum(not any("unjudged" in mark for mark in row.marks) for row in lid.language_id(some, parameters)[0])

    def plain(row: Candidate) -> bool:
        if sum(map(str.isalpha, row.inputs + row.targets)) < 20:
            return False
        top = lid._alpha3(model.rank(f"{row.inputs}\n{row.targets}")[0][0])
        return top != row.language and lid._macrolanguage(top) != lid._macrolanguage(row.language)

    draw = random.Random(1)
    clean = [
        replace(rows[0], source=replace(rows[0].source, record=f"q{n}", language=code), inputs=text, targets="")
        for n, (code, text) in enumerate(draw.sample(questions, 4000))
    ]
    codes = sorted({code for code, _ in questions if lid.relatives(code)})
    wrong = []
    for row in clean:
        others = [code for code in codes if row.language not in lid.relatives(code) and code not in lid.relatives(row.language)]
        wrong.append(replace(row, source=replace(row.source, language=draw.choice(others))))
    field = draw.sample(rows, 4000)
    per_language: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, some in (("clean", clean), ("field", field)):
        ours, theirs = flags(some), doubted(some, plain)
        for row in some:
            counts = per_language[row.language]
            counts[f"{name}_rows"] += 1
            counts[f"{name}_flagged"] += row.record in ours
            counts[f"{name}_flagged_by_plain_top1"] += row.record in theirs
    ours, theirs = flags(wrong), doubted(wrong, plain)
    for row, told in zip(clean, wrong, strict=True):
        counts = per_language[row.language]
        counts["mislabelled_rows"] += 1
        counts["mislabelled_flagged"] += told.record in ours
        counts["mislabelled_flagged_by_plain_top1"] += told.record in theirs
    totals: Counter[str] = Counter()
    for counts in per_language.values():
        totals.update(counts)
    everything = flags(rows)
    margins = [margin for row in rows[:20_000] if (margin := _margin(row, model)) is not None]
    return {
        "judged_of_all_rows": [judged(rows), len(rows)],
        "totals": dict(totals),
        "by_language": {code: dict(per_language[code]) for code in sorted(per_language)},
        "flags_read": labelled("language_id", everything),
        "plain_top1_flags_read": labelled("plain_top1", doubted(rows, plain)),
        "closest_margin_to_the_threshold": round(min(abs(margin - parameters.min_margin) for margin in margins), 4),
    }


def _margin(row: Candidate, model: Any) -> Any:
    accepted = lid.relatives(row.language)
    ranked = [(lid._alpha3(label), score) for label, score in model.rank(f"{prose(row.inputs)} {prose(row.targets)}")]
    return ranked[0][1] - next(score for code, score in ranked if code in accepted) if accepted else None


def planted_pii() -> dict[str, Any]:
    tools: dict[str, Callable[[str, str], set[str]]] = {"ours": lambda text, code: set(personal.scrub(text, code)[1])}
    if installed("commonregex"):
        from commonregex import CommonRegex

        names = {"emails": "email", "phones": "phone", "ips": "ip", "ipv6s": "ip", "credit_cards": "card"}
        tools["commonregex"] = lambda text, _code: {kind for name, kind in names.items() if getattr(CommonRegex(text), name)}
    if installed("scrubadub"):
        import scrubadub

        scrubber = scrubadub.Scrubber()
        kinds = {"email": "email", "phone": "phone", "credit_card": "card"}
        tools["scrubadub"] = lambda text, _code: {kinds.get(filth.type, "other") for filth in scrubber.iter_filth(text)}
    if installed("datafog"):
        from datafog.services import TextService

        service = TextService(engine="regex")
        labels = {"EMAIL": "email", "PHONE": "phone", "CREDIT_CARD": "card", "IP_ADDRESS": "ip"}
        tools["datafog"] = lambda text, _code: {labels.get(label, "other") for label, hits in service.annotate_text_sync(text).items() if hits}
    results: dict[str, Any] = {}
    for name, find in tools.items():
        wanted = [(code, set(kinds.split()), find(text, code)) for kinds, code, text in PLANTED]
        results[name] = {
            "planted": sum(len(want) for _, want, _ in wanted),
            "found": sum(len(want & got) for _, want, got in wanted),
            "wrong_kinds_on_planted_lines": sum(len(got - want) for _, want, got in wanted),
            "clean_lines_hit": sum(bool(find(text, code)) for code, text in CLEAN),
            "clean_lines": len(CLEAN),
            "by_language": {
                language: {
                    "planted": sum(len(want) for code, want, _ in wanted if code == language),
                    "found": sum(len(want & got) for code, want, got in wanted if code == language),
                    "wrong_kinds": sum(len(got - want) for code, want, got in wanted if code == language),
                }
                for language in sorted({code for code, _, _ in wanted})
            },
        }
    return results


def real_pii(rows: list[Candidate]) -> dict[str, Any]:
    kept, _ = personal.pii(rows, personal.PiiParameters())
    found = {f"{row.record}:{mark.removeprefix('pii:')}" for row in kept for mark in row.marks}
    language = {row.record: row.language for row in rows}
    handles = personal.pii(rows, personal.PiiParameters(handles=1))[0]
    return {
        "rows": len(rows),
        "kinds": dict(Counter(mark.split(":")[1] for mark in found)),
        "right_kind_by_reading": labelled("pii_kind", found),
        "of_a_real_person_by_reading": labelled("pii_person", found),
        "right_kind_by_language": {
            code: labelled("pii_kind", {mark for mark in found if language[mark.split(":")[0]] == code})
            for code in sorted({language[mark.split(":")[0]] for mark in found})
        },
        "rows_with_handles_if_voted": sum("pii:handle" in row.marks for row in handles),
    }


def changed(row: Candidate, kind: str, draw: random.Random, number: int) -> Candidate:
    def typo(text: str) -> str:
        place = draw.randrange(len(text) + 1)
        return text[:place] + draw.choice("aeiou") + text[place:]

    def some(text: str) -> str:
        for _ in range(max(1, len(text) // 40)):
            text = typo(text)
        return text

    inputs, targets = row.inputs, row.targets
    if kind == "case and punctuation":
        inputs = inputs.rstrip(".!?。").upper() + draw.choice(["!", "..", "", " ?"])
    elif kind == "one letter in the prompt":
        inputs = typo(inputs)
    elif kind == "a letter in 40, prompt":
        inputs = some(inputs)
    else:
        inputs, targets = some(inputs), some(targets)
    return replace(row, source=replace(row.source, record=f"planted-{number}", created_at="2099-01-01T00:00:00Z"), inputs=inputs, targets=targets)


KINDS = ("case and punctuation", "one letter in the prompt", "a letter in 40, prompt", "a letter in 40, both")


def near_copies(rows: list[Candidate], questions: list[tuple[str, str]]) -> dict[str, Any]:
    sample = deduplicate(random.Random(1).sample(rows, 50_000))[0]
    draw = random.Random(2)
    plants = {kind: [changed(row, kind, draw, number) for number, row in enumerate(draw.sample(sample, 1000))] for kind in KINDS}
    originals = {row.record: row for row in sample}
    results: dict[str, Any] = {"rows": len(sample)}
    for short in (0, 30):
        parameters = near.NearDuplicatesParameters(short_below=short)
        dropped = near.near_duplicates(sample, parameters)[1]
        under = 0
        for exclusion in dropped:
            one, other = originals[exclusion.record], originals[exclusion.detail.split(":")[0].removeprefix("of ")]
            under += any(
                likeness(a, b) * 1000 < 700 and not (len(near.key(a)) < short)
                for a, b in zip(near.sides(near.Row.of(one)), near.sides(near.Row.of(other)), strict=True)
                if a != b
            )
        recall = {}
        for kind, planted in plants.items():
            gone = {exclusion.record for exclusion in near.near_duplicates([*sample, *planted], parameters)[1]}
            recall[kind] = sum(row.record in gone for row in planted) / len(planted)
        results[f"short_below={short}"] = {"dropped": len(dropped), "dropped_under_0.7_on_a_side": under, "recall_of_1000_planted": recall}
    base = [
        replace(rows[0], source=replace(rows[0].source, record=f"q{n}", language=code), inputs=text, targets="Let me think.")
        for n, (code, text) in enumerate(questions)
    ]
    planted = [
        changed(row, "a letter in 40, prompt", draw, number) for number, row in enumerate(draw.sample([row for row in base if len(row.inputs) >= 100], 1000))
    ]
    gone = {exclusion.record for exclusion in near.near_duplicates([*base, *planted], near.NearDuplicatesParameters())[1]}
    results["recall_a_letter_in_40_in_questions_of_100_characters"] = sum(row.record in gone for row in planted) / len(planted)
    results["questions_dropped_by_themselves"] = len(near.near_duplicates(base, near.NearDuplicatesParameters())[1])
    if installed("datasketch"):
        results["datasketch, joint text, pairs not verified"] = _datasketch(sample, plants)
    return results


def _datasketch(sample: list[Candidate], plants: dict[str, list[Candidate]]) -> dict[str, Any]:
    from datasketch import MinHash, MinHashLSH

    def shingles(row: Candidate) -> list[bytes]:
        text = "\n".join(near.sides(near.Row.of(row)))
        return [text[start : start + 5].encode() for start in range(max(len(text) - 4, 1))]

    began = time.process_time()
    indexes: dict[str, Any] = defaultdict(lambda: MinHashLSH(threshold=0.7, num_perm=112))
    by_record = {row.record: row for row in sample}
    dropped = under = 0
    for row in sorted(sample, key=lambda row: (row.source.created_at, row.record)):
        (sketch,) = MinHash.bulk([shingles(row)], num_perm=112)
        found = indexes[row.language].query(sketch)
        if found:
            dropped += 1
            text = "\n".join(near.sides(near.Row.of(row)))
            under += max(likeness(text, "\n".join(near.sides(near.Row.of(by_record[other])))) for other in found) * 1000 < 700
        else:
            indexes[row.language].insert(row.record, sketch)
    elapsed = time.process_time() - began
    recall = {
        kind: sum(bool(indexes[row.language].query(MinHash.bulk([shingles(row)], num_perm=112)[0])) for row in rows) / len(rows)
        for kind, rows in plants.items()
    }
    return {
        "dropped": dropped,
        "dropped_under_0.7_to_every_kept_candidate": under,
        "recall_of_1000_planted": recall,
        "docs_per_s": round(len(sample) / elapsed),
    }


def decontamination(rows: list[Candidate], evidence: Evidence) -> dict[str, Any]:
    began = time.process_time()
    known = decont.index(evidence.suites)
    indexed = time.process_time() - began
    draw = random.Random(1)
    items = draw.sample([item for one in evidence.suites for item in one.items], 1000)
    forms: dict[str, Callable[[str], str]] = {
        "verbatim": lambda text: text,
        "upper case and exclamation marks": lambda text: text.upper() + "!!!",
        "after 60 characters": lambda text: "Hello dear assistant, please could you kindly answer me this: " + text,
        "a word exchanged": lambda text: _exchange(text, draw),
        "first 70 %": lambda text: text[: len(text) * 7 // 10],
    }
    recall = {}
    for name, form in forms.items():
        planted = [replace(rows[0], inputs=form(item.text), targets="The answer is forty two.") for item in items]
        recall[name] = len(decont.decontaminate(planted, decont.DecontaminationParameters(), evidence)[1]) / len(planted)
    hits = decont.decontaminate(rows, decont.DecontaminationParameters(), evidence)[1]
    return {
        "items": len(known.items),
        "unindexed": len(known.unindexed),
        "n_grams": sum(map(len, known.grams)),
        "index_s": round(indexed, 2),
        "recall_of_1000": recall,
        "rows": len(rows),
        "rows_hit": len(hits),
    }


def _exchange(text: str, draw: random.Random) -> str:
    blank = " " if " " in text else ""
    words = text.split(" ") if blank else list(text)
    words[draw.randrange(len(words))] = draw.choice(words)
    return blank.join(words)


def throughput(rows: list[Candidate], evidence: Evidence) -> dict[str, int]:
    rates = {}
    for name, stage in STAGES.items():
        stage.run(rows[:50], stage.parameters(), evidence)  # load models and tables
        began = time.process_time()
        stage.run(rows, stage.parameters(), evidence)
        rates[name] = round(len(rows) / (time.process_time() - began))
    began = time.process_time()
    near.signatures(map(near.Row.of, rows))
    return {**rates, "near_duplicates, signatures alone": round(len(rows) / (time.process_time() - began))}


def main(folder: Path) -> None:
    rows = [candidate(row) for row in pq.read_table(folder / "scale.parquet").to_pylist()]
    current = [candidate(row) for row in map(json.loads, (folder / "contributions.jsonl").read_text(encoding="utf-8").splitlines()) if not row["superseded"]]
    questions: list[tuple[str, str]] = []
    suites = []
    for name in ("xcopa", "mgsm"):
        items = []
        for line in (folder / f"eval_{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row["question"] if name == "mgsm" else f"{row['premise']} {row['choices'][row['label']]}"
            items.append(Item(row["id"], text))
            questions.append((Language.get(row["language"]).to_alpha3(), text))
        suites.append(decont.suite(name, items))
    evidence = Evidence(suites=tuple(suites))
    sample = random.Random(3).sample(rows, 20_000)
    repetition = STAGES["repetition"].run(rows, STAGES["repetition"].parameters(), evidence)[1]
    copies = near.near_duplicates(deduplicate(rows)[0], near.NearDuplicatesParameters())[1]
    libraries = ["numpy", "phonenumbers", "py3langid", "langcodes", *(p for p in ("datasketch", "commonregex", "scrubadub", "datafog") if installed(p))]
    publish(
        "data_quality",
        libraries,
        {
            "rows": {"scale.parquet": len(rows), "contributions.jsonl, current": len(current)},
            "docs_per_s_one_core": throughput(sample, evidence),
            "repetition": {
                "dropped": dict(Counter(exclusion.reason for exclusion in repetition)),
                "echoes_by_reading": labelled("echo", {exclusion.record for exclusion in repetition if exclusion.reason == "echo"}),
            },
            "language_id": language(rows, questions),
            "pii": {"planted": planted_pii(), "real": real_pii([*rows, *current])},
            "near_duplicates": {
                "of_all_rows_by_reading": labelled("near_duplicates", {exclusion.record for exclusion in copies}),
                **near_copies(rows, questions),
            },
            "decontamination": decontamination(sample, evidence),
        },
    )


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "scale.parquet").is_file():
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
