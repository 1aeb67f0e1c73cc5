"""The plain sentence at the end of a story: what interleaved with what, and why that breaks it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from desvelo.failure import Failure
from desvelo.schedule.decisions import ORDERS, SPLITS, THREAD_KINDS, Deviation
from desvelo.story.cells import cancellation_text, read_before_pause
from desvelo.story.scene import BACKGROUND, SERVER, actor_of, and_list, later, place
from desvelo.story.select import released
from desvelo.story.shared import Clash, Use
from desvelo.story.waits import Blocked, Gift, Wait
from desvelo.world.trace import LINE_KINDS, Row
from desvelo.world.values import shorten

_MOST_DEVIATIONS = 3
_MOST_WAITS = 6
_AT_A_SERVER = re.compile(r"(?P<doing>.+) in (?P<session>.+ session \d+.*?) waits for (?P<whom>.+)")
_TAKEN = re.compile(r", taken by (?P<who>[^,]+?) at (?P<line>\S+:\d+)")
_MADE = re.compile(r", made by (?P<who>[^,]+?) at (?P<line>\S+:\d+)")
_MADE_AT = re.compile(r"(?P<who>) made at (?P<line>\S+:\d+)")
_OMITTED = {
    "task": ("started", "brought to its end"),
    "thread": ("started", "brought to its end"),
    "coroutine": ("made", "awaited"),
    "asyncgen": ("began", "closed"),
    "lock": ("made", "released"),
    "tempfile": ("made", "deleted"),
    "executor": ("made", "shut down"),
}
"""How a leak of some kind began, and what nobody did."""
_SUBJECTS = {
    "arrive": "the start of {}",
    "deliver": "a message of {}",
    "connect": "the connection of {}",
    "accept": "the acceptance of the connection of {}",
    "writable": "the room to write of {}",
    "job": "the job of {} in the executor",
    "answer": "the result of the job of {}",
    "ready": "a step of {}",
    "wake": "the end of a wait of {}",
    "spawn": "the start of thread {}",
    "call": "a call of {} into the event loop",
    "strike": "the fault of {}",
}


# the cause: what was out of the ordinary


def how_it_came(
    deviations: Sequence[Deviation],
    rows: Sequence[Row],
    operations: Sequence[str],
    names: dict[str, str],
) -> str:
    """Say what the deviations did, or that none is needed."""
    if not deviations:
        if len(operations) > 1:
            who = _who(operations)
            return f"No rare timing is needed: it is enough that {who} run at the same time."
        return f"{_quoted(operations[0])} alone is enough, in plain order." if operations else ""
    timers = [
        f"{_quoted(d.key.actor)}{f' ({where})' if (where := timer_place(d, rows, names)) else ''}"
        for d in deviations
        if d.key.kind == "timer"
    ]
    cancels = [d for d in deviations if d.key.kind == "cancel"]
    others = [d for d in deviations if d.key.kind not in ("timer", "cancel")][:_MOST_DEVIATIONS]
    parts = [_cause(deviation, rows, names) for deviation in others]
    parts += [_cancellation(deviation, rows, names) for deviation in cancels]
    if timers:
        one = len(timers) == 1
        which = f"The timer{'' if one else 's'} of {and_list(list(dict.fromkeys(timers)))}"
        parts.append(f"{which} fired while other work was still to be done.")
    more = len(deviations) - len(timers) - len(others) - len(cancels)
    if more > 0:
        parts.append(
            f"{more} more deviations are marked." if more > 1 else "One more deviation is marked."
        )
    return " ".join(parts)


def _cancellation(deviation: Deviation, rows: Sequence[Row], names: dict[str, str]) -> str:
    who, key = _quoted(deviation.key.actor), str(deviation.key)
    row = next((row for row in rows if row.kind == "cancel" and row.deviation == key), None)
    if row is None:
        return f"{_capital(who)} was to be cancelled, but had ended."
    again = "again " if deviation.key.ordinal else ""
    said = cancellation_text(row, names).removeprefix("is cancelled from outside").strip()
    return f"{_capital(who)} was cancelled {again}{said}.".replace(" .", ".")


def timer_place(deviation: Deviation, rows: Sequence[Row], names: dict[str, str]) -> str:
    """Return the line that set the timer of a deviation, as far as it is known."""
    key = str(deviation.key)
    index = next((i for i, r in enumerate(rows) if r.kind == "deviation" and r.deviation == key), 0)
    for row in reversed(rows[:index]):
        if row.where and actor_of(row.lane) == deviation.key.actor:
            return place(row, names)
    return ""


def _cause(deviation: Deviation, rows: Sequence[Row], names: dict[str, str]) -> str:
    actor, kind, value = deviation.key.actor, deviation.key.kind, deviation.value
    who = _quoted(actor)
    if kind == "split":
        how = SPLITS[min(value, len(SPLITS) - 1)]
        if value == len(SPLITS) - 1:
            return f"Only half of a message of {who} was accepted at first."
        return f"A message of {who} arrived in two pieces, cut {how}."
    key = str(deviation.key)
    if kind == "fault":
        return _fault(actor, rows, key)
    start = next(
        (i for i, r in enumerate(rows) if r.kind == "deviation" and r.deviation == key), None
    )
    end = next((i for i, r in enumerate(rows) if r.kind == "release" and r.deviation == key), None)
    if kind in ("pause", "preempt"):
        return _pause(who, rows, start, end, actor, names)
    subject = _subject(deviation, rows, end)
    if value < ORDERS and kind not in THREAD_KINDS:
        return f"{_capital(subject)} came last of several things that happened at once."
    if start is None or end is None:
        return f"{_capital(subject)} was held back."
    meanwhile = _meanwhile(rows[start : end + 1], actor, names)
    if meanwhile:
        return f"While {subject} was held back, {meanwhile}."
    return f"{_capital(subject)} was held back a little."


def _fault(actor: str, rows: Sequence[Row], key: str) -> str:
    """Say which fault struck, as its own row does."""
    index = next((i for i, r in enumerate(rows) if r.deviation == key), 0)
    said = next(
        (row.text for row in rows[index:] if row.kind == "fault" and row.lane == actor), None
    )
    if said is None:
        return f"A fault was to strike {_quoted(actor)}, but it had ended."
    return f"{_capital(said.removeprefix('fault: '))}."


def _pause(
    who: str,
    rows: Sequence[Row],
    start: int | None,
    end: int | None,
    actor: str,
    names: dict[str, str],
) -> str:
    """Say where a thread was paused, and who ran meanwhile."""
    where = ""
    if start is not None and rows[start].where:
        inside = read_before_pause(rows, rows[start])
        where = f" {'inside' if inside else 'before'} {place(rows[start], names)}"
    last = len(rows) - 1 if end is None else end
    meanwhile = _meanwhile(rows[start : last + 1], actor, names) if start is not None else ""
    if meanwhile:
        return f"While {who} was paused{where}, {meanwhile}."
    return f"{_capital(who)} was paused{where}."


def _subject(deviation: Deviation, rows: Sequence[Row], release: int | None) -> str:
    """Name what was held back; of a message, which side it was for."""
    who = _quoted(deviation.key.actor)
    if deviation.key.kind == "deliver" and release is not None:
        effect = next((i for i, origin in released(rows).items() if origin == release), None)
        if effect is not None and rows[effect].kind == "deliver":
            return (
                f"the request of {who}"
                if rows[effect].lane.startswith(SERVER)
                else f"the answer to {who}"
            )
        if effect is not None and rows[effect].kind == "end":
            return f"the end of a connection of {who}"
    return _SUBJECTS.get(deviation.key.kind, f"{deviation.key.kind} of {{}}").format(who)


def _meanwhile(rows: Sequence[Row], actor: str, names: dict[str, str]) -> str:
    passed = later(rows[-1].time_ns - rows[0].time_ns)
    parts = [f"{passed} passed"] if passed else []
    ran: dict[str, list[Row]] = {}
    for row in rows:
        lane = actor_of(row.lane)
        if lane not in (actor, BACKGROUND) and row.kind in (
            *LINE_KINDS,
            "begin",
            "end-of-operation",
        ):
            ran.setdefault(lane, []).append(row)
    for lane, steps in list(ran.items())[:2]:
        parts.append(f"{_quoted(lane)} {_span(steps, names)}")
    return and_list(parts) if parts else ""


def _span(steps: Sequence[Row], names: dict[str, str]) -> str:
    lines = [row for row in steps if row.where]
    if steps[-1].kind == "end-of-operation":
        return "ran to its end"
    if not lines:
        return "started"
    first, last = place(lines[0], names), place(lines[-1], names)
    return f"ran {first}" if first == last else f"ran {first} to {last}"


# the effect: what the order of things broke


def clash_sentence(clash: Clash, names: dict[str, str]) -> str:
    """Say who read what before whom wrote it, and what that spoils."""
    read, write, again = clash.second_read, clash.first_write, clash.second_write
    first, second = _quoted(write.actor), _quoted(read.actor)
    wrote = _wrote(write, names)
    if again is None:
        assert clash.goes_on is not None
        going = place(clash.goes_on, names)
        return f"{second} {_saw(read, names)}; before it went on at {going}, {first} {wrote}."
    other = clash.first_read
    both = _who([write.actor, read.actor])
    same_line = write.row.where == again.row.where
    code = shorten(write.row.text, 50)
    if other is not None and _same_test(other, read):
        found = f"{both} both found {_tested(read)} ({_both_places(other, read, names)})"
        if same_line:
            here = place(write.row, names)
            return f"{found} before either got to `{code}` ({here}), so both did it."
        on = f"`{shorten(again.row.text, 50)}` ({place(again.row, names)})"
        return f"{found} before {first} {wrote}; {second} still went on to {on}."
    if other is not None and other.access.value == read.access.value:
        where = _both_places(other, read, names)
        had = f"{both} both read `{read.access.path}`{_as_value(read)} ({where})"
        if _assigns(write) and _assigns(again):
            then = f"then {first} {wrote} and {second} {_wrote(again, names)}"
            return f"{had} before either wrote it; {then}, so one of the two updates is lost."
        if same_line:
            return f"{had} before either ran `{code}` ({place(write.row, names)}), so both did it."
    still = f"{second} still went by what it had read and {_wrote(again, names)}"
    lost = ", so the other's update is lost" if _assigns(write) and _assigns(again) else ""
    return f"{second} {_saw(read, names)}, then {first} {wrote}; {still}{lost}."


def wait_sentence(
    waits: Sequence[Wait], blocked: Sequence[Blocked], details: Sequence[str], names: dict[str, str]
) -> str:
    """Say who holds what and waits for what, so that nobody can go on.

    ``waits`` are those of tasks, ``blocked`` those of threads; of the rest, statements at a
    server, the ``details`` tell.
    """
    alone = len(waits) + len(blocked) == 1
    parts = [_blocked(thread, names, alone=alone) for thread in blocked]
    for wait in waits:
        where = place(wait.row, names)
        if wait.access is not None and wait.holder is not None:
            holder = wait.holder
            whose = "itself" if holder.actor == wait.actor else _quoted(holder.actor)
            held = f"which {whose} has held since {place(holder.row, names)}"
            parts.append(f"{_quoted(wait.actor)} waits at {where} for `{wait.access.path}`, {held}")
        else:
            parts.append(f"{_quoted(wait.actor)} waits at {where} for what nobody will ever do")
    if not parts:
        return ""
    statements = (_AT_A_SERVER.fullmatch(line) for line in details)
    parts += [f"`{s['doing']}` ({s['session']}) waits for {s['whom']}" for s in statements if s]
    more = len(parts) - _MOST_WAITS
    if more > 0:
        parts[_MOST_WAITS:] = [f"{more} more wait"]
    if len(parts) == 1:
        return f"{parts[0]}."
    return f"{'; '.join(parts)}. None of them can go on."


def _blocked(thread: Blocked, names: dict[str, str], *, alone: bool) -> str:
    who = f"{_quoted(thread.actor)} waits"
    at = f" at {_short_place(thread.where, names)}" if thread.where else ""
    what = re.sub(
        r" made at (.+:\d+)", lambda m: f" made at {_short_place(m[1], names)}", thread.what
    )
    said = f"{who}{at} for {what}"
    if not thread.holder:
        return f"{said}, which will never come" if alone else said
    since = f" since {_short_place(thread.since, names)}" if thread.since else ""
    if thread.holder == thread.actor:
        return f"{said}, which it has held itself{since}"
    return f"{said}, which {_quoted(thread.holder)} has held{since}"


def _short_place(where: str, names: dict[str, str]) -> str:
    file, _, line = where.rpartition(":")
    return f"{names.get(file, file)}:{line}"


def hang_sentence(rows: Sequence[Row], operations: Sequence[str], names: dict[str, str]) -> str:
    """Say which lines go round and round."""
    ended = {row.lane for row in rows if row.kind == "end-of-operation"}
    parts = []
    for name in operations:
        steps = [row for row in rows[-400:] if actor_of(row.lane) == name and row.where]
        if name in ended or not steps:
            continue
        lines = sorted({row.where for row in steps}, key=_line_number)
        first = place(next(row for row in steps if row.where == lines[0]), names)
        last = place(next(row for row in steps if row.where == lines[-1]), names)
        span = first if first == last else f"{first} to {last}"
        tests = {
            f"`{row.facts.condition}` {'true' if row.facts.test == 'yes' else 'false'}"
            for row in steps
            if row.facts is not None and row.facts.test
        }
        finding = f", each time finding {and_list(sorted(tests))}" if tests else ""
        parts.append(f"{_quoted(name)} goes round {span} without end{finding}")
    return f"{'; '.join(parts)}." if parts else ""


def leak_sentence(failure: Failure, rows: Sequence[Row], names: dict[str, str]) -> str:
    """Say who made, or took, what was never given back, as far as the trace shows it."""
    index = maker(failure, rows)
    if index is None:
        return ""
    row = rows[index]
    actor = actor_of(row.lane)
    who = _quoted(actor) if row.lane != BACKGROUND else "the set-up"
    began, omitted = _OMITTED.get(failure.site.partition(" ")[0], ("opened", "closed"))
    if _TAKEN.search(failure.summary()):
        began = "took"
    said = (
        f"What {who} {began} at {place(row, names)} (`{shorten(row.text, 60)}`) was never {omitted}"
    )
    left = [
        r
        for r in rows[index:]
        if r.facts is not None and r.facts.raised and actor_of(r.lane) == actor
    ]
    if not left:
        return f"{said}."
    assert left[0].facts is not None
    kind = left[0].facts.raised.partition(":")[0]
    return f"{said}: after {kind} at {place(left[0], names)} nothing on the way out does that."


def maker(failure: Failure, rows: Sequence[Row]) -> int | None:
    """Return the index of the row that made what leaked, by its line and whoever made it.

    What is taken and given back, as a lock is, leaks where it was taken last.
    """
    text = failure.summary()
    taken = _TAKEN.search(text)
    said = taken or _MADE.search(text) or _MADE_AT.search(failure.site)
    if said is None:
        return None
    there = [
        index
        for index, row in enumerate(rows)
        if row.where == said["line"]
        and row.facts is not None
        and row.facts.kind != "exit"
        and not row.facts.resumed
    ]
    own = [index for index in there if rows[index].lane == said["who"]] or there
    return own[-1 if taken else 0] if own else None


def gift_sentence(gift: Gift, names: dict[str, str]) -> str:
    """Say who was cancelled although it had just been served."""
    who = _quoted(gift.actor)
    served = f"(`{shorten(gift.given.text, 50)}`, {place(gift.given, names)})"
    waited = f"{place(gift.cancelled, names)} (`{shorten(gift.cancelled.text, 50)}`)"
    return (
        f"{_quoted(gift.giver)} had already served {who} {served} when {who} was cancelled at "
        f"{waited}: what it had been given is lost."
    )


def raise_sentence(failure: Failure, rows: Sequence[Row], names: dict[str, str]) -> str:
    """Say which operation an error came out of, and where it began."""
    if failure.where in ("check", "teardown", "loop", ""):
        return ""
    steps: list[tuple[str, str]] = []
    for row in rows:
        if row.facts is None or not row.facts.raised or actor_of(row.lane) != failure.where:
            continue
        kind = row.facts.raised.partition(":")[0]
        if steps and steps[-1][0] == "CancelledError" and kind == "TimeoutError":
            steps.pop()  # a time-out cancels first, and says so afterwards
        steps.append((kind, place(row, names)))
    if not steps:
        return ""
    who = _quoted(failure.where)
    *before, (kind, where) = steps
    if not before:
        return f"Then {who} failed with {kind} at {where}."
    met = and_list([f"{earlier} at {there}" for earlier, there in before[-2:]])
    return f"{who} met {met} and went on; then it failed with {kind} at {where}."


# words


def _saw(use: Use, names: dict[str, str]) -> str:
    where = place(use.row, names)
    if _test(use):
        return f"found {_tested(use)} ({where})"
    return f"read `{use.access.path}`{_as_value(use)} ({where})"


def _tested(use: Use) -> str:
    condition = shorten(use.row.facts.condition, 50) if use.row.facts is not None else ""
    return f"`{condition}` to be {'true' if _test(use) == 'yes' else 'false'}"


def _wrote(use: Use, names: dict[str, str]) -> str:
    where = place(use.row, names)
    text = use.row.text
    if _short(use) and _assigns(use):
        return f"wrote {use.access.value} ({where})"
    return f"ran `{shorten(text, 50)}` ({where})"


def _assigns(use: Use) -> bool:
    return bool(re.match(rf"{re.escape(use.access.path)}\s*[-+*/|&]?=[^=]", use.row.text))


def _as_value(use: Use) -> str:
    return f" as {use.access.value}" if _short(use) else ""


def _same_test(one: Use, two: Use) -> bool:
    return bool(_test(one)) and _tested(one) == _tested(two)


def _both_places(one: Use, two: Use, names: dict[str, str]) -> str:
    here, there = place(one.row, names), place(two.row, names)
    return here if here == there else f"{here} and {there}"


def _test(use: Use) -> str:
    return use.row.facts.test if use.row.facts is not None else ""


def _short(use: Use) -> bool:
    return 0 < len(use.access.value) <= 30


def _line_number(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line)


def _quoted(actor: str) -> str:
    return "a task in the background" if actor == BACKGROUND else f"`{actor}`"


def _who(actors: Sequence[str]) -> str:
    return and_list([_quoted(actor) for actor in dict.fromkeys(actors)])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
