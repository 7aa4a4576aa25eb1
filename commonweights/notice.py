"""The plain words a member is shown before consenting; their digest and language go into the consent."""

from __future__ import annotations

__all__ = ["NOTICE", "NOTICE_LANGUAGE"]

NOTICE = """\
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
"""
NOTICE_LANGUAGE = "eng"
"""ISO 639-3."""
