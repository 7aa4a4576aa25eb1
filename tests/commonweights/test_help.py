"""What `coop` says to somebody who does not know it yet: examples that would run, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from commonweights.cli import _SECTIONS
from commonweights.cli import coop as group
from commonweights.names import names
from slurm import client

ENGINEERS = {*_SECTIONS["Operators and engineers"], "demo", "why", "verify", "doctor"} - {"access", "payout", "witness", "close", "portal"}


def commands(command: click.Command = group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below one, with its words."""
    if path:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def examples(command: click.Command) -> list[list[str]]:
    """Return the words of the lines of a help that are commands; what follows two blanks says what it is for."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    return [shlex.split(re.split(r"\s{2,}", line)[0], comments=True) for line in lines if line.startswith("coop ")]


@pytest.mark.parametrize("room", sorted(ENGINEERS))
def test_every_command_of_an_engineers_room_has_an_example(room: str) -> None:
    without = [" ".join(path) for path, command in commands() if path[0] == room and not examples(command)]
    assert without == []


def test_every_example_names_commands_and_options_that_are_there() -> None:
    checked = 0
    for path, command in commands():
        for words in examples(command):
            found, rest = group, words[1:]
            while isinstance(found, click.Group) and rest:
                context = click.Context(found)
                if rest[0] not in found.list_commands(context):
                    assert not rest[0].startswith("-") or any(rest[0] in one.opts for one in found.params), (path, words)
                    found = (
                        found.get_command(context, "make" if "make" in found.list_commands(context) else "run") or found
                    )  # `coop plan CONFIG`, `coop eval RUN`
                    break
                found, rest = found.get_command(context, rest[0]) or found, rest[1:]
            known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)} | {option for one in group.params for option in one.opts}
            for word in rest:
                if word.startswith("--"):
                    assert word.partition("=")[0] in known or any(word in one.opts for one in click.Context(found).command.params) or word == "--example", (
                        path,
                        words,
                    )
                    checked += 1
    assert checked > 40


@pytest.mark.parametrize(
    ("words", "told", "next_"),
    [
        (["trian"], "did you mean 'train'", "coop --help"),
        (["train"], "give PLAN", "coop train --help"),
        (["eval", "run", "first", "--memory", "x"], "not a valid float", "coop eval run --help"),
        (["submit", "first"], "--site", "coop submit --help"),
    ],
)
def test_a_mistake_in_the_command_itself_is_json_too_where_asked(coop: Any, words: list[str], told: str, next_: str) -> None:
    done = coop("--json", *words)
    assert (done.code, done.json["error"], done.json["next"]) == (2, "BadInput", next_)
    assert told in done.json["what"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x"), "the disk is full: runs/x"),
        (OSError("Not enough free space to write 56623104 bytes after offset 1785600"), "the disk is full"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/x"), "refuses to read or write: runs/x"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "log.sqlite"), "refuses to read or write: log.sqlite"),
    ],
)
def test_a_full_disk_and_a_folder_nobody_may_write_are_told_in_words(coop: Any, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("commonweights.commands.doctor.doctor.callback", fails)
    done = coop("doctor")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert told in done.err
    assert "the same command again" in done.err
    assert told in coop("--json", "doctor").json["what"]


def test_a_mistake_of_ours_keeps_its_traceback(coop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "nobody-thought-of-this")

    monkeypatch.setattr("commonweights.commands.doctor.doctor.callback", fails)
    with pytest.raises(FileNotFoundError):
        coop("doctor")


def test_a_name_that_is_not_there_gets_those_that_are(coop: Any, home: Path) -> None:
    for known in ("first", "second"):
        (home / "plans").mkdir(exist_ok=True)
        (home / "plans" / f"{known}.json").write_bytes(b"{}")
        (home / "builds" / known).mkdir(parents=True)
        (home / "builds" / known / "manifest.json").write_bytes(b"{}")
    for words in (
        ["train", "frist"],
        ["plan", "explain", "frist"],
        ["tokens", "mix", "frist"],
        ["build", "verify", "frist"],
        ["build", "card", "frist"],
        ["why", "frist"],
    ):
        done = coop("-C", home, *words)
        assert (done.code, "did you mean 'first'? known: first, second" in done.err) == (2, True), (words, done.err)
    for words in (["card", "frist"], ["weights", "merge", "frist"], ["release", "assemble", "frist"]):
        done = coop("-C", home, *words)
        assert (done.code, "there is no run frist" in done.err, "coop runs" in done.err) == (2, True, True), (words, done.err)
    assert names([], "x") == "none is here yet"
    assert names([f"run-{number:02}" for number in range(30)], "zzz").endswith("run-19, ...")


def test_a_folder_below_the_cooperative_and_a_model_nobody_merged_are_told_apart_from_names(coop: Any, home: Path, tmp_path: Path) -> None:
    (home / "runs").mkdir(exist_ok=True)
    done = coop("-C", home / "runs", "status")
    assert (done.code, f"-C {home}" in done.err, "coop init" in done.err) == (2, True, False)
    (tmp_path / "model").mkdir()
    done = coop("-C", home, "weights", "gguf", tmp_path / "model", "--out", tmp_path / "x.gguf")
    assert (done.code, "no folder that coop weights merge made" in done.err) == (2, True)


def test_slurm_without_a_cluster_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "scontrol"
    fake.write_text("#!/bin/sh\necho 'scontrol: fatal: Could not establish a configuration source' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(client.NoSlurm, match="knows of no cluster") as found:
        client.show("4711")
    assert "SLURM_CONF" in str(found.value)
