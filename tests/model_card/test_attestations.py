"""Attestations: rendered from records, signed k of n by stewards, accepted by others' tools, and refused where anything else stands."""

import base64
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import loads
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.sshsig import KeyElsewhere, generate_key
from model_card.attestations import NAMES, attest, check_attestations, path_of, signed_by, statements_of
from model_card.attestations.envelope import Envelope, to_be_signed
from tests.model_card.attested import SHA, STEWARDS, Case, made, read
from tests.model_card.cards import compared_of, leak_of
from tests.village import found


@pytest.fixture(scope="module")
def _voted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    root = tmp_path_factory.mktemp("voted") / "village"
    keys, operator = found(root, founders=6, stewards=STEWARDS, stewards_required=2)
    with Cooperative.open(root) as coop:
        yield made(root, coop, keys, operator)


@pytest.fixture
def voted(_voted: Case) -> Case:
    """A voted release of a village with three stewards, two of whom it takes; the register is the test's own."""
    return replace(_voted, register=deepcopy(_voted.register))


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Case]:
    """The same in a village without stewards."""
    keys, operator = found(tmp_path / "village", founders=6)
    with Cooperative.open(tmp_path / "village") as coop:
        yield made(tmp_path / "village", coop, keys, operator)


def test_two_of_three_stewards_attest_a_release(voted: Case) -> None:
    assert voted.signed(0, 2).check() == f"{len(NAMES)} statements rendered again, each signed by 2 or more of 3 stewards (2 required)"
    assert "each signed by 3 or more" in voted.signed(0, 1, 2).check()


def test_each_statement_is_in_toto_s_and_names_files_of_release_json_by_their_digests(voted: Case) -> None:
    listed = {entry["path"]: entry["sha256"] for entry in json.loads(voted.files["release.json"])["files"]} | {"release.json": voted.release}
    made = statements_of(voted.files, voted.digests, voted.register, voted.release)
    assert made.keys() == NAMES.keys()
    for name, data in made.items():
        value = loads(data, floats=True)
        assert (value["_type"], value["predicateType"]) == ("https://in-toto.io/Statement/v1", NAMES[name])
        assert value["subject"]
        assert all("sha256:" + one["digest"]["sha256"] == listed[one["name"]] for one in value["subject"])
    provenance, release = (loads(made[name], floats=True) for name in ("provenance", "release"))
    assert {one["name"].rpartition("/")[2] for one in provenance["subject"]} == {"adapter_config.json", "adapter_model.safetensors"}
    assert {one["name"] for one in release["subject"]} == set(listed)
    assert release["predicate"]["purl"] == f"pkg:generic/village-lm@{voted.release[7:]}"


@pytest.mark.parametrize("passed", [True, False])
def test_the_test_result_speaks_of_the_comparison_with_the_release_before(voted: Case, passed: bool) -> None:
    def result(case: Case) -> dict[str, Any]:
        found: dict[str, Any] = loads(statements_of(case.files, case.digests, case.register, case.release)["test-result"], floats=True)["predicate"]
        return found

    extra = {"privacy/leak.json": leak_of(voted.finished.run_dir), "privacy/differential.json": compared_of(passed=passed)}
    told = result(replace(voted, files=voted.files | extra))
    assert "leak/epsilon" in told["passedTests"]
    assert ("differential/left_told_apart" in told["passedTests"]) is passed
    assert ("differential/left_told_apart" in told["failedTests"]) is not passed
    assert told["result"] == (result(voted)["result"] if passed else "FAILED")


def test_statements_say_what_the_records_and_the_log_say(voted: Case) -> None:
    values = {name: loads(data, floats=True)["predicate"] for name, data in statements_of(voted.files, voted.digests, voted.register, voted.release).items()}
    plan, report = json.loads(voted.files["plan.json"]), json.loads(voted.files["eval/report.json"])
    inputs = {one["name"]: "sha256:" + one["digest"]["sha256"] for one in values["provenance"]["buildDefinition"]["resolvedDependencies"]}
    assert inputs["base weights"] == plan["base"]["digest"]
    assert inputs["dataset build"] == plan["build"]["manifest"]
    assert values["provenance"]["runDetails"]["metadata"]["invocationId"] == "run-1"
    assert values["test-result"]["result"] == ("PASSED" if report["passed"] else "FAILED")
    named = [one for kind in ("passedTests", "warnedTests", "failedTests") for one in values["test-result"][kind]]
    assert sorted(named) == sorted(f"heldout/{language}" for language in report["languages"])
    assert (values["vote"]["release"]["for"], values["vote"]["release"]["outcome"]) == (6, "approved")
    assert values["vote"]["release"]["subject"] == voted.release
    assert (values["consent"]["consents"], values["consent"]["inLog"], values["consent"]["withdrawnUntilVoteClosed"]) == (6, 6, 0)
    assert values["preregistration"]["voteClosedAtEntry"] < values["preregistration"]["runStartedAtEntry"]
    assert values["preregistration"]["policy"]["minimum_items"] == plan["evaluation"]["minimum_items"]


