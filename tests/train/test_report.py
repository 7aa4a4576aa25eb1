from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import BadInput
from tests.passing import Passing
from train.report import run_folder
from train.report.line_chart import MAX_POINTS, Line, line_chart, smoothed
from train.report.page import write_report
from train.run import train

HOSTILE = '</td><script>alert(1)</script><img src="https://example.org/x" onerror=alert(1)>"\'>\u202eevil\u200b'


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def run(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, plan_of: Callable[..., bytes], base: Path, build: Path) -> Path:
    """A copy of a finished run with an evaluation whose texts are hostile."""
    if "run" not in trained:
        folder, plan = tmp_path_factory.mktemp("runs") / "first", plan_of()
        coop = loads(plan, floats=True)["coop"]
        train(folder, plan, base=base, build=build, guard=Passing(), run_id="first", coop=coop, proposal=None, threads=1)
        trained["run"] = folder
    copy = Path(shutil.copytree(trained["run"], tmp_path / "first"))
    row = {"items": 3, "base": 2.5, "tuned": 2.0, "difference": -0.5, "verdict": HOSTILE}
    sample = {"language": HOSTILE, "prompt": HOSTILE, "base": HOSTILE, "tuned": "ا" + HOSTILE}
    (copy / "eval").mkdir()
    (copy / "eval/report.json").write_bytes(dumps({"passed": True, "languages": {"spa": row, HOSTILE: row | {"base": None}}, "generations": [sample]}))
    return copy


def text_of(folder: Path) -> str:
    return write_report(folder).read_text()


