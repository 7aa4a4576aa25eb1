"""Record a small election with the real belenios-tool: `python -m tests.data.secret.record`, from the repository's root.

It writes the two files beside it: `election.bel`, ten credentials, six voters, one of whom votes twice, two of three trustees; and
`spare.json`, a ballot of a seventh member made in time but never added, and one by a credential nobody was given.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from governance_hooks.cooperative import Cooperative
from governance_hooks.secret.tool import Tool, scratch
from tests.secret_poll import RECORDED, Ceremony
from tests.village import Village, found

VOTES = ["no", "yes", "no", "yes", "yes", "abstain"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        keys, operator = found(root / "village", founders=10)
        with Cooperative.open(root / "village") as coop:
            village = Village(root / "village", coop, keys, operator)
            ceremony = Ceremony(village, root / "poll", Tool.find())
            ceremony.opened()
            ceremony.box.add(ceremony.ballot(village.members[0], "yes"))
            for voter, answer in zip(village.members, VOTES, strict=False):
                ceremony.box.add(ceremony.ballot(voter, answer))
            with scratch({ceremony.folder.archive().name: ceremony.folder.archive().read_bytes()}) as at:
                # The tool does not look at the list of credentials when it makes a ballot, so a credential of another election does.
                other = Ceremony(village, root / "other", ceremony.tool)
                other.keys()
                (at / "credential").write_bytes(other.credential(village.members[0]).strip())
                (at / "choice").write_text("[[1,0,0]]")
                stranger = ceremony.tool.output("election", "generate-ballot", "--privcred", "credential", "--choice", "choice", folder=at)
            spare = {"late": ceremony.ballot(village.members[6], "yes").decode(), "stranger": stranger.decode()}
            village.wait(3600)
            ceremony.box.close()
            ceremony.decrypt(1, 3)
            assert ceremony.box.count() == [3, 2, 1]
            (RECORDED / "election.bel").write_bytes(ceremony.box.data)
            (RECORDED / "spare.json").write_text(json.dumps(spare))
