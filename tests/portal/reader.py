"""Somebody who reads pages and has no English, and a language of strange letters."""

from __future__ import annotations

import re
import string
from html.parser import HTMLParser
from typing import Final

from portal import i18n
from tests.portal.people import Page

ACCENTS: Final = str.maketrans(string.ascii_letters, "".join(chr(0xFEE0 + ord(one)) for one in string.ascii_letters))
FIELD: Final = re.compile(r"%\([a-z_]+\)[sd]|\{[a-z_]+(?::[^{}]*)?\}")

NAMES: Final = {
    r"\b[a-z]{3} \([\w' -]+(?:\([\w ]+\))?\)": "codes of languages with their English names, as they are looked up",
    r"sha256:[0-9a-f]*|SHA256:[\w+/]+|\b[0-9a-f]{7,64}\b|\bm-[0-9a-f]{16}|\ba-[0-9a-f]{16}": "digests, fingerprints and pseudonyms",
    r"https?://[\w.:/-]*|[\w.…-]+@[\w.…-]+|[\w~./-]+\.(?:json|jsonl|md|svg|sig|pub|safetensors|txt|example)\b": "addresses and names of files",
    r"village(?:-lm)?|first-run|run-1|example/base|allowed_signers": "names of the cooperative, of a plan, of a run, of models and of a file",
    r"(?:Apache-2\.0|CC-BY(?:-NC|-SA)?-4\.0|CC0-1\.0|NOASSERTION|MIT)": "licences by their SPDX names",
    r"dpv:\w+|coop(?:\.[a-z-]+/v1)?\b|ai:\w+": "terms of a vocabulary, and types of statements",
    r"\b(?:swa|swh|yor|spa|kin|nor|hin|sw|pt-BR|hi-Latn|zh-Hant|en|und)\b": "codes of languages",
    r"\b(?:PASS|FAIL|INSUFFICIENT|UTC|ssh-ed25519|ed25519|kB|MB|AUC|Latn|lotn)\b": "verdicts as the records have them, the time zone, types of keys, units",
}
"""What a value may hold in any language, and why."""

MARKED: Final = {
    r"What you allow The cooperative may train": "the notice whose digest a consent signs: shown beside its translation",
    r"When a member withdraws consent, we stop": "the promise that a release states: shown beside its translation",
    r"In plain words This is a language model": "a summary of the card that members did not translate",
    r"coop [a-z]+": "a command to type, for the operator",
    r"(?:[\w./]+: )*(?:String|Input|Value|Field|field)\b": "a field that only a program sends so, in the words of pydantic and ours",
    r"Waioli$|Swahili \(individual language\)$": "a language that CLDR has no name for in the reader's",
    r"ssh-ed25519 AAAA": "what a key looks like",
    r"[\w, :=-]*(?:, )?(?:ai:|dpv:|harmful|for, against|AVIF|public|https?:|m-0)[\w:, -]*": "a list of terms as they are written",
    r"2027-12-31|name@example\.org|Unicode scalar values": "an example, a term of Unicode",
    r"statement field|payload of|statement type|the statement |not base64|entry ": "a statement made by hand that no rule of form lets in",
}
"""What is marked `lang="en"` on a page in another language, and why it stays so."""

TYPED: Final = (
    r"coop(?: [a-z]+| --draft)?|--[a-z]+|ssh-keygen|\bAAAA\.*",
    r"\b(?:OpenSSH|SSH|JavaScript|JSON|HTML|GGUF|SPDX|ISO|BCP|UTF|RFC|RSA|PIN|LoRA|SPDX|commonweights|am|pm|ES256|RS256|bootstrap)\b",
)
"""What translations keep as it is: what is typed, and names of things that have no other."""

SKIPPED: Final = frozenset({"script", "style", "code", "pre", "textarea", "time", "bdi", "input"})


class Reader(HTMLParser):
    """Reads a page as somebody does who has no English: what is English, and what is marked as English."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[tuple[str, str]] = []
        """Open elements, each with what becomes of its text: read, skipped, or marked."""
        self.plain: list[str] = []
        self.marked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("aria-label", "alt", "title", "placeholder", "data-queued", "data-waits", "data-sent", "data-refused", "data-failed"):
            self._read(given.get(name) or "")
        if tag in ("meta", "link", "input", "br", "img", "rect", "hr"):
            return
        how = self.stack[-1][1] if self.stack else "read"
        if how == "read":
            classes = (given.get("class") or "").split()
            if tag in SKIPPED or given.get("hreflang") or "digest" in classes:
                how = "skipped"
            elif given.get("lang") == "en":
                how = "marked"
                self.marked.append("")
        self.stack.append((tag, how))

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        how = self.stack[-1][1] if self.stack else "read"
        if how == "read":
            self._read(data)
        elif how == "marked":
            self.marked[-1] = " ".join(f"{self.marked[-1]} {data}".split())

    def _read(self, text: str) -> None:
        left = text
        for name in NAMES:
            left = re.sub(name, " ", left)
        if re.search(r"[A-Za-z]{2}", left):
            self.plain.append(" ".join(text.split()))


class Pseudo:
    """A language in which every sentence of the catalogue has strange letters, so that what is not in the catalogue is seen."""

    def gettext(self, said: str) -> str:
        return self._strange(said) if said in i18n.sentences("ar") else said

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self._strange(one if count == 1 else many) if one in i18n.sentences("ar") else one

    @staticmethod
    def _strange(said: str) -> str:
        kept = FIELD.findall(said)
        return "".join(part.translate(ACCENTS) + name for part, name in zip(FIELD.split(said), [*kept, ""], strict=True))


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(page.text)
    return reader


def unexplained(marked: list[str]) -> list[str]:
    return [one for one in marked if one and not any(re.match(reason, one) for reason in MARKED)]
