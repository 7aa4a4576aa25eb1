"""The plain words a member is shown before consenting; their digest and language go into the consent."""

from __future__ import annotations

from typing import Final

from governance_hooks.canonical import sha256
from governance_hooks.sentence import Sentence

__all__ = ["EARLIER", "NOTICE", "NOTICE_LANGUAGE", "NOTICE_OUTSIDE", "NOTICE_PUBLISH", "notice_of"]

NOTICE = Sentence("""\
What you allow
  The cooperative may train language models on the texts you give, for the purposes you choose. It may hand out
  the trained models to those you choose, under the licences you choose. Members vote before every training.

What you keep
  Your texts stay yours. Members can read them; they are never handed out together with a model. The public log
  shows a made-up name in place of yours. Your texts are kept until you ask to have them erased. You can take back
  what you allow at any time, with one click or one command. That counts as soon as it stands in the public log.

What taking it back cannot do
  A model that was handed out before cannot be called back from those who have it, and may still hold traces of
  your texts. The next dataset leaves your texts out, and no new training begins with them.
""")
NOTICE_OUTSIDE = """\

What you also allow, which goes further
  Organisations outside of the kinds you name may ask for data. Members vote on each request: who asks, for what, at
  what price. If members say yes, they get what you name below: counts, or your texts themselves, without your name.
  They sign for terms: no passing on, no guessing who wrote what, deletion when you withdraw. You can withdraw at any
  time, and they are told what to delete; whether they did, nobody can prove to you.
"""
"""Shown beside `NOTICE` to who lets data go to outsiders."""
NOTICE_PUBLISH = Sentence("""\

What you also show to everybody
  Some of your texts may stand on the public page of their language, without your name, so that people see what is
  in the data. Only texts that a voted dataset holds are shown, and only while at least five members allow it in that
  language. When you withdraw they are gone from the page at once. Whoever copied one meanwhile has it.
""")
"""Shown beside `NOTICE` to who lets texts be read on public pages."""
NOTICE_LANGUAGE = "eng"
"""ISO 639-3."""
EARLIER: Final = (
    """\
What you allow
  The cooperative may train language models on the prompts and answers you contribute, for the purposes you name,
  and may publish the resulting weights under the licences you name. Each run needs a vote of the members.

What you keep
  Your text stays yours and stays private: it is never published with the weights. In the public log you are a
  random pseudonym. You can withdraw at any time with one command; it takes effect at that log position.

What a withdrawal cannot do
  Weights that were released before cannot be called back from people who copied them, and may still carry traces
  of what they were trained on. The next build, and every run after it, leaves your records out.
""",
    """\
What you allow
  The cooperative may train language models on the prompts and answers you contribute, for the purposes you name,
  and may publish the resulting weights under the licences you name. Each run needs a vote of the members.

What you keep
  Your text stays yours and stays private: it is never published with the weights. In the public log you are a
  random pseudonym. The cooperative keeps your text until you ask for its erasure. You can withdraw at any time with
  one command; it takes effect at that log position.

What a withdrawal cannot do
  Weights that were released before cannot be called back from people who copied them, and may still carry traces
  of what they were trained on. The next build, and every run after it, leaves your records out.
""",
)
"""What `NOTICE` was before, oldest first, to the letter. Change no word of it, nor of the parts above: add here what you take out."""


def notice_of(digest: str) -> str | None:
    """Return what a member was shown before a consent that names this digest, now or earlier; None for words that are not ours (`--notice`)."""
    texts = (first + second + third for first in (NOTICE, *EARLIER) for second in ("", NOTICE_OUTSIDE) for third in ("", NOTICE_PUBLISH))
    return next((text for text in texts if sha256(text.encode()) == digest), None)
