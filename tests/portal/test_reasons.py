"""Reasons of a proposal in Markdown: previewed, signed by digest, read by everybody, compared, erased; and nothing in them loads, links, runs, lies or keeps us busy."""

from __future__ import annotations

import contextlib
import html
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from commonweights.cli import coop
from data_pipeline.text import MAX_REASONS_BYTES
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.payloads.proposals import Draft, ProposalOpened
from portal import reasons
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose, say

GOOD = """\
# Why now
### Because
Rains come in **March**, and *nobody* will write then.

- one
  - two
1. first

> said the elder

| what | hours |
|---|--:|
| training | 12 |

نكتب بالعربية أيضًا.
"""
LIVE = re.compile(
    r"<(?:script|img|a|svg|math|iframe|object|embed|form|input|button|style|link|meta|base|body|html|video|audio|details|template|noscript|textarea)\b", re.I
)
HANDLER = re.compile(r"<[^>]*\s(?:on\w+|style|srcdoc|href|src|class|id|formaction|xlink:href)\s*=", re.I)

XSS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<form action=/signout method=post><button>free money</button></form>",
    "<div style='position:fixed;inset:0'>cover</div>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<textarea></textarea><script>alert(1)</script>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<details open ontoggle=alert(1)>",
    "<div><p>nested <b><i><script>alert(1)</script></i></b></p></div>",
    "<!-- --!><script>alert(1)</script> -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php alert(1) ?><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](%6A%61vascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](file:///etc/passwd)",
    "[x](https://evil.example/ \"' onmouseover=alert(1) '\")",
    "[x]( //evil.example )",
    "<javascript:alert(1)>",
    "<https://evil.example/'onclick=alert(1)>",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zy9vbmxvYWQ9YWxlcnQoMSk+)",
    "![x](https://evil.example/pixel.gif \"' onerror=alert(1) '\")",
    "[![x](https://evil.example/a.png)](https://evil.example)",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "```html\" onclick=alert(1)\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "# <img src=x onerror=alert(1)>",
    "| <script>alert(1)</script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | [y](javascript:alert(1)) |",
    "> <svg onload=alert(1)>\n> - <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\<script>alert(1)\\</script>",
    "**<b onclick=alert(1)>**",
]  # fmt: skip


def harmless(shown: str) -> None:
    assert not LIVE.search(shown), shown
    assert not HANDLER.search(shown), shown
    tags = set(re.findall(r"<\/?([a-z0-9]+)", shown))
    assert tags <= {
        "p",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "blockquote",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "em",
        "code",
        "pre",
        "br",
        "hr",
    }, tags
    assert all(re.fullmatch(r'<[a-z0-9]+(?: (?:dir="(?:auto|ltr)"|start="[0-9]+"))*>', one) for one in re.findall(r"<[a-z][^>]*>", shown)), shown


@pytest.mark.parametrize("text", XSS)
def test_nothing_a_member_writes_is_markup_of_its_own(text: str) -> None:
    harmless(str(reasons.shown(text)))


@given(st.lists(st.sampled_from(["<", ">", "script", "img src=x onerror=", "[", "](", ")", "javascript:", "`", "*", "_", "\n", "    ", "|", "---", "#", "&", "#x3c;", '"', "'", "!", "\\", "x", "> ", "- ", "1. "]), max_size=60))  # fmt: skip
def test_nor_is_anything_that_is_put_together_from_pieces_of_it(pieces: list[str]) -> None:
    harmless(str(reasons.shown("".join(pieces))))


@given(st.text(max_size=200))
def test_every_text_is_shown_or_refused_in_words(text: str) -> None:
    harmless(str(reasons.shown(text)))
    with contextlib.suppress(BadInput):
        assert reasons.sound(text)


def test_structure_is_shown_below_the_page_with_no_rank_left_out_and_each_part_in_its_own_direction() -> None:
    shown = str(reasons.shown(reasons.sound(GOOD)))
    assert re.findall(r"<(h\d)", shown) == ["h3", "h4"]
    assert re.findall(r"<(h\d)", str(reasons.shown("### a\n\n# b\n\n###### c\n\n#\n\n## d"))) == ["h3", "h3", "h4", "h4"]
    assert '<blockquote dir="auto">\n<p>said the elder</p>' in shown  # its direction is that of its words: it would not look into a block that has one
    for part in ("<strong>March</strong>", "<em>nobody</em>", '<ol dir="auto">', '<blockquote dir="auto">', "<th>hours</th>", '<p dir="auto">نكتب'):
        assert part in shown, part
    assert "<td></td>" in str(reasons.shown("| | a |\n|---|---|\n| b | c |"))  # no empty head


