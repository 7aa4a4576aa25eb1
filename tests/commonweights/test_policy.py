"""Policy is a test: no telemetry, docs that name only commands there are, one page and one test folder a room."""

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from commonweights.cli import coop

ROOT = Path(__file__).parents[2]
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
NETWORK = {"aiohttp", "aiosmtplib", "http", "httpx", "requests", "smtplib", "socket", "urllib.request", "urllib3", "websockets"}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in (alias.name, alias.name.split(".")[0])}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, node.module.split(".")[0]}
    return found


def test_no_code_of_ours_speaks_to_a_network_but_that_of_witnesses() -> None:
    assert {str(path.relative_to(ROOT)) for path in SOURCES if imports(path) & NETWORK} == {
        "eval/ranks.py",  # asks this machine for a free port, where its own processes meet
        "governance_hooks/witness/client.py",  # asks the addresses the operator gave with `coop log witnesses add`
        "governance_hooks/witness/server.py",  # `coop witness serve`
        "portal/mail/sender.py",  # hands mail to the server the operator gave with `coop portal --smtp-url`
        "train/launch.py",  # the same as eval/ranks.py
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_one_page_and_one_sentence(room: str) -> None:
    assert (ROOT / "docs" / f"{room}.md").is_file()
    doc = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    assert doc is not None
    assert f"`{room}/`" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert list((ROOT / "tests" / room).glob("test_*.py"))


DEFAULT_VERBS = {"card": "write", "eval": "run", "plan": "make"}
"""Groups that take an argument and options without the verb: `coop plan CONFIG`, `coop eval RUN --check`."""


def commands(page: Path) -> list[list[str]]:
    """Every `coop ...` in the code blocks and code spans of a page, as words."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", text, re.S)) + "\n" + "\n".join(re.findall(r"`(coop [^`]+)`", text))
    found = []
    for line in blocks.split("\n"):
        for part in re.split(r";|\$ |&&|\|(?! )", line):
            words = part.split("#")[0].split()
            if words[:1] == ["coop"]:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_commands_and_options_there_are(page: Path) -> None:
    context = click.Context(coop)
    for words in commands(page):
        command: click.Command = coop
        options = {option for parameter in coop.params for option in parameter.opts} | {"--help"}
        for word in words:
            if isinstance(command, click.Group) and not word.startswith("-") and word.islower():
                found = command.get_command(context, word)
                if found is None and command.name in DEFAULT_VERBS:
                    found = command.get_command(context, DEFAULT_VERBS[command.name])
                if found is None:
                    assert word in words[words.index("-C") + 1 :] if "-C" in words else False, f"{page.name}: coop {' '.join(words)}"
                    continue
                command = found
                options |= {option for parameter in command.params for option in parameter.opts}
                default = command.get_command(context, DEFAULT_VERBS.get(str(command.name), "")) if isinstance(command, click.Group) else None
                options |= {option for parameter in default.params for option in parameter.opts} if default is not None else set()
            elif word.startswith("--"):
                assert word.split("=")[0] in options, f"{page.name}: coop {' '.join(words)}: {word}"


def test_the_readme_is_short_and_shows_a_real_transcript() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split("\n")) < 150
    assert "coop verify" in text
    assert "BLOCKED" in text


def test_the_versions_agree() -> None:
    from commonweights import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == __version__
