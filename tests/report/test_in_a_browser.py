import asyncio
import base64
import json
import threading
from pathlib import Path

import pytest

from desvelo.measure.history import open_history
from desvelo.measure.result import Run
from desvelo.report.dashboard import Dashboard
from desvelo.report.html import page as page_of
from tests.report.browser import PROGRAM, browser
from tests.report.runs import full_run, hostile_run

ACCESSIBILITY = Path(__file__).with_name("accessibility.js").read_text(encoding="utf-8")
FOCUSED = "document.activeElement.tagName + ' ' + document.activeElement.className"
NEXT_FRAME = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
INK = """
[...document.querySelectorAll('canvas')].map((canvas) => {
  const shown = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return shown.reduce((sum, value, index) => sum + (index % 4 === 3 && value > 0), 0);
})
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium on this machine")


def test_reports_and_the_dashboard_in_a_browser(tmp_path):
    """One browser for all: its start takes longest."""
    for name, made in {"full": full_run(), "hostile": hostile_run()}.items():
        (tmp_path / f"{name}.html").write_text(page_of(made, full_run(0)), encoding="utf-8")
    history = tmp_path / "history.sqlite"
    with open_history(str(history)) as kept:
        kept.add(full_run(1))
        said = json.dumps(hostile_run().as_json()).replace("\\ud800", "")
        kept.add(Run.from_json({**json.loads(said), "id": "hostile"}))
    with Dashboard(str(history), 0) as dashboard:
        thread = threading.Thread(target=dashboard.serve_forever, args=(0.01,))
        thread.start()
        try:
            asyncio.run(_look(tmp_path.as_uri(), dashboard.url))
        finally:
            dashboard.shutdown()
            thread.join()


async def _look(files, dashboard):
    async with browser() as page:
        await _a_report_can_be_used_without_a_mouse(page, f"{files}/full.html")
        for address in (
            f"{files}/full.html",
            f"{files}/hostile.html",
            dashboard,
            f"{dashboard}trends",
            f"{dashboard}runs/hostile",
        ):
            await page.size(1280)
            await page.open(address)
            assert page.requests == [address]
            assert await page.ask("typeof window.harmed") == "undefined", address
            for theme in ("dark", "light"):
                await page.call(
                    "Emulation.setEmulatedMedia",
                    features=[{"name": "prefers-color-scheme", "value": theme}],
                )
                await page.ask(NEXT_FRAME)
                assert await page.ask("document.documentElement.dataset.theme") == theme
                assert await page.ask(ACCESSIBILITY) == [], (address, theme)
            await page.size(360)
            await page.ask(NEXT_FRAME)
            assert await page.ask(ACCESSIBILITY) == [], address
        assert page.complaints == []
        await _the_policy_holds_when_markup_gets_through(page, f"{files}/full.html")


async def _a_report_can_be_used_without_a_mouse(page, address):
    await page.size(1280)
    await page.open(address)
    ink = await page.ask(INK)
    assert len(ink) == 10
    assert min(ink) > 2000  # pixels that are drawn
    reached = []
    for _ in range(60):
        await page.press("Tab")
        reached.append((await page.ask(FOCUSED)).strip())
        if reached[-1] == "BUTTON":
            before = await page.ask("document.documentElement.dataset.theme")
            await page.press("Enter")
            assert await page.ask("document.documentElement.dataset.theme") != before
            await page.ask("localStorage.clear()")
        if reached[-1] == "DIV plot":
            await page.press("ArrowRight")
            read = await page.ask("document.querySelector('.readout').textContent")
            assert read.startswith("fastest: this run 2.0 ms")
            await page.press("Tab")
            await page.press("Enter")
            assert await page.ask("document.activeElement.parentElement.open")
            break
    assert reached[0] == "A skip"
    assert reached.index("BUTTON") < reached.index("DIV scroll") < reached.index("DIV plot")


async def _the_policy_holds_when_markup_gets_through(page, address):
    """Plant what escaping keeps out: the policy is the second wall."""
    harm = base64.b64encode(b"<script>window.harmed=1</script>").decode()
    await page.ask(
        f"""
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.harmed=1">');
        const planted = document.createElement('script');
        planted.textContent = 'window.harmed=1';
        document.body.append(planted);
        const frame = document.createElement('iframe');
        frame.src = 'data:text/html;base64,{harm}';
        document.body.append(frame);
        fetch('http://127.0.0.1:9/').catch(() => 0)
        """
    )
    assert await page.ask("typeof window.harmed") == "undefined"
    assert sum("Content Security Policy" in str(one) for one in page.complaints) >= 3
