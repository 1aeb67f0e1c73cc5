"""Debian's Chromium without a window, driven by its DevTools protocol."""

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import aiohttp

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


class Page:
    """One tab, and everything that it complained about or asked a network for."""

    def __init__(self, socket, session):
        self._socket, self._session = socket, session
        self._numbers = itertools.count(1)
        self._answers, self._loaded = {}, asyncio.Event()
        self.complaints, self.requests = [], []
        self._reader = asyncio.create_task(self._read())

    async def call(self, method, **parameters):
        number = next(self._numbers)
        arrived = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json({**message, "sessionId": self._session})
        answer = await asyncio.wait_for(arrived, 20)
        assert "error" not in answer, answer
        return answer["result"]

    async def _read(self):
        async for message in self._socket:
            told = message.json()
            if told.get("id") in self._answers:
                self._answers.pop(told["id"]).set_result(told)
            elif told.get("sessionId") == self._session:
                self._happened(told["method"], told["params"])

    def _happened(self, method, told):
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(told["args"])
        elif method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog {told['message']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    async def open(self, url):
        self._loaded.clear()
        self.requests.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 20)

    async def ask(self, expression):
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key):
        code = {"Tab": 9, "ArrowRight": 39, "Enter": 13}[key]
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            named["text"] = "\r"
        await self.call("Input.dispatchKeyEvent", type="keyDown", **named)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    async def size(self, width, height=900):
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def picture(self, place):
        height = await self.ask("document.documentElement.scrollHeight")
        width = await self.ask("innerWidth")
        await self.size(width, min(height, 16000))
        await asyncio.sleep(0.3)
        answer = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(Path(place).write_bytes, base64.b64decode(answer["data"]))
        await self.size(width)


@contextlib.asynccontextmanager
async def browser(program=PROGRAM):
    """Start the browser with a profile of its own, and end all its processes afterwards."""
    folder = tempfile.mkdtemp(prefix="browser-")
    process = subprocess.Popen(  # noqa: ASYNC220 - it only starts it
        [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        address = await asyncio.to_thread(_address, process)
        # Its later words are nobody's concern, and a full pipe would stop it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            await socket.send_json({"id": 0, "method": "Target.getTargets"})
            targets = (await _answer(socket, 0))["targetInfos"]
            first = next(one["targetId"] for one in targets if one["type"] == "page")
            await socket.send_json(
                {
                    "id": -1,
                    "method": "Target.attachToTarget",
                    "params": {"targetId": first, "flatten": True},
                }
            )
            page = Page(socket, (await _answer(socket, -1))["sessionId"])
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            yield page
            page._reader.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _address(process):
    for line in process.stderr:
        if "DevTools listening on " in line:
            return line.split()[-1]
    raise RuntimeError("the browser did not start")


async def _answer(socket, number):
    async for message in socket:
        if message.json().get("id") == number:
            return message.json()["result"]
    raise RuntimeError("the browser closed the connection")
