"""A running village for whoever looks at pages, and the texts that stand on them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from governance_hooks.statement import now
from portal.service import Service
from portal.settings import Settings
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Page, Person

DAY = 86_400

QUESTION = "Which language first?\nأي لغة نبدأ بها؟ كل صوت يُحسب، والجواب لا يُلزم أحدًا.\nLugha ipi kwanza?"
OPTIONS = ["Kiswahili, na lahaja zake zote", "العربية الفصحى", "हिन्दी", "Español de las montañas"]
DRAFTS = ["Budget: 120 hours.\nLanguages: Swahili.\n", "Budget: 90 hours.\nLanguages: Swahili, العربية.\nOpen to everybody.\n"]
REASONS = """\
# Why now
The rains come in **March**, and then *nobody* writes. See [the map](https://maps.example/coast) and `coop plan`.

## What it costs
| what | hours | who pays | when |
|---|--:|---|---|
| تدريب | 90 | the cooperative | before the rains |
| evaluation of all the languages together | 12 | a grant | after them |

1. Kiswahili, na lahaja zake zote
2. हिन्दी
   - गाँव की बोली
     - and what the elders sing

> قالت الجدة: من يكتب يبقى.
> And she is right.

### Neither heading nor <b>markup</b> of its own
    indented words

---
"""
TEXTS = (
    {"inputs": "كيف أزرع الطماطم على السطح؟", "targets": "اختر أصيصًا عميقًا، وضع فيه تربة خفيفة، واسقه كل صباح (حوالي 2 لتر).", "language": "ar"},
    {"inputs": "Ninawezaje kuhifadhi maji ya mvua?", "targets": "Tumia tangi safi lenye kifuniko.\n1. Safisha paa.\n2. Weka chujio.", "language": "sw"},
    {"inputs": "बारिश का पानी कैसे बचाएँ?", "targets": "छत से टंकी तक एक साफ़ नली लगाइए।", "language": "hi"},
)  # fmt: skip


@dataclass
class Stage:
    """A running village: its people by name, in whose browsers pages are looked at, and the addresses of what they left behind."""

    portal: Portal
    local: ASGIApp
    """The same portal, as a browser on this machine reaches it."""
    settings: Settings
    services: list[Service]
    """Its portal's, and that of its browser."""
    people: dict[str, Person] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=lambda: {"language": "en"})

    def cookie(self, who: str) -> str | None:
        """The session of somebody; None for a stranger."""
        return self.people[who].client.cookies.get("__Host-coop") if who in self.people else None

    def stop_clock(self) -> None:
        """Let no time pass any more: links of minutes stay good, and a page says the same whenever it is asked for."""
        moment, private = now(), self.portal.service.private
        for one in self.services:
            one.clock = lambda: moment
        private.sessions._clock = private.drafts._clock = lambda: moment

    def keep(self, name: str, page: Page) -> Page:
        """Remember where a page is, on whichever site."""
        self.paths[name] = _path(page.url)
        return page


def _path(url: str) -> str:
    return re.sub(r"[?&]lang=en$", "", url.removeprefix(MAIN).replace(SIGNING, "sign:"))