def test_a_longer_log_renders_the_same_statements(voted: Case) -> None:
    before = statements_of(voted.files, voted.digests, voted.register, voted.release)
    later = deepcopy(voted.register)
    member = voted.village.members[0]
    later.apply(voted.village.entry("coop.withdrawal/v1", {"consent": None}, member))
    later.apply(voted.village.entry("coop.release/v1", {"run": "run-1", "release": voted.release, "proposal": _proposal(voted)}, "operator"))
    assert statements_of(voted.files, voted.digests, later, voted.release) == before


def _proposal(case: Case) -> str:
    return next(one.id for one in case.register.proposals.values() if one.kind == "release")


def _publish(case: Case) -> None:
    case.register.apply(case.village.entry("coop.release/v1", {"run": "run-1", "release": case.release, "proposal": _proposal(case)}, "operator"))


def test_securesystemslib_verifies_what_stewards_signed(voted: Case) -> None:
    dsse, signer = pytest.importorskip("securesystemslib.dsse"), pytest.importorskip("securesystemslib.signer")
    keys = [
        signer.SSlibKey(one.public.fingerprint, "ed25519", "ed25519", {"public": one.public.point.hex()})
        for one in (voted.key(0), voted.key(1), generate_key(voted.village.root / "other"))
    ]
    for name in NAMES:
        data = voted.signed(0, 1).files[path_of(name)]
        envelope = dsse.Envelope.from_dict(json.loads(data))
        assert len(envelope.verify(keys, 2)) == 2
        assert envelope.pae() == to_be_signed(Envelope.read(data, source=name).payload)
        envelope.payload = envelope.payload.replace(b"Statement", b"statement")
        with pytest.raises(Exception, match="threshold"):
            envelope.verify(keys, 2)


def test_what_securesystemslib_signs_with_a_steward_s_key_we_accept(voted: Case) -> None:
    dsse, signer = pytest.importorskip("securesystemslib.dsse"), pytest.importorskip("securesystemslib.signer")
    case = voted.signed(0)
    key = voted.key(1)
    theirs = signer.CryptoSigner(key._key, signer.SSlibKey(key.public.fingerprint, "ed25519", "ed25519", {"public": key.public.point.hex()}))
    for name in NAMES:
        kept = Envelope.read(case.files[path_of(name)], source=name)
        envelope = dsse.Envelope(kept.payload, "application/vnd.in-toto+json", {})
        envelope.sign(theirs)
        signature = base64.b64decode(envelope.to_dict()["signatures"][0]["sig"])
        added = Envelope(kept.payload, kept.signatures | {key.public.fingerprint: signature})
        case.files[path_of(name)] = added.dumps()
    assert "2 or more of 3" in case.check()


def test_one_steward_is_too_few_and_says_so(voted: Case) -> None:
    voted.signed(0).fails("signed by 1 of 2 stewards")


def test_a_steward_with_two_keys_counts_once(voted: Case) -> None:
    second = generate_key(voted.village.root / f"second-{voted.village.coop.log.size}-{id(voted)}")
    steward = STEWARDS[0]
    voted.register.apply(voted.village.entry("coop.key/v1", {"action": "add", "key": second.public.line}, steward, voted.key(0), second))
    case = voted.signed(0)
    for name in NAMES:
        kept = Envelope.read(case.files[path_of(name)], source=name)
        twice = kept.signatures | {second.public.fingerprint: second.sign_plain(to_be_signed(kept.payload))}
        case.files[path_of(name)] = Envelope(kept.payload, twice).dumps()
    case.fails("signed twice by one steward")


def test_signing_again_with_a_second_key_replaces_the_first_signature(voted: Case) -> None:
    second = generate_key(voted.village.root / f"replaced-{id(voted)}")
    voted.register.apply(voted.village.entry("coop.key/v1", {"action": "add", "key": second.public.line}, STEWARDS[0], voted.key(0), second))
    files = voted.signed(0).files
    files |= attest(files, voted.digests, voted.register, voted.release, second)
    assert set(Envelope.read(files[path_of("vote")], source="vote").signatures) == {second.public.fingerprint}
    assert signed_by(files, voted.digests, voted.register, voted.release)["vote"] == {STEWARDS[0]}


def test_one_signature_listed_under_two_names_is_refused(voted: Case) -> None:
    def twice(value: Any) -> None:
        value["signatures"].append(value["signatures"][0] | {"keyid": "x"})

    voted.signed(0, 1).edited("vote", twice).fails("no steward's")

    def doubled(value: Any) -> None:
        value["signatures"].append(value["signatures"][0])

    voted.signed(0, 1).edited("vote", doubled).fails("names a key twice")


