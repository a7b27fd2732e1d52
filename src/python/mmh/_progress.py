# SPDX-License-Identifier: Apache-2.0
"""How far `verify --frameworks` is, shown as src/cli/progress.c shows it for the other verbs.

A line on standard error where that is a terminal, lines of JSON, or an answer to SIGUSR1.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import unicodedata
from collections.abc import Iterator

from mmh._core import Progress
from mmh.frameworks import CheckProgress, shown

INTERVAL_S = 0.2
FIRST_DRAW_S = 0.3  # short work shows no bar at all
NAME_COLUMNS_MAX, BAR_COLUMNS_MIN, BAR_COLUMNS_MAX, LINE_COLUMNS_MAX = 40, 8, 40, 240


class Bar:
    """Shows what `update` was told last, some times a second.

    Parameters
    ----------
    mode : str
        "auto": a bar if standard error is a terminal that can show one; "bar": whatever it is; "json"; "none".
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._lock = threading.RLock()  # the thread below draws; signals are answered amid anything
        self._columns = 0  # of the line on the screen; 0: there is none
        self._input: str | None = None
        self._item = self._items = 1
        self._now: Progress | None = None
        self._begin = self._begin_stage = self._changed = time.monotonic()
        for name in ("SIGUSR1", "SIGINFO"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda number, frame: self._tell_status())
        if mode != "none":
            threading.Thread(target=self._keep_showing, daemon=True).start()

    @contextlib.contextmanager
    def work_on(self, name: str, item: int, items: int) -> Iterator[None]:
        """A piece of work, for the length of a `with` statement: an input, number `item` (from 1) of `items`."""
        with self._lock:
            self._input, self._item, self._items, self._now = name, item, items, None
            self._begin = self._begin_stage = self._changed = time.monotonic()
        try:
            yield
        finally:
            self._end()

    def update(self, progress: Progress) -> None:
        """Where it stands. A new check is an event of its own, however short it is."""
        with self._lock:
            is_new = self._now is None or _check_of(progress) != _check_of(self._now)
            if self._now is None or progress.stage != self._now.stage:
                self._begin_stage = time.monotonic()
            self._now, self._changed = progress, time.monotonic()
            if self._mode == "json" and is_new:
                self._write_event("progress")

    def _end(self) -> None:
        """It has ended, well or not: nothing is left of the line."""
        with self._lock:
            if self._mode == "json":
                self._write_event("end")
            if self._columns and self._mode == "bar" and not os.isatty(2):
                _write("\n")  # a log keeps the last line
                self._columns = 0
            self._wipe()
            self._input = self._now = None

    def _keep_showing(self) -> None:
        while True:
            time.sleep(INTERVAL_S)
            with self._lock:
                if self._now is None:
                    continue
                if self._mode == "json":
                    self._write_event("progress")
                elif self._mode == "bar" or (time.monotonic() - self._begin >= FIRST_DRAW_S and _is_screen()):
                    self._draw(self._now)

    def _write_event(self, event: str) -> None:
        now = self._now
        line = {
            "event": event,
            "verb": "verify",
            "input": self._input,
            "item": self._item,
            "items": self._items,
            "stage": now.stage if now else None,
            "name": now.name if now else None,
            "done_bytes": now.done_bytes if now else 0,
            "total_bytes": now.total_bytes if now else 0,
            "stored_bytes": now.stored_bytes if now else 0,
            "elapsed_ns": int((time.monotonic() - self._begin) * 1e9),
        }
        if isinstance(now, CheckProgress):
            line |= {"framework": now.framework, "check": now.check, "checks": now.checks}
        _write(json.dumps(line) + "\n")

    def _title(self, now: Progress, columns: int = 1 << 16) -> str:
        """What is worked on. Which check that is stays readable when the model's name is shortened."""
        name = shown(now.name or self._input or now.stage)
        place = f"{self._item}/{self._items} " if self._items > 1 else ""
        if not isinstance(now, CheckProgress):
            return _shortened(place + name, columns)
        place = f"{place.rstrip()}, " if place else ""
        check = f"{place}{now.check}/{now.checks} {now.framework}"
        left = columns - len(f"{check}: ")
        return f"{check}: {_shortened(name, left)}" if left >= min(_width(name), 10) else _shortened(check, columns)

    def _time_left(self, now: Progress) -> str:
        """What the rest takes at the pace so far. Checks come far apart: meanwhile it is counted down."""
        if not now.done_bytes:
            return "-:--"
        if now.done_bytes >= now.total_bytes:
            return "0:00"
        rest = (self._changed - self._begin_stage) * (now.total_bytes - now.done_bytes) / now.done_bytes
        return _clock(max(0.0, rest - (time.monotonic() - self._changed)) + 1)

    def _draw(self, now: Progress) -> None:
        columns = _columns()
        room = min(columns - 1, LINE_COLUMNS_MAX)  # a full last column would wrap
        share = min(1.0, now.done_bytes / now.total_bytes) if now.total_bytes else 0.0
        numbers = f"{int(share * 100):3} %" if now.total_bytes else _clock(time.monotonic() - self._begin)
        if now.total_bytes and room >= 16:
            numbers += f" {self._time_left(now):>7}"
        room -= len(numbers)
        if room < 0:
            return
        bar_room = room - 6 - min(_width(self._title(now)), NAME_COLUMNS_MAX) if now.total_bytes else 0
        bar_room = bar_room if bar_room >= BAR_COLUMNS_MIN else 0  # the name goes before it
        name_room = room - 6 - bar_room if bar_room else max(0, room - 2)
        bar_room = min(bar_room, BAR_COLUMNS_MAX)
        name = f"{self._title(now, name_room)}  " if name_room >= 6 else ""
        track = f"{_track(bar_room, share)}  " if bar_room else ""
        width = _width(name) + len(numbers) + (bar_room and bar_room + (2 if _is_utf8() else 4))
        stale = max(0, min(self._columns, columns - 1) - width)
        _write(f"{self._go_back(columns)}{name}{track}{numbers}{' ' * stale}\r")
        self._columns = width

    def _go_back(self, columns: int) -> str:
        """What the terminal has wrapped, as it became narrower, is below the cursor."""
        return "\r\x1b[J" if self._columns >= columns and _is_screen() else "\r"

    def _wipe(self) -> None:
        """By blanks: they work on everything that knows a carriage return."""
        if self._columns:
            columns = _columns()
            _write(f"{self._go_back(columns)}{' ' * min(self._columns, columns - 1)}\r")
            self._columns = 0

    def _tell_status(self) -> None:
        with self._lock:
            now, passed = self._now, _clock(time.monotonic() - self._begin)
            if self._mode == "json":
                self._write_event("status")
                return
            self._wipe()
            if now is None:
                _write(f"mmh: verify: nothing done yet, {passed}\n")
                return
            share = f"{100 * now.done_bytes / now.total_bytes:.1f} %, " if now.total_bytes else ""
            _write(f"mmh: {now.stage} {self._title(now)}: {share}{self._time_left(now)} left, {passed}\n")