def line(text: str) -> str:
    return str(reasons.shown(text)).strip()


def test_a_link_is_words_with_where_it_leads_and_look_alikes_are_seen() -> None:
    assert line("[our bank](https://evil.example/a)") == '<p dir="auto">our bank (<code dir="ltr">https://evil.example/a</code>)</p>'
    assert "xn--pple-43d.com" in str(reasons.shown("[apple](https://\u0430pple.com)"))
    assert line("<https://coop.example>") == '<p dir="auto">https://coop.example</p>'
    assert line("![a map](https://evil.example/m.png)") == '<p dir="auto">a map (<code dir="ltr">https://evil.example/m.png</code>)</p>'
    assert "[x](javascript:alert(1))" in str(reasons.shown("[x](javascript:alert(1))"))  # not a link, and not hidden either


@pytest.mark.parametrize("text", ["[r]: https://x.example 'words nobody sees'", "[x](https://x.example 'words nobody sees')", "&#x202E;words nobody sees"])
def test_no_word_of_it_is_hidden_from_who_reads_it(text: str) -> None:
    shown = html.unescape(re.sub("<[^>]*>", "", str(reasons.shown(text))))
    assert "words nobody sees" in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 20_001, "too long"),
        ("é" * 10_001, "too long"),
        ("a\n" * 1001 + "a", "too many lines"),
        ("> " * 30 + "a", "too deep"),
        ("- " * 12 + "a", "too deep"),
        ("\n".join("  " * level + "- a" for level in range(9)), "too deep"),
        ("![" * 9000, "square brackets"),
        ("|a" * 30 + "|\n" + "|-" * 30 + "|\n", "too many bars"),
        ("|a" * 7 + "|\n" + "|-" * 7 + "|\n", "too many columns"),
        ("pay \u202eme\u202c", "direction override"),
        ("pay \u2067me", "without its partner"),
        ("a\x1b[31m", "control character"),
        (" \u200b ", "empty"),
    ],
)  # fmt: skip
def test_what_would_not_be_shown_as_it_was_written_is_refused_and_shown_letter_by_letter_if_it_came_another_way(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        reasons.sound(text)
    shown = str(reasons.shown(text))
    assert shown.startswith("<pre>")
    assert shown.count("<") == 2


N = MAX_REASONS_BYTES
LIMIT = 1_500_000
"""Calls of functions: the worst of these takes 1.0 million, and would take 3.8 without the bounds."""
BOMBS: dict[str, Callable[[], str]] = {
    "brackets": lambda: "[" * N,
    "pictures": lambda: "![" * (N // 2),
    "brackets just within": lambda: "![" * 400 + "a" * 19_000,
    "emphasis": lambda: "**a" * (N // 3),
    "mixed emphasis": lambda: "*a_ " * (N // 4),
    "stars": lambda: "*" * (N // 2) + "a" + "*" * (N // 2 - 1),
    "ticks": lambda: "".join("`" * number + " " for number in range(1, 199))[:N],
    "quotes": lambda: ">" * N,
    "quotes and lists": lambda: "> - " * (N // 4),
    "deep lists": lambda: "".join("  " * level + "- a\n" for level in range(140))[:N],
    "many lists": lambda: "\n".join("1. " * 6 + "a" for _ in range(990))[:N],
    "wide table": lambda: ("|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + "|\n" * 990)[:N],
    "long table": lambda: "|a" * 24 + "\n" + "|-" * 24 + "\n" + "|\n" * 950,
    "padded table": lambda: "|a" * 6 + "|\n" + "|-" * 6 + "|\n" + "|**a**|\n" * 950,
    "definitions": lambda: "[a]: /x\n" * 390,
    "titles": lambda: "[a](b '" * 390 + "x" * 15_000,
    "less": lambda: "<" * N,
    "addresses": lambda: "<a:" * (N // 3),
    "backslashes": lambda: "\\" * N,
    "entities": lambda: "&amp;" * (N // 5),
    "tabs": lambda: "\t" * (N - 1) + "a",
    "headings": lambda: "a\n=\n" * 480,
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_markdown_keeps_the_server_busy(bomb: str) -> None:
    text = BOMBS[bomb]()
    assert len(text.encode()) <= N
    reasons.forget()
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        shown = str(reasons.shown(text))
    finally:
        sys.setprofile(None)
    harmless(shown)
    assert len(shown) < 150_000
    assert calls < LIMIT, calls


def test_a_member_looks_at_the_reasons_signs_for_them_and_erases_them(portal: Portal) -> None:
    founder, stranger = portal.founder(1), portal.stranger()
    fields = {"question": "Which first?", "options": "one\r\ntwo", "method": "approval"}
    page = founder.post("/propose/question", reasons=GOOD.replace("\n", "\r\n"), act="preview", **fields)
    assert page.status == 200
    assert '<h3 dir="auto">Why now</h3>' in page.text
    assert html.escape("Rains come in **March**", quote=False) in page.text  # and the form still has it
    assert "Which first?" in page.words
    assert not list((portal.root / "private").glob("reasons/*"))
    assert portal.service.private.drafts.open() == []
    signing = founder.post("/propose/question", reasons=GOOD.replace("\n", "\r\n"), **fields)
    assert signing.path.startswith("/sign/")
    assert "said the elder" in signing.words  # who signs it reads it
    payload = loads(signing.shown)["payload"]
    assert "elder" not in signing.shown.decode()
    identifier = founder.paste(signing).path.removeprefix("/receipts/")
    with portal.service.view.reading() as register:
        assert register.proposals[identifier].reasons == payload["reasons"]
    page = stranger.get(f"/proposals/{identifier}")
    assert '<h3 dir="auto">Why now</h3>' in page.text
    assert "Erase these reasons" not in page.words
    answer = stranger.get(f"/api/v1/proposals/{identifier}/reasons").answer
    assert sha256(answer.content) == payload["reasons"]
    assert answer.json()["text"] == GOOD.strip()
    assert stranger.get(f"/api/v1/proposals/{identifier}").answer.json()["reasons"] == payload["reasons"]
    assert portal.founder(2).post(f"/proposals/{identifier}/reasons/erase").status == 422  # nobody else's
    assert stranger.post(f"/proposals/{identifier}/reasons/erase").path == "/signin"
    assert "said the elder" in stranger.get(f"/proposals/{identifier}").words
    page = founder.post(f"/proposals/{identifier}/reasons/erase")
    assert "said the elder" not in page.text
    assert "They were erased" in page.words
    assert stranger.get(f"/api/v1/proposals/{identifier}/reasons").status == 404
    assert b"elder" not in b"".join(path.read_bytes() for path in portal.root.rglob("*") if path.is_file() and "sqlite" not in path.name)


@pytest.mark.parametrize("act", ["preview", "sign"])
def test_refused_reasons_stay_on_the_form(still: Portal, act: str) -> None:
    fields = {"question": "Which first?", "options": "one\ntwo", "method": "ranked"}
    page = still.founder(1).post("/propose/question", reasons="> " * 30 + "a", act=act, **fields)
    assert page.status == 422
    assert "too deep in each other" in page.words
    assert "&gt; &gt; &gt;" in page.text
    assert 'value="ranked" checked' in page.text
    assert page.words.startswith("This did not work")


def test_who_looks_too_often_waits(portal: Portal) -> None:
    from portal.limits import Limits

    portal.service.limits = Limits()
    founder, fields = portal.founder(1), {"question": "Which first?", "options": "one\ntwo", "method": "approval", "reasons": "x", "act": "preview"}
    assert [founder.post("/propose/question", **fields).status for _ in range(31)][-1] == 429


def test_reasons_that_were_swapped_on_the_server_are_not_shown(portal: Portal) -> None:
    kept = portal.service.house.keep_reason("as signed")
    identifier = propose(portal, reasons=kept)
    path = portal.root / "private" / "reasons" / f"{kept[7:]}.json"
    path.write_bytes(dumps(json.loads(path.read_bytes()) | {"text": "swapped"}))
    page = portal.stranger().get(f"/proposals/{identifier}")
    assert "swapped" not in page.text
    assert kept in page.text
    assert portal.stranger().get(f"/api/v1/proposals/{identifier}/reasons").status == 404


def test_hostile_reasons_that_came_by_another_way_are_harmless_on_every_page(portal: Portal) -> None:
    for text in ("\n\n".join(one for one in XSS if "\t" not in one)[:19_000], "\u202e<script>alert(1)</script>", "[" * 20_000):
        identifier = propose(portal, reasons=portal.service.house.keep_reason(text))
        page = portal.stranger().get(f"/proposals/{identifier}")
        ours = re.compile(r'<div class="scroll"(?: dir="auto")? tabindex="0" role="group" aria-label="Table [0-9]+ of [0-9]+">(<table>.*?</table>)</div>', re.S)
        (shown,) = re.findall(r'<div class="text flow reasons" dir="auto">(.*?)</div>', ours.sub(r"\1", page.text), re.S)
        harmless(shown)
        assert not re.search(r"<script>|<img src=x|<svg[^>]*onload", page.text)


def test_reasons_are_compared_from_draft_to_draft_and_to_what_is_voted_on(portal: Portal) -> None:
    keep, member = portal.service.house.keep_reason, portal.members[0]
    subject = portal.service.house.keep_text(b"the same plan")
    versions = ["# Why\n\nIt is cheap.\n", "# Why\n\nIt is **cheap** and <b>ours</b>.\n"]
    previous: str | None = None
    for text in versions:
        payload = {"kind": "run", "subject": subject, "previous": previous, "reasons": keep(text)}
        previous = say(portal, "coop.draft/v1", payload, member, portal.keys[member]).id
    last = keep("# Why\n\nIt is ours.\n")
    identifier = propose(portal, subject=subject, draft=previous, reasons=last)
    page = portal.stranger().get(f"/proposals/{identifier}/changes")
    assert "removed: It is cheap. added: It is **cheap** and <b>ours</b>." in page.words
    assert "Changes in what is voted on" in page.words
    assert "added: It is ours." in page.words
    assert "<b>ours" not in page.text
    founder = portal.founder(0)
    founder.post(f"/proposals/{identifier}/reasons/erase")
    page = portal.stranger().get(f"/proposals/{identifier}/changes")
    assert "cheap" not in page.text
    assert "One of the texts is not on this server." in page.words
    founder = portal.founder(2)
    assert founder.post(f"/proposals/{propose(portal)}/reasons/erase").status == 422


def test_what_was_signed_before_there_were_reasons_has_the_bytes_it_had(portal: Portal) -> None:
    identifier = propose(portal)
    with portal.service.view.reading():
        value = loads(portal.service.view.entry(portal.service.view.positions[identifier]).entry)["body"]["payload"]
    assert "reasons" not in value
    assert "reasons" not in ProposalOpened.model_validate(value).model_dump(mode="json")
    assert ProposalOpened.model_validate(value | {"reasons": "sha256:" + "0" * 64}).model_dump(mode="json")["reasons"]
    assert Draft(kind="run", subject="sha256:" + "0" * 64, previous=None).model_dump(mode="json") == {
        "kind": "run",
        "subject": "sha256:" + "0" * 64,
        "previous": None,
    }


def test_the_command_line_takes_reasons_from_a_file_and_refuses_what_nobody_should_read(portal: Portal, tmp_path: Path) -> None:
    ask = tmp_path / "ask.yaml"
    ask.write_text("question: Which first?\noptions: [one, two]\nmethod: approval\n")
    why = tmp_path / "why.md"
    key = next(path for path in portal.root.rglob("*") if path.is_file() and path.read_bytes().startswith(b"-----BEGIN OPENSSH"))

    command = ["-C", str(portal.root), "propose", "consultation", str(ask), "--reasons", str(why), "--key", str(key), "--draft", str(tmp_path / "d.json")]
    why.write_text("pay \u202eme\u202c")
    with pytest.raises(BadInput, match="direction override"):
        CliRunner().invoke(coop, command, catch_exceptions=False)
    why.write_text("# Why\n")
    done = CliRunner().invoke(coop, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    named = json.loads((tmp_path / "d.json").read_bytes())["payload"]["reasons"]
    assert portal.service.house.reason(named) == "# Why"
