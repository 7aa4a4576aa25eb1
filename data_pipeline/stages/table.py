"""The quality stages by name, in the order they should run.

    consent -> normalise -> length -> [repetition, language_id, pii, decontamination, review] -> exact duplicates -> [near_duplicates] -> split

What can be said of a row without the others comes first, so that no copy is left out for a row that then falls itself; personal data
goes before duplicates, since two rows may differ in nothing else. Canaries and the language mix are no stages: they add rows and weights.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from data_pipeline.stages import decontamination, language_id, near_duplicates, pii, repetition, review
from data_pipeline.stages.stage import Stage

__all__ = ["STAGES"]

STAGES: Final = MappingProxyType(
    {
        "repetition": Stage(repetition.RULE, repetition.repetition, repetition.RepetitionParameters, "drops"),
        "language_id": Stage(language_id.RULE, language_id.language_id, language_id.LanguageIdParameters, "marks"),
        "pii": Stage(pii.RULE, pii.pii, pii.PiiParameters, "rewrites"),
        "decontamination": Stage(decontamination.RULE, decontamination.decontaminate, decontamination.DecontaminationParameters, "drops"),
        "review": Stage(review.RULE, review.review, review.ReviewParameters, "drops"),
        "near_duplicates": Stage(near_duplicates.RULE, near_duplicates.near_duplicates, near_duplicates.NearDuplicatesParameters, "drops", joint=True),
    }
)
