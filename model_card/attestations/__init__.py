"""What stewards sign about a release after its vote: in-toto statements in DSSE, each rendered from records; and where the release stands."""

from governance_hooks.standing import ReleaseStatus, status_of
from model_card.attestations.check import attest, check_attestations, signed_by
from model_card.attestations.statements import NAMES, path_of, statements_of

__all__ = ["NAMES", "ReleaseStatus", "attest", "check_attestations", "path_of", "signed_by", "statements_of", "status_of"]
