"""What a page costs: no statement to a database that nobody needs, no thread for each act, and nothing remembered that could be out of date."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from portal import i18n, limits
from portal.limits import Limits
from portal.pages import log
from portal.rendering import environment
from tests.portal.conftest import Portal


@contextmanager
def asked(portal: Portal) -> Iterator[list[str]]:
    """Yield the statements that the private database is sent, without those that begin and end a transaction."""
    said, engine = list[str](), portal.service.private._database.engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            said.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_who_is_not_signed_in_is_looked_up_nowhere(still: Portal) -> None:
    stranger = still.stranger()
    with asked(still) as said:
        for path in ("/", "/log", "/proposals", "/signin"):
            stranger.get(path)
    assert said == []


def test_who_is_signed_in_is_looked_up_by_one_statement(still: Portal) -> None:
    founder = still.founder()
    founder.get("/proposals")  # the first visit notes what the account is
    with asked(still) as said:
        founder.get("/proposals")
    assert len(said) == 1, said
    assert "portal_sessions" in said[0], said


def test_what_needs_a_member_takes_no_text_out_of_the_basket(still: Portal) -> None:
    founder = still.founder()
    founder.get("/")
    with asked(still) as said:
        founder.get("/")
    assert [one for one in said if "portal_basket.inputs" in one] == []
    assert len(said) <= 6, said


def test_a_session_that_ended_opens_nothing(portal: Portal) -> None:
    founder = portal.founder()
    assert "What needs you" in founder.get("/").text
    portal.service.private.sessions.end(founder.client.cookies["__Host-coop"], everywhere=True)
    assert "You were signed out" in founder.get("/").text


def test_an_act_starts_no_thread_of_its_own_and_the_limit_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[threading.Timer]()

    class Noted(threading.Timer):
        def start(self) -> None:
            begun.append(self)
            super().start()

    monkeypatch.setattr(threading, "Timer", Noted)
    counted = Limits()
    for number in range(300):
        assert counted.allows("write", f"192.0.2.{number}")
        if begun:
            begun[-1].join()
    assert len(begun) == 1
    assert [counted.allows("hurry", "somebody") for _ in range(7)] == [True] * 6 + [False]


def test_acts_out_of_their_time_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    counted, later = Limits(), time.time() + 3601
    counted.allows("hurry", "somebody")
    storage = counted._limiter.storage
    storage.timer.join()
    monkeypatch.setattr(limits, "SWEEP_S", 0)
    monkeypatch.setattr(time, "time", lambda: later)
    assert len(storage.events) == 1
    counted.allows("remark", "somebody else")
    storage.timer.join()
    assert [key for key, acts in storage.events.items() if acts and "hurry" in key] == []


def test_the_log_shows_an_entry_as_soon_as_it_is_in(portal: Portal) -> None:
    stranger = portal.stranger()
    before = stranger.get("/log").text
    _, member = portal.joined()
    after = stranger.get("/log").text
    assert member not in before
    assert member in after
    assert log._body.cache_info().maxsize is not None


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_words_of_a_template_are_escaped_in_pages_and_not_in_mail(language: str) -> None:
    i18n.use(language)
    try:
        text = '{% for one in (1,) %}{{ _("%(what)s:", what=value) }} {{ ngettext("%(num)s of %(roll)s has voted.", "%(num)s of %(roll)s have voted.", 7, roll=value) }}{% endfor %}'
        page = environment().from_string(text).render(value="<b>")
        assert "<b>" not in page
        assert page.count("&lt;b&gt;") == 2
        assert "7" in page
        mail = environment().overlay(autoescape=False).from_string(text).render(value="<b>")
        assert mail.count("<b>") == 2
    finally:
        i18n.use("en")
