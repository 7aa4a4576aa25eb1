"""The operator's attacks with the real belenios-tool on a real archive: what the tool says of each, and what the auditor says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance_hooks.errors import Refused
from governance_hooks.report import Status
from governance_hooks.secret.archive import read_archive
from governance_hooks.secret.auditor import audit_secret, counts_of
from governance_hooks.secret.tool import Tool, scratch
from tests.secret_poll import RECORDED, Ceremony, events, write
from tests.village import Village

pytestmark = pytest.mark.belenios


class Operator:
    """Someone with the archive, the tool and, to show what a count would be, two trustees; the log sees whatever they anchor."""

    def __init__(self, village: Village, root: Path) -> None:
        self.tool, self.village = Tool.find(), village
        self.ceremony = Ceremony(village, root, self.tool)
        self.poll = self.ceremony.opened()
        for voter, answer in zip(village.members[:6], ["no", "no", "no", "no", "yes", "yes"], strict=True):
            self.ceremony.box.add(self.ceremony.ballot(voter, answer))
        self.name = self.ceremony.folder.archive().name
        self.data = self.ceremony.box.data

    def add(self, kind: str, payload: bytes = b"") -> None:
        with scratch({self.name: self.data}) as at:
            self.tool.output("archive", "add-event", f"--type={kind}", folder=at, stdin=payload)
            self.data = (at / self.name).read_bytes()

    def says(self) -> str:
        """Return the tool's verdict on the archive as it stands."""
        with scratch({self.name: self.data}) as at:
            done = self.tool.run("election", "verify", folder=at)
        return "all checks passed" if done.returncode == 0 and b"all checks passed" in done.stderr else "refused"

    def count(self) -> list[int] | None:
        """Tally, decrypt and publish with two trustees who do not audit."""
        with scratch({self.name: self.data}) as at:
            encrypted = self.tool.output("election", "compute-encrypted-tally", folder=at)
        self.add("EncryptedTally", encrypted)
        for number in (1, 2):
            private, dkey = self.ceremony.private(number), self.ceremony.folder.read(f"dkey/{number}.json")
            with scratch({self.name: self.data, "key": (private / "key").read_bytes(), "dkey": dkey}) as at:
                made = self.tool.output("election", "decrypt-threshold", "--key", "key", "--decryption-key", "dkey", "--trustee-id", str(number), folder=at)
            self.add("PartialDecryption", made)
        with scratch({self.name: self.data}) as at:
            result = self.tool.output("election", "compute-result", folder=at)
        self.add("Result", result)
        return counts_of(read_archive(self.data))

    def anchored(self) -> None:
        """Give the log the archive's events, past its rules."""
        poll = self.village.coop.register.secret_polls[self.poll]
        poll.events = [(event.kind, f"sha256:{event.digest}") for event in read_archive(self.data).events]

    def blocked(self, why: str) -> None:
        report = audit_secret(self.data, self.village.coop.register, self.tool)
        assert any(step.status is Status.FAIL and why in step.why for step in report.steps), report.text()


@pytest.fixture
def operator(village10: Village, tmp_path: Path) -> Operator:
    return Operator(village10, tmp_path / "poll")


def test_a_truncated_archive_is_fine_for_the_tool(operator: Operator) -> None:
    parts = events(read_archive(operator.data))
    operator.data = write(parts[:-2])
    assert operator.says() == "all checks passed"
    operator.blocked("the archive is cut short: the log anchors 7 events, it has 5")


def test_an_older_ballot_put_back_is_named_before_it_blocks_the_count(operator: Operator) -> None:
    box = operator.ceremony.box
    first = box.archive.data[box.archive.of("Ballot")[0].payload or ""]
    box.add(operator.ceremony.ballot(operator.village.members[0], "yes"))
    operator.data = box.data
    operator.add("Ballot", first)
    # belenios-tool 3.3.0 says "all checks passed" to this in most runs, and "DuplicateBallot" in some.
    operator.anchored()
    operator.blocked("takes a changed vote back")
    operator.add("EndBallots")
    with pytest.raises(Refused, match="compute-encrypted-tally refused"):
        operator.count()


def test_a_ballot_of_nobody_is_named_before_it_blocks_the_count(operator: Operator, tmp_path: Path) -> None:
    other = Ceremony(operator.village, tmp_path / "other", operator.tool)
    other.keys()
    with scratch({operator.name: operator.data, "credential": other.credential(operator.village.members[0]).strip(), "choice": b"[[1,0,0]]"}) as at:
        stranger = operator.tool.output("election", "generate-ballot", "--privcred", "credential", "--choice", "choice", folder=at)
    operator.add("Ballot", stranger)
    # The tool's own verdict differs from run to run here too.
    operator.anchored()
    operator.blocked("not among the poll's credentials")
    operator.add("EndBallots")
    with pytest.raises(Refused, match="compute-encrypted-tally refused"):
        operator.count()


def test_a_changed_result_is_refused_by_both(operator: Operator) -> None:
    operator.add("EndBallots")
    assert operator.count() == [2, 4, 0]
    parts = events(read_archive(operator.data))
    operator.data = write([*parts[:-1], ("Result", b'{"result":[[4,2,0]]}', [])])
    assert operator.says() == "refused"
    operator.anchored()
    operator.blocked("belenios-tool election verify failed")


def test_a_wrong_decryption_is_fine_for_the_tool_until_the_result(village10: Village) -> None:
    """Why `Box.count` tries decryptions on a scratch copy: `election verify` looks at them only once there is a result."""
    parts = events(read_archive((RECORDED / "election.bel").read_bytes()))
    kind, payload, inner = parts[-3]
    wrong = json.dumps(json.loads(payload or b"") | {"owner": 2}, separators=(",", ":")).encode()
    data, tool = write([*parts[:-3], (kind, wrong, inner)]), Tool.find()
    with scratch({f"{read_archive(data).uuid}.bel": data}) as at:
        assert b"all checks passed" in tool.run("election", "verify", folder=at).stderr
