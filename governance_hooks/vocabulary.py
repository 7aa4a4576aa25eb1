"""The words of consent: terms of W3C DPV 2.3 (https://w3id.org/dpv), their hierarchy as DPV states it, and plain words for each.

`coop:` terms are ours, where DPV 2.3 has none: its AI extension knows no evaluation of a model.
"""

from __future__ import annotations

from governance_hooks.sentence import Sentence

__all__ = [
    "EVERYBODY",
    "LICENCES",
    "MEMBERS",
    "OUTSIDERS",
    "OUTSIDE_FORMS",
    "PROCESSING",
    "PUBLIC",
    "PUBLISHING",
    "PURPOSES",
    "RECIPIENTS",
    "WORDS",
    "covers",
    "narrower",
]

PURPOSES: dict[str, tuple[str, ...]] = {
    "dpv:CommercialPurpose": (),
    "dpv:NonCommercialPurpose": (),
    "dpv:ResearchAndDevelopment": (),
    "dpv:AcademicResearch": ("dpv:ResearchAndDevelopment",),
    "dpv:ScientificResearch": ("dpv:ResearchAndDevelopment",),
    "dpv:CommercialResearch": ("dpv:CommercialPurpose", "dpv:ResearchAndDevelopment"),
    "dpv:NonCommercialResearch": ("dpv:NonCommercialPurpose", "dpv:ResearchAndDevelopment"),
    "dpv:PublicBenefit": (),
    "dpv:DataAltruism": ("dpv:PublicBenefit",),
    "dpv:ImprovePublicServices": ("dpv:PublicBenefit",),
    "dpv:ServiceManagement": (),
    "dpv:ServiceProvision": ("dpv:ServiceManagement",),
    "dpv:RequestedServiceProvision": ("dpv:ServiceProvision",),
    "dpv:ServiceOptimisation": ("dpv:ServiceManagement",),
    "dpv:OptimisationForController": ("dpv:ServiceOptimisation",),
    "dpv:ImproveExistingProductsAndServices": ("dpv:OptimisationForController",),
}
"""Purpose -> the broader purposes DPV 2.3 puts it under. Consent to a broader one covers the narrower, never the reverse."""

PROCESSING = ("ai:ModelFineTuning", "coop:ModelEvaluation")
"""In DPV training is a processing operation, not a purpose."""

MEMBERS = "coop:Members"
PUBLIC = "coop:PublicViaReleasedWeights"
RECIPIENTS = (MEMBERS, PUBLIC)
LICENCES = ("Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0")
"""Licences of the resulting weights a member can agree to."""

OUTSIDERS = ("dpv:AcademicScientificOrganisation", "dpv:ForProfitOrganisation", "dpv:GovernmentalOrganisation", "dpv:NonProfitOrganisation")
"""Kinds of organisations outside that members can vote to admit to data."""
OUTSIDE_FORMS = {"aggregate": "dpv:Analyse", "extract": "dpv:Share"}
"""What an outsider can ask for -> the processing it is in DPV."""

PUBLISHING = {"samples": "dpv:MakeAvailable"}
"""What a member can let everybody read -> the processing it is in DPV."""
EVERYBODY = "coop:Everybody"

WORDS = {
    "dpv:CommercialPurpose": Sentence("anything done for profit"),
    "dpv:NonCommercialPurpose": Sentence("anything done without profit in mind"),
    "dpv:ResearchAndDevelopment": Sentence("research and development"),
    "dpv:AcademicResearch": Sentence("academic research"),
    "dpv:ScientificResearch": Sentence("scientific research"),
    "dpv:CommercialResearch": Sentence("commercial research"),
    "dpv:NonCommercialResearch": Sentence("non-commercial research"),
    "dpv:PublicBenefit": Sentence("the benefit of the public"),
    "dpv:DataAltruism": Sentence("data given for the common good"),
    "dpv:ImprovePublicServices": Sentence("better public services"),
    "dpv:ServiceManagement": Sentence("running a service, in every way"),
    "dpv:ServiceProvision": Sentence("providing a service"),
    "dpv:RequestedServiceProvision": Sentence("providing a service somebody asked for"),
    "dpv:ServiceOptimisation": Sentence("making a service better"),
    "dpv:OptimisationForController": Sentence("making a service better for the cooperative"),
    "dpv:ImproveExistingProductsAndServices": Sentence("improving what the cooperative offers already"),
    "ai:ModelFineTuning": Sentence("fine-tuning a model"),
    "coop:ModelEvaluation": Sentence("evaluating a model"),
    MEMBERS: Sentence("the members"),
    PUBLIC: Sentence("the public, through released weights"),
    "dpv:AcademicScientificOrganisation": Sentence("universities and research institutes"),
    "dpv:ForProfitOrganisation": Sentence("companies"),
    "dpv:GovernmentalOrganisation": Sentence("public bodies"),
    "dpv:NonProfitOrganisation": Sentence("non-profit organisations"),
    "dpv:Analyse": Sentence("counting over the texts, of which only the counts go out"),
    "dpv:Share": Sentence("handing out the texts themselves"),
    "dpv:MakeAvailable": Sentence("showing some of the texts to everybody, without their author's name"),
    EVERYBODY: Sentence("everybody who reads the cooperative's public pages"),
}
"""Plain words for every term a consent can name."""


def covers(allowed: str, purpose: str) -> bool:
    """Tell whether consent to `allowed` covers `purpose`: the same, or one that DPV puts below it."""
    return purpose == allowed or any(covers(allowed, broader) for broader in PURPOSES[purpose])


def narrower(purpose: str) -> list[str]:
    """Return the other purposes that consent to this one covers too."""
    return [other for other in PURPOSES if other != purpose and covers(purpose, other)]
