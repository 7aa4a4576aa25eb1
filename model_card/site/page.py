"""The pages of the download site: HTML that runs nothing and fetches nothing from elsewhere, light and dark, from 320 pixels up.

Names and figures come from records whose form was checked; all of it is escaped all the same.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from governance_hooks.bylaws import Bylaws
from governance_hooks.vocabulary import WORDS
from model_card import iso639
from model_card.overdue import terms
from model_card.promise import PROMISE
from model_card.site.shown import FEW, Shown

__all__ = ["index_page", "release_page"]

MOST: Final = 40
"""Releases on the first page; all of them are in releases.json."""

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #fbfaf8; --card: #fff; --text: #1d1d22; --quiet: #57575f; --line: #d9d7d1; --link: #1f5a9e;
--good: #17693a; --old: #7a4d00; --bad: #a3001b; --code: #f1efea; }
@media (prefers-color-scheme: dark) { :root { --ground: #151518; --card: #1e1e22; --text: #f0f0f3; --quiet: #b6b6c0; --line: #3a3a42; --link: #8fbcf5;
--good: #7fd6a0; --old: #f0c070; --bad: #ff9c9c; --code: #27272d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.9rem, 4vw, 2.5rem) 3rem; max-width: 70rem; background: var(--ground); color: var(--text);
font: 1rem/1.55 system-ui, "Noto Sans", sans-serif; }
a { color: var(--link); } a:focus-visible, summary:focus-visible, pre:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; margin: .6rem 0 .3rem; overflow-wrap: anywhere; } h2 { font-size: 1.3rem; margin: 2rem 0 .6rem; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
.quiet { color: var(--quiet); } .digest { font: .82rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; color: var(--quiet); }
section.release h2 { margin-top: .9rem; }
section.release { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .3rem 1.2rem 1.1rem; margin: 1.2rem 0; }
.status { display: inline-block; font-size: .85rem; font-weight: 650; border: 1.5px solid; border-radius: 1rem; padding: .05rem .7rem; vertical-align: .2em; white-space: nowrap; }
.current { color: var(--good); } .superseded { color: var(--old); } .withdrawn { color: var(--bad); }
.notice { border-inline-start: 4px solid; padding: .3rem .9rem; margin: .8rem 0; background: var(--code); } .notice > span { color: var(--text); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1.2rem; margin: .8rem 0; } dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 32rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } section.release { padding-inline: .9rem; } }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: start; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: end; } td.path { overflow-wrap: anywhere; min-width: 8rem; } td.short { white-space: nowrap; }
pre { background: var(--code); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; font-size: .86rem; line-height: 1.5; } code { font-family: ui-monospace, monospace; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; align-items: start; overflow-x: auto; } .pictures img { width: 100%; min-width: min(34rem, 150vw); height: auto; border-radius: 8px; }
.links { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; padding: 0; margin: .8rem 0; list-style: none; } footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; }
"""