def test_a_member_who_is_no_steward_can_neither_sign_nor_be_counted(voted: Case) -> None:
    member = voted.village.keys[voted.village.members[0]]
    with pytest.raises(Refused, match="may not sign"):
        attest(voted.files, voted.digests, voted.register, voted.release, member)
    with pytest.raises(Refused, match="may not sign"):
        attest(voted.files, voted.digests, voted.register, voted.release, voted.village.operator)
    case = voted.signed(0, 1)
    kept = Envelope.read(case.files[path_of("consent")], source="consent")
    forged = kept.signatures | {member.public.fingerprint: member.sign_plain(to_be_signed(kept.payload))}
    replace(case, files=case.files | {path_of("consent"): Envelope(kept.payload, forged).dumps()}).fails("no steward's")


def test_a_stranger_who_borrows_a_steward_s_key_id_is_refused(voted: Case) -> None:
    stranger, case = generate_key(voted.village.root / f"stranger-{id(voted)}"), voted.signed(0)
    kept = Envelope.read(case.files[path_of("release")], source="release")
    forged = kept.signatures | {voted.key(1).public.fingerprint: stranger.sign_plain(to_be_signed(kept.payload))}
    replace(case, files=case.files | {path_of("release"): Envelope(kept.payload, forged).dumps()}).fails("does not verify")


def test_stewards_who_sign_something_else_are_refused_though_their_signatures_hold(voted: Case) -> None:
    case = voted.signed(0, 1)
    for name, old, new in (("vote", b'"against":0', b'"against":1'), ("consent", b'"records":', b'"record5":'), ("test-result", b"PASSED", b"FAILED"),
                           ("provenance", b'"seed":0', b'"seed":1'), ("preregistration", b'"minimum_items"', b'"minimum_item5"'), ("release", b"village-lm", b"village-1m")):  # fmt: skip
        payload = Envelope.read(case.files[path_of(name)], source=name).payload
        changed = payload.replace(old, new) if old in payload else payload.replace(b"PASSED", b"WARNED").replace(b"FAILED", b"PASSED")
        assert changed != payload, name
        message = to_be_signed(changed)
        lie = Envelope(changed, {voted.key(i).public.fingerprint: voted.key(i).sign_plain(message) for i in (0, 1)})
        replace(case, files=case.files | {path_of(name): lie.dumps()}).fails("does not state what the records and the log say")