def _check_of(progress: Progress) -> tuple[str, int]:
    return progress.stage, progress.check if isinstance(progress, CheckProgress) else 0


def _write(text: str) -> None:
    """In one write, and by none of Python's buffers: a signal may come amid those."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))


def _clock(seconds: float) -> str:
    """As "0:07" or "2:10:00"."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


# ---- text and the terminal: as src/cli/human.c and src/cli/host.c have it ----


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def _shortened(text: str, columns: int) -> str:
    """The end tells files apart more often than the middle: more of it is kept."""
    if _width(text) <= columns:
        return text
    dots = "..." if columns > 6 else ""
    head = (columns - len(dots)) // 3
    tail = columns - len(dots) - head
    begin, end = text, text
    while _width(begin) > head:
        begin = begin[:-1]
    while _width(end) > tail:
        end = end[1:]
    return begin + dots + end


def _track(columns: int, share: float) -> str:
    """The bar itself, in eighths of a character where there is UTF-8."""
    full, eighths = divmod(int(share * columns * 8), 8)
    if _is_utf8():
        done = "\u2588" * full + ("\u258f\u258e\u258d\u258c\u258b\u258a\u2589"[eighths - 1] if eighths else "")
    else:
        done = "=" * full
    rest = " " * (columns - len(done))
    if _is_colour():
        done = f"\x1b[32m{done}\x1b[0m"
    return f"{done}{rest}" if _is_utf8() else f"[{done}{rest}]"


def _columns() -> int:
    with contextlib.suppress(OSError):
        if columns := os.get_terminal_size(2).columns:
            return columns
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and 0 < int(given) < 10000 else 80


def _can_move_cursor() -> bool:
    return os.isatty(2) and os.environ.get("TERM", "") not in ("", "dumb")


def _is_screen() -> bool:
    """What runs in the background does not write over what is typed in the foreground."""
    try:
        return _can_move_cursor() and os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return False


def _is_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return os.environ.get("CLICOLOR") != "0" and _can_move_cursor()


def _is_utf8() -> bool:
    """By the locale that was asked for: Python itself writes UTF-8 in that of C, too."""
    locale = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    return locale.partition(".")[2].lower().startswith(("utf-8", "utf8"))