def _e(value: object) -> str:
    return html.escape(str(value))


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="referrer" content="no-referrer">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_e(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _time(instant: str | None, *, day: bool = False) -> str:
    """Return an instant as people read it, with its exact form for machines."""
    text = str(instant)
    shown = text[:10] if day else f"{text[:10]} {text[11:16]} UTC"
    return f'<time datetime="{_e(text)}">{_e(shown)}</time>'


def _size(count: int) -> str:
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"


def _badge(one: Shown) -> str:
    return f'<span class="status {one.status.status}">{one.status.status}</span>'


def _notice(one: Shown, names: dict[str, str]) -> str:
    """Return what to know before a download of a release that is not current."""
    status = one.status
    if status.status == "current":
        return ""
    why = f" because of {_e(status.reason.replace('-', ' '))}" if status.reason else ""
    successor = names.get(status.by or "")
    instead = f' Use <a href="{_e(successor)}.html">{_e(successor)}</a> instead.' if successor else ""
    until = f" It lapses at {_time(status.until)} unless members ratify it." if status.until else ""
    verb = "Superseded" if status.status == "superseded" else "Withdrawn"
    return f'<p class="notice {status.status}"><span><strong>{verb}</strong> by {_e(status.who)} since {_time(status.since)}{why}.{until}{instead}</span></p>\n'


def _vote(one: Shown) -> str:
    tally = one.vote.count()
    return f"{tally.votes_for} for, {tally.votes_against} against, {tally.votes_abstain} abstained, of {len(one.vote.roll)} members"


def _attested(one: Shown) -> str:
    if not one.named:
        return "signed by the operator alone: the bylaws name no stewards" if one.signed else "no attestations: the bylaws name no stewards"
    if not one.signed:
        return f"not attested yet ({one.required} of {one.named} stewards required)"
    return f"attestations signed by {one.signed} of {one.named} stewards ({one.required} required)"


def _withdrawals(one: Shown) -> str:
    if not one.withdrawn:
        return "no member withdrew since it went out"
    return f"fewer than {FEW} members withdrew since" if one.withdrawn < FEW else f"{one.withdrawn} members withdrew since"


def _language(code: str) -> str:
    return f"{_e(iso639.name(code))} <span class='quiet'>({_e(code)})</span>"


def _verdicts(one: Shown) -> str:
    found = one.verdicts
    words = [f"{found[kind]} {word}" for kind, word in (("PASS", "passed"), ("INSUFFICIENT", "unproven"), ("FAIL", "failed")) if found[kind]]
    return f"{', '.join(words)}, of {len(one.report['languages'])} languages"


def _leak(one: Shown) -> str:
    """Return how the leak test came out."""
    if one.leak_passed is None:
        return "none was voted: how much the weights give away is not known"
    return "passed: within what members voted" if one.leak_passed else "not passed"


def _waived(one: Shown) -> str:
    """Return what members let pass, or nothing."""
    failed = [what for what, passed in (("the evaluation", bool(one.report["passed"])), ("the leak test", one.leak_passed is not False)) if not passed]
    return f"{' and '.join(failed)}: members decided by vote to release it all the same" if failed and one.waiver else ""


def _facts(one: Shown, *, full: bool) -> str:
    languages = sorted(one.report["languages"])
    listed = ", ".join(map(_language, languages[:12])) + (f" and {len(languages) - 12} more" if len(languages) > 12 else "")
    rows = [
        ("Out since", _time(one.published)),
        ("Vote", _e(_vote(one))),
        ("Languages", listed),
        ("Evaluation", _e(_verdicts(one))),
        ("Leak test", _e(_leak(one))),
        *([("Not passed", f"<strong>{_e(_waived(one))}</strong>")] if _waived(one) else []),
        ("Base weights", f"<bdi>{_e(one.plan['base']['name'])}</bdi>"),
        ("Licence", _e(one.document["licence"])),
        ("Attested", _e(_attested(one))),
        ("Size", f"{_size(one.size)} in {len(one.files)} files"),
    ]
    if full:
        rows += [
            ("Withdrawals", _e(_withdrawals(one))),
            ("Data", f"{one.manifest['records']} texts of members, for <bdi>{_e(WORDS.get(one.plan['use']['purpose'], one.plan['use']['purpose']))}</bdi>"),
            ("Run", _e(one.document["run"])),
            ("Method", _e(one.plan["training"]["method"])),
        ]
        rows += [("Torrent", f'<a href="{_e(one.torrent.magnet)}">magnet link</a>, <a href="torrents/{_e(one.name)}.torrent">file</a>'
                  f'<br><span class="digest">v2 infohash {_e(one.torrent.infohash)}</span>')] if one.torrent else []  # fmt: skip
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>\n"


def _verify(name: str, address: str | None, coop: str) -> str:
    site = address or "https://ADDRESS-OF-THIS-SITE"
    commands = (
        f"site={site}\ncurl -fO $site/releases/{name}.sha256\n"
        f'cut -c67- {name}.sha256 | while read -r file; do curl -f --create-dirs -o "$file" "$site/releases/$file"; done\n'
        f"sha256sum -c {name}.sha256\ncoop verify {name} --pin {coop}"
    )
    return (
        f'<pre tabindex="0" aria-label="Commands to download and verify"><code>{_e(commands)}</code></pre>\n'
        '<p class="quiet">The checksums only show that nothing was damaged on the way. <code>coop verify</code> follows the chain from these files to the '
        "members' signatures, offline. Compare the fingerprint after <code>--pin</code> with one you got from a member, not from this page.</p>\n"
    )


def index_page(name: str, releases: Sequence[Shown], bylaws: Bylaws, *, coop: str, address: str | None, log_size: int, made: str, until: str) -> str:
    """Return the first page: current releases in full, older ones in a table, how to check them, and what a withdrawal does.

    Args:
        name: the cooperative's.
        releases: newest first.
        bylaws: those in force.
        coop: digest of the founding statement.
        address: of the site, without a slash at its end; None if it is not known.
        log_size: entries of the log behind this page.
        made: RFC 3339 UTC.
        until: instant until which the site's word may be believed.
    """
    current = [one for one in releases if one.status.status == "current"][: MOST // 8]
    others = [one for one in releases if one not in current][:MOST]
    parts = [f"<header>\n<h1>{_e(name)}: releases</h1>\n<p>Language models that the members of a cooperative trained on what they gave, in runs they voted for, and "
             f"published by their vote. Each can be checked down to the members' signatures.</p>\n</header>\n<main>\n"]  # fmt: skip
    if not releases:
        parts.append("<p>No release is out yet.</p>\n")
    for one in current:
        parts.append(
            f'<section class="release">\n<h2><a href="{_e(one.name)}.html">{_e(one.name)}</a> {_badge(one)}</h2>\n{_facts(one, full=False)}'
            f'<ul class="links"><li><a href="{_e(one.name)}.html">details, pictures and files</a></li><li><a href="releases/{_e(one.name)}/README.md">model card</a></li></ul>\n</section>\n'
        )
    if others:
        rows = "".join(
            f'<tr><td class="path"><a href="{_e(one.name)}.html">{_e(one.name)}</a></td><td>{_badge(one)}</td><td class="short">{_time(one.published, day=True)}</td>'
            f"<td>{_e((one.status.reason or '').replace('-', ' '))}</td></tr>\n"
            for one in others
        )
        heading = "Other releases" if current else "Releases"
        parts.append(
            f'<h2>{heading}</h2>\n<div class="scroll" tabindex="0" role="region" aria-label="{heading}"><table><thead><tr><th scope="col">Name</th><th scope="col">Status</th>'
            f'<th scope="col">Out since</th><th scope="col">Why</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n'
        )
    if releases:
        first = (current or others)[0]
        parts.append(f"<h2>Download and verify</h2>\n{_verify(first.name, address, coop)}")
    parts.append(f"<h2>If a member withdraws</h2>\n<p>{_e(PROMISE)}</p>\n<p>{_e(terms(bylaws))}</p>\n</main>\n{_footer(coop, log_size, made, until)}")
    return _page(f"{name}: releases", "".join(parts))


def release_page(one: Shown, names: dict[str, str], *, site: str, coop: str, address: str | None, log_size: int, made: str, until: str) -> str:
    """Return the page of one release: facts, pictures, results by language, files and how to check them."""
    base = f"releases/{one.name}/"
    parts = [
        f'<header>\n<p><a href="index.html">{_e(site)}: releases</a></p>\n<h1>{_e(one.name)} {_badge(one)}</h1>\n<p class="digest">release {_e(one.release)}</p>\n</header>\n<main>\n',
        _notice(one, names),
        _facts(one, full=True),
    ]
    links = [("README.md", "model card"), ("card.json", "card as data"), ("plan.json", "plan members voted on"), ("eval/report.json", "evaluation")]
    links += [(f"attestations/{kind}.dsse.json", f"attestation: {kind}") for kind in ("provenance", "vote")] if one.signed else []
    parts.append('<ul class="links">' + "".join(f'<li><a href="{_e(base + path)}">{_e(word)}</a></li>' for path, word in links) + "</ul>\n")
    if one.pictures:
        shown = "".join(f'<a href="{_e(base + path)}"><img src="{_e(base + path)}" alt="{_e(_alt(path))}" loading="lazy"></a>' for path in one.pictures)
        parts.append(f'<h2>In pictures</h2>\n<div class="pictures">{shown}</div>\n')
    parts.append(_languages(one))
    parts.append(f"<h2>Download and verify</h2>\n{_verify(one.name, address, coop)}")
    parts.append(_files(one, base))
    parts.append(f"<h2>If a member withdraws</h2>\n<p>{_e(PROMISE)}</p>\n</main>\n{_footer(coop, log_size, made, until)}")
    return _page(f"{one.name}: {site}", "".join(parts))


def _alt(path: str) -> str:
    stem = path.rpartition("/")[2].removesuffix(".svg").replace("-", " ").replace("_", " ")
    return f"Chart of the model card: {stem}"


def _number(value: Any) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _languages(one: Shown) -> str:
    rows = []
    for code, row in sorted(one.report["languages"].items()):
        low, high = row.get("low"), row.get("high")
        interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        rows.append(
            f'<tr><th scope="row">{_language(code)}</th><td>{_e(row["verdict"].lower())}</td><td class="n">{_number(row["base"])}</td><td class="n">{_number(row["tuned"])}</td>'
            f'<td class="n">{_number(row["difference"])}{interval}</td><td class="n">{row["items"]}</td></tr>\n'
        )
    return (
        '<h2>Results by language</h2>\n<p class="quiet">Loss on held-out answers of members, nats per token: less is better. The interval is that of the difference.</p>\n'
        '<div class="scroll" tabindex="0" role="region" aria-label="Results by language"><table>\n'
        '<thead><tr><th scope="col">Language</th><th scope="col">Verdict</th><th scope="col" class="n">Base</th><th scope="col" class="n">Tuned</th>'
        f'<th scope="col" class="n">Difference</th><th scope="col" class="n">Items</th></tr></thead>\n<tbody>\n{"".join(rows)}</tbody></table></div>\n'
    )


def _files(one: Shown, base: str) -> str:
    rows = "".join(
        f'<tr><td class="path"><a href="{_e(base + entry["path"])}">{_e(entry["path"])}</a></td><td class="n">{_size(entry["size"])}</td></tr>\n'
        for entry in one.files[:400]
    )
    rest = f"<p>{len(one.files) - 400} more files are in release.json.</p>\n" if len(one.files) > 400 else ""
    return (
        f'<h2>Files</h2>\n<p><a href="releases/{_e(one.name)}.sha256">SHA-256 of all files</a>, <a href="{_e(base)}release.json">release.json</a> (what members voted on), '
        f'<a href="{_e(base)}proof.jsonl.gz">proof</a></p>\n<details><summary>{len(one.files)} files, {_size(one.size)}</summary>\n<div class="scroll" tabindex="0" role="region" aria-label="Files"><table>'
        f'<thead><tr><th scope="col">File</th><th scope="col" class="n">Size</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n{rest}</details>\n'
    )


def _footer(coop: str, log_size: int, made: str, until: str) -> str:
    return (
        f'<footer class="quiet"><p>Made {_time(made)} from a log of {log_size} entries; its signed metadata is good until {_time(until)}: after that, look for a newer copy of this site. '
        'Everything here is a plain file: <a href="releases.json">releases.json</a>, <a href="log/checkpoint">the log</a>, <a href="metadata/timestamp.json">signed metadata</a>.</p>'
        f'<p class="digest">cooperative {_e(coop)}</p></footer>\n'
    )