def test_attestations_of_another_release_are_refused(voted: Case) -> None:
    other = voted.finished.assemble(voted.village.root / f"other-{id(voted)}", name="other-lm")
    files, digests = read(other.folder)
    register = deepcopy(voted.register)
    proposal = voted.village.entry("coop.proposal/v1", voted.village.proposal("release", other.digest), voted.village.members[0])
    found = register.apply(proposal).id
    for member in voted.village.members:
        register.apply(voted.village.entry("coop.ballot/v1", {"proposal": found, "choice": "for", "sequence": 1, "reason": None}, member))
    closing = {"proposal": found, "votes_for": 6, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    register.apply(voted.village.entry("coop.close/v1", closing, "operator", issued=register.proposals[found].closes))
    mixed = files | {path: data for path, data in voted.signed(0, 1).files.items() if path.startswith("attestations/")}
    with pytest.raises(StepFailed, match="does not state what the records"):
        check_attestations(mixed, digests, register, other.digest)
    for path, data in attest(files, digests, register, other.digest, voted.key(0)).items():
        files[path] = data
    with pytest.raises(StepFailed, match="signed by 1 of 2"):
        check_attestations(files, digests, register, other.digest)


def test_an_unknown_file_among_the_attestations_is_refused(voted: Case) -> None:
    case = voted.signed(0, 1)
    replace(case, files=case.files | {"attestations/extra.dsse.json": case.files[path_of("vote")]}).fails("no attestation we know")
    replace(case, files=case.files | {"attestations/NOTES": b"x"}).fails("no attestation we know")


def test_a_missing_attestation_could_not_be_checked(voted: Case) -> None:
    voted.fails("not attested: provenance", StepUnknown)
    case = voted.signed(0, 1)
    del case.files[path_of("consent")]
    case.fails("not attested: consent", StepUnknown)


@pytest.mark.parametrize(
    "bytes_", [b"", b"{}", b"[]", b'{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}', b"\xff", b'{"a":' * 5000]
)
def test_junk_in_place_of_an_envelope_is_refused(voted: Case, bytes_: bytes) -> None:
    case = voted.signed(0, 1)
    replace(case, files=case.files | {path_of("vote"): bytes_}).fails(".")


def test_every_flipped_bit_of_an_attestation_is_seen(voted: Case) -> None:
    case = voted.signed(0, 1)
    data = case.files[path_of("preregistration")]
    for place in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        replace(case, files=case.files | {path_of("preregistration"): bytes(flipped)}).fails(".")


def test_a_file_that_is_not_the_listed_one_fails_the_attestations_too(voted: Case) -> None:
    case = voted.signed(0, 1)
    replace(case, digests=case.digests | {"run.json": "sha256:" + SHA}).fails("not the file release.json lists")
    replace(case, release="sha256:" + SHA).fails("not the release these attestations")


def test_a_steward_who_stepped_down_before_the_release_went_out_is_no_steward_of_it(voted: Case) -> None:
    case = voted.signed(0, 1)
    case.register.bylaws = case.register.bylaws.model_copy(update={"stewards": STEWARDS[1:]})
    _publish(case)
    case.fails("no steward's")


def test_a_steward_who_steps_down_after_the_release_went_out_signed_it_for_good(voted: Case) -> None:
    case = voted.signed(0, 1)
    _publish(case)
    case.register.bylaws = case.register.bylaws.model_copy(update={"stewards": [STEWARDS[2]], "stewards_required": 1})
    assert "2 or more of 3" in case.check()
    late = voted.village.keys[voted.village.members[0]]
    case.register.bylaws = case.register.bylaws.model_copy(update={"stewards": [voted.village.members[0]]})
    with pytest.raises(Refused, match="may not sign"):
        attest(case.files, case.digests, case.register, case.release, late)


def test_a_suspended_steward_does_not_count_for_a_release_that_goes_out_meanwhile(voted: Case) -> None:
    case = voted.signed(0, 1)
    case.register.members[STEWARDS[0]].suspended_until = "2099-01-01T00:00:00Z"
    _publish(case)
    case.fails("no steward's")


def test_without_stewards_the_operator_signs_and_the_line_says_so(lone: Case) -> None:
    assert "NO attestations: the bylaws name no stewards" in lone.check()
    files = lone.files | attest(lone.files, lone.digests, lone.register, lone.release, lone.village.operator)
    assert "OPERATOR ALONE" in check_attestations(files, lone.digests, lone.register, lone.release)
    with pytest.raises(Refused, match="may not sign"):
        attest(lone.files, lone.digests, lone.register, lone.release, lone.village.keys[lone.village.members[0]])


def test_where_all_stewards_are_gone_the_operator_does_not_step_in(voted: Case) -> None:
    for one in STEWARDS:
        voted.register.members[one].left = voted.register.size
    with pytest.raises(Refused, match="may not sign"):
        attest(voted.files, voted.digests, voted.register, voted.release, voted.village.operator)
    voted.fails("not attested", StepUnknown)


def test_a_release_members_did_not_approve_is_not_attested(voted: Case) -> None:
    proposal = voted.register.proposals[_proposal(voted)]
    proposal.votes.clear()
    with pytest.raises((StepFailed, CoopError), match="did not approve"):
        attest(voted.files, voted.digests, voted.register, voted.release, voted.key(0))
    voted.register.proposals.clear()
    with pytest.raises((StepFailed, CoopError)):
        attest(voted.files, voted.digests, voted.register, voted.release, voted.key(0))


def test_a_run_that_began_before_its_policy_was_voted_is_not_attested(voted: Case) -> None:
    voted.register.runs["run-1"].starts[0] = 1
    with pytest.raises(StepFailed, match="began before the vote on its evaluation policy"):
        attest(voted.files, voted.digests, voted.register, voted.release, voted.key(0))


def test_attestations_that_do_not_hold_are_not_signed_further(voted: Case) -> None:
    case = voted.signed(0)
    data = bytearray(case.files[path_of("vote")])
    data[40] ^= 1
    with pytest.raises((StepFailed, CoopError)):
        attest(case.files | {path_of("vote"): bytes(data)}, case.digests, case.register, case.release, case.key(1))


def test_a_key_that_signs_elsewhere_cannot_attest_and_the_reason_is_said(voted: Case) -> None:
    with pytest.raises(BadInput, match="FIDO key or passkey only ever signs in its own frame"):
        attest(voted.files, voted.digests, voted.register, voted.release, KeyElsewhere(voted.key(0).public))


@pytest.mark.parametrize("message", [b"SSHSIG" + bytes(40), b"\x00\x00\x00\x20" + bytes(60), b"", b"DSSEv2 4", b"hello", b" {"])
def test_a_member_key_signs_no_plain_bytes_that_could_be_a_statement_or_a_login(voted: Case, message: bytes) -> None:
    with pytest.raises(Refused, match="without a namespace"):
        voted.key(0).sign_plain(message)
