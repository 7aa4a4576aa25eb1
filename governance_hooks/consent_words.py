"""A consent in plain words: short sentences that follow from what is signed and from nothing else."""

from __future__ import annotations

from governance_hooks.consent import Consent
from governance_hooks.sentence import Sentence, either
from governance_hooks.vocabulary import OUTSIDE_FORMS, WORDS, narrower

__all__ = ["in_words"]


def _who(consent: Consent) -> Sentence:
    if consent.outside is None:
        return Sentence("Who may use it: the cooperative, and nobody else.")
    forms = either([WORDS[OUTSIDE_FORMS[form]] for form in sorted(consent.outside.forms)], "and")
    whom = either([WORDS[one] for one in consent.outside.recipients], "or")
    return Sentence("Who may use it: the cooperative; and {recipients} members vote to admit, by {forms}.", recipients=whom, forms=forms)


def _what_for(consent: Consent) -> Sentence:
    included = [WORDS[other] for other in sorted({other for purpose in consent.purposes for other in narrower(purpose)} - set(consent.purposes))]
    purposes = either([WORDS[purpose] for purpose in consent.purposes], "or")
    if included:
        return Sentence("What for: {purposes}. This includes {included}.", purposes=purposes, included=either(included, "and"))
    return Sentence("What for: {purposes}.", purposes=purposes)


def _texts(consent: Consent) -> Sentence:
    languages, batches = consent.scope.languages, consent.scope.batches
    if languages is None and batches is None:
        return Sentence("With which texts: all texts you gave and will give.")
    if languages is None:
        assert batches is not None
        return Sentence("With which texts: only the {count} batch(es) of texts you named.", count=len(batches))
    named = either([Sentence("{language}", language=code) for code in languages], "and") if languages else Sentence("no language")
    if batches is None:
        return Sentence("With which texts: only your texts in {languages}.", languages=named)
    return Sentence(
        "With which texts: only your texts in {languages}, and of these only the {count} batch(es) you named.",
        languages=named,
        count=len(batches),
    )


def _how_often(consent: Consent) -> Sentence:
    if consent.occurrences is None:
        return Sentence("How often: in as many training runs as members approve, each by its own vote.")
    return Sentence(
        "How often: in one training run that members approve; starting it again after an interruption is not another run.",
        "How often: in {count} training runs that members approve; starting it again after an interruption is not another run.",
        count=consent.occurrences,
    )


def _until(consent: Consent) -> Sentence:
    if consent.expires is None:
        return Sentence("Until when: until you withdraw.")
    return Sentence("Until when: until {when}, or until you withdraw before.", when=consent.expires)


def in_words(consent: Consent) -> list[str]:
    """Return what a consent allows as lines of "question: answer." a member can read aloud."""
    shown = [Sentence("What everybody may read: some of your texts, without your name, on the cooperative's public pages, until you withdraw.")]
    return [
        _who(consent),
        *(shown if consent.publish is not None else []),
        Sentence("What it may do: {processing}.", processing=either([WORDS[step] for step in consent.processing], "and")),
        _what_for(consent),
        _texts(consent),
        _how_often(consent),
        Sentence("Who may get the trained weights: {recipients}.", recipients=either([WORDS[one] for one in consent.recipients], "and")),
        Sentence("Under which licence: {licences}.", licences=either(consent.licences, "or")),
        _until(consent),
    ]
