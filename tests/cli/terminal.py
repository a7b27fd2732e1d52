# SPDX-License-Identifier: Apache-2.0
"""A terminal to run mmh in: a pseudo-terminal of any width, and what would be seen on it."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from harness import SANITIZERS, binary


class Screen:
    """What is shown: rows of text. Knows what mmh writes and no more; anything else is an error."""

    def __init__(self, columns):
        self.columns, self.row, self.column = columns, 0, 0
        self.rows = [""]
        self.seen = []  # the line that the cursor was in, whenever it went back to its beginning
        self.wrapped = 0  # characters that did not fit into their line
        self.pending = ""
        self.raw = ""

    def put(self, text):
        self.raw += text
        text = self.pending + text
        self.pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                match = re.match(r"\x1b\[([0-9;]*)([JKm])", text[at:])
                if not match:
                    assert len(text) - at < 8, f"an escape sequence that is none of ours: {text[at : at + 20]!r}"
                    self.pending = text[at:]
                    return
                if match[2] in "JK":
                    self.rows[self.row] = self.rows[self.row][: self.column]
                    if match[2] == "J":
                        del self.rows[self.row + 1 :]
                at += match.end()
                continue
            self.one(text[at])
            at += 1

    def one(self, character):
        if character == "\r":
            self.seen.append(self.rows[self.row].rstrip())
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        elif character == "\b":
            self.column -= 1
        else:
            assert character >= " ", f"a control character: {character!r}"
            if self.column == self.columns:
                self.wrapped += 1
                self.one("\n")
                self.column = 0
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def text(self):
        return "\n".join(row.rstrip() for row in self.rows).strip("\n")


class Session:
    """mmh in a terminal of its own. stdin, stdout: descriptors to use instead of the terminal."""

    def __init__(self, *arguments, columns=80, cwd=None, environment=None, stdin=None, stdout=None):
        self.screen = Screen(columns)
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS")
        }
        variables.update({**SANITIZERS, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})})
        path = binary()
        self.pid, self.terminal = pty.fork()  # a session of its own, with this as its terminal
        if not self.pid:
            try:
                fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                if cwd:
                    os.chdir(cwd)
                if stdin is not None:
                    os.dup2(stdin, 0)
                if stdout is not None:
                    os.dup2(stdout, 1)
                os.execve(path, [path, *map(str, arguments)], variables)
            finally:
                os._exit(127)

    def resize(self, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.screen.columns = columns

    def type(self, text):
        os.write(self.terminal, text.encode())

    def signal(self, number):
        os.kill(self.pid, number)

    def _read(self, seconds):
        """Show what comes within the time. False once there is nothing to come."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # the other side is closed
            return False
        self.screen.put(self.decoder.decode(data))
        return bool(data)

    def until(self, condition, seconds=60):
        """Wait until condition(screen) holds. False if the command ends before it does."""
        end = time.monotonic() + seconds
        while not condition(self.screen):
            assert time.monotonic() < end, f"nothing came: {self.screen.raw!r}"
            if not self._read(0.05):
                return condition(self.screen)
        return True

    def wait(self, seconds=120):
        """Wait for the end. Returns the exit code, negative after a signal."""
        end = time.monotonic() + seconds
        while self._read(0.05):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"no end after {seconds} s: {self.screen.raw!r}")
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
