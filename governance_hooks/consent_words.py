"""A consent in plain words: short sentences that follow from what is signed and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from governance_hooks.consent import Consent
from governance_hooks.vocabulary import OUTSIDE_FORMS, WORDS, narrower

__all__ = ["in_words"]


def _either(words: Sequence[str], joint: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"


def _who(consent: Consent) -> str:
    if consent.outside is None:
        return "Who may use it: the cooperative, and nobody else."
    forms = _either([WORDS[OUTSIDE_FORMS[form]] for form in sorted(consent.outside.forms)], "and")
    return f"Who may use it: the cooperative; and {_either([WORDS[one] for one in consent.outside.recipients], 'or')} members vote to admit, by {forms}."


def in_words(consent: Consent) -> list[str]:
    """Return what a consent allows as lines of "question: answer." a member can read aloud."""
    scope = consent.scope
    included = [WORDS[other] for other in sorted({other for purpose in consent.purposes for other in narrower(purpose)} - set(consent.purposes))]
    texts = "all texts you gave and will give"
    if scope.languages is not None:
        texts = f"only your texts in {_either(scope.languages, 'and') if scope.languages else 'no language'}"
    if scope.batches is not None:
        texts += f", and of these only the {len(scope.batches)} batch(es) you named" if scope.languages is not None else ""
        texts = f"only the {len(scope.batches)} batch(es) of texts you named" if scope.languages is None else texts
    runs = "as many training runs as members approve, each by its own vote"
    if consent.occurrences is not None:
        runs = "one training run that members approve" if consent.occurrences == 1 else f"{consent.occurrences} training runs that members approve"
        runs += "; starting it again after an interruption is not another run"
    lines = [
        _who(consent),
        f"What it may do: {_either([WORDS[step] for step in consent.processing], 'and')}.",
        f"What for: {_either([WORDS[purpose] for purpose in consent.purposes], 'or')}." + (f" This includes {_either(included, 'and')}." if included else ""),
        f"With which texts: {texts}.",
        f"How often: in {runs}.",
        f"Who may get the trained weights: {_either([WORDS[one] for one in consent.recipients], 'and')}.",
        f"Under which licence: {_either(consent.licences, 'or')}.",
        f"Until when: {'until you withdraw' if consent.expires is None else f'until {consent.expires}, or until you withdraw before'}.",
    ]
    if consent.publish is not None:
        lines.insert(1, "What everybody may read: some of your texts, without your name, on the cooperative's public pages, until you withdraw.")
    return lines