def test_the_page_runs_nothing_and_fetches_nothing_whatever_texts_it_shows(run: Path) -> None:
    record = loads((run / "run.json").read_bytes(), floats=True)
    for segment in record["segments"]:
        segment["cause"] = HOSTILE
    (run / "run.json").write_bytes(dumps(record | {"reason": HOSTILE, "device": HOSTILE}))
    page = text_of(run)
    elements = Elements(page).found
    assert not {tag for tag, _ in elements} & {"script", "img", "link", "iframe", "object", "embed", "form", "a", "base", "image", "use"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on") or name in ("src", "href", "xlink:href", "action")]
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page
    assert "\u202e" not in page
    assert "U+202E" in page
    assert "&lt;script&gt;" in page
    assert sum(attributes.get("dir") == "auto" for _, attributes in elements) == 3
    assert len(page) < 200_000


def test_the_page_shows_every_language_start_and_the_estimate(run: Path) -> None:
    page = text_of(run)
    for told in ("Spanish", "Basque", "completed", "kWh", "estimated", "Learning rate", "Peak memory", "waiting for data", "load x rated power"):
        assert told in page
    assert "Model FLOPs" not in page
    assert not re.search(r"\de-\d", page)  # no number of people's energy is written as 9e-06
    assert page.count('role="img"') == 2 + 2 + 2 + 5  # loss in two shapes, two languages in training and in validation, five curves
    assert page.count("Training loss in ") == 2
    validated = [line["validation"]["eus"] for line in map(loads_line, (run / "metrics.jsonl").read_bytes().splitlines()) if "validation" in line]
    assert f"{validated[0]:.3f} → {validated[-1]:.3f}" in page


def loads_line(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = loads(line, floats=True)
    return found


def test_an_answer_that_ended_at_once_is_told_and_not_left_blank(run: Path) -> None:
    sample = {"language": "spa", "prompt": "¿Qué es el sol?", "base": "", "tuned": "Una estrella."}
    (run / "eval/report.json").write_bytes(dumps({"passed": True, "languages": {}, "generations": [sample]}))
    page = text_of(run)
    assert page.count("(no words)") == 1
    assert "Una estrella." in page


def test_one_is_one_and_a_table_is_named_and_reached_by_keyboard(run: Path) -> None:
    record = loads((run / "run.json").read_bytes(), floats=True)
    for cpus, said in ((1, "1 core, "), (64, "64 cores, ")):
        (run / "run.json").write_bytes(dumps(record | {"hardware": record["hardware"] | {"cpus": cpus}}))
        assert said in text_of(run)
    (run / "metrics.jsonl").write_bytes(next(one for one in (run / "metrics.jsonl").read_bytes().splitlines(keepends=True) if b'"languages"' in one))
    page = text_of(run)
    assert "in 1 step<" in page
    assert not re.search(r"\b1 (cores|steps|starts|segments)\b", page)
    tables = [attributes for tag, attributes in Elements(page).found if attributes.get("class") == "wide"]
    assert len(tables) == page.count("<table>") == 6
    assert all((one["role"], one["tabindex"]) == ("region", "0") and one["aria-label"] for one in tables)
    assert len({one["aria-label"] for one in tables}) == 6


@pytest.mark.browser
def test_axes_can_be_read_and_no_table_is_cut_without_a_hint_on_any_screen(run: Path, tmp_path: Path) -> None:
    from tests.portal.chromium import browser

    record = loads((run / "run.json").read_bytes(), floats=True)
    (run / "run.json").write_bytes(dumps(record | {"tokens": {"spa": {"input": 5_412_032, "supervised": 2_213_440}}}))
    path, cut = write_report(run), {}
    with browser(tmp_path / "profile") as opened:
        page = opened.new_page()
        page.goto(path.as_uri())
        for width in (320, 480, 700, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            sizes = page.evaluate(SIZES)
            assert len(sizes) == 1 + 2 + 2 + 5  # one of the two shapes of the loss
            assert all(11 <= size <= 18 for size in sizes), (width, sizes)
            cut[width] = {name: (told, focused, moved) for name, told, focused, moved in page.evaluate(CUT)}
            assert all(one == (True, True, True) for one in cut[width].values()), cut
    assert "Starts" in cut[320]
    assert "Tokens by language" not in cut[320]


SIZES = """[...document.querySelectorAll('svg')].map(one => [one, one.getBoundingClientRect().width]).filter(([, width]) => width)
  .map(([one, width]) => parseFloat(getComputedStyle(one.querySelector('text')).fontSize) * width / one.viewBox.baseVal.width)"""
CUT = """[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth + 1).map(one => {
  const hint = one.previousElementSibling; one.focus(); one.scrollLeft = 40
  const told = getComputedStyle(one).backgroundImage.includes('gradient') && (innerWidth > 500 || hint.matches('.sideways') && hint.offsetHeight > 0)
  return [one.getAttribute('aria-label'), told, document.activeElement === one, one.scrollLeft > 0] })"""


def test_a_language_that_got_worse_is_named(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(dumps({"step": 9, "validation": {"eus": 99.0, "spa": 0.5}}) + b"\n")
    assert "Risen in Basque." in text_of(run)


def test_a_run_that_goes_on_or_failed_before_its_first_step_has_a_page(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step":9,"lo')  # being written
    (run / "run.json").rename(run / "kept.json")
    going = text_of(run)
    assert "not ended" in going
    assert "running, or killed" in going
    record = loads((run / "kept.json").read_bytes(), floats=True)
    never = {"status": "failed", "reason": "BadInput: no base", "tokens": {}, "energy": None, "total_steps": 0}
    (run / "run.json").write_bytes(dumps(record | never))
    (run / "metrics.jsonl").unlink()
    shutil.rmtree(run / "eval")
    failed = text_of(run)
    assert "BadInput: no base" in failed
    assert "nothing measured yet" in failed


def test_no_run_and_files_beyond_reason_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no run has started"):
        write_report(tmp_path / "empty")
    monkeypatch.setattr(run_folder, "MAX_BYTES", 100)
    with pytest.raises(BadInput, match="too large"):
        write_report(run)


def test_a_chart_of_very_many_steps_stays_small_and_numbers_that_are_not_finite_are_left_out() -> None:
    points = [(float(step), float("nan") if step == 5 else 1000.0 / (step + 1)) for step in range(200_000)]
    chart = line_chart("Loss", [Line(points)])
    assert chart.count(",") < MAX_POINTS + 40
    assert "nan" not in chart
    assert "inf" not in chart
    assert "nothing measured" in line_chart("Loss", [Line([(1.0, float("inf"))])])
    assert "<polyline" in line_chart("Flat", [Line([(1.0, 2.0), (2.0, 2.0)])])
    assert "<polyline" in line_chart("Zero", [Line([(1.0, 0.0), (2.0, 0.0)])], from_zero=True)


def test_a_running_mean_takes_the_last_values_only() -> None:
    assert smoothed([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0)], 2) == [(1, 2.0), (2, 3.0), (3, 5.0), (4, 7.0)]
