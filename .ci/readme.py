#!/usr/bin/env python3
"""Does what README.md tells a newcomer to type: the ```sh blocks, the talk between two terminals, the table of daily commands.

    python3 .ci/readme.py README.md docs/BOTS.md

Each command runs in a fresh KLATCH_HOME, without a terminal, and must end well. Two `chat '#lobby'` commands, one with and one
without `--profile`, are two people: they run side by side and each must read what the other writes.
Lines with a <placeholder> or an ellipsis are for people only. Tests have a stage of their own. The daily commands run in the order
that makes sense, beside a second member; those with a placeholder (F, NAME) or without an end (--follow) are left out.

Further pages are run from top to bottom in one fresh home: each ```sh block is a script. One that begins with `# in a ... terminal`
goes on beside the others until Ctrl+C at the end of the page. A ```text block is what the block before it prints, sooner or later;
digits stand for any digits and an ellipsis for any text.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

LIMIT_S = 300  # one command; the first one may have to compile
TALK_S = 60  # from the last build to reading each other


def commands(readme):
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", readme, re.M | re.S)
    lines = [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return [line for line in lines if not re.search(r"<\w|…|\.\.\.|cargo test|\.ci/run|just |git clone|^cd ", line)]


class Terminal:
    """A command, and everything it said so far."""

    def __init__(self, command, env, cwd=None):
        self.command = command
        self.process = subprocess.Popen(
            ["bash", "-ec", command], env=env, cwd=cwd, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines, self.said = queue.Queue(), ""
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def type(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def sees(self, text, seconds):
        until = time.monotonic() + seconds
        while text not in self.said:
            try:
                self.said += self.lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return False
        return True

    def prints(self, expected, seconds):
        """Whether each of these lines is printed in time."""
        until = time.monotonic() + seconds
        while True:
            while not self.lines.empty():
                self.said += self.lines.get()
            if all(any(re.fullmatch(fitting(e), line) for line in self.said.splitlines()) for e in expected):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.05)

    def interrupt(self):
        """Ctrl+C; whether it ended by that."""
        if self.process.poll() is not None:
            return False
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(TALK_S) in (0, 130, -signal.SIGINT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return False

    def ends_well(self):
        self.process.stdin.close()
        try:
            return self.process.wait(LIMIT_S) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.process.kill()


def fitting(line):
    """A line of a page as a pattern for what is really printed."""
    return re.sub(r"(?:\\?\d)+", r"\\d+", re.escape(line)).replace("…", ".*")


def page(path, env):
    """Runs a page from top to bottom; how many of its blocks, and how many failed."""
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```", open(path).read(), re.M | re.S)
    failed, beside, last, again = 0, [], None, None
    with tempfile.TemporaryDirectory(prefix="klatch-page-") as home:
        os.symlink(os.path.abspath("examples"), os.path.join(home, "examples"))
        env = {**env, "KLATCH_HOME": home, "XDG_RUNTIME_DIR": home, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        try:
            for kind, text in blocks:
                ok = True
                if kind == "sh" and re.match(r"# in a \w+ terminal\n", text):
                    print(f"beside the others:\n{text}", end="", flush=True)
                    last, again = Terminal(text, env, home), None
                    beside.append(last)
                elif kind == "sh":
                    print(text, end="", flush=True)
                    last, again = Terminal(text, env, home), text
                    ok = last.ends_well()
                else:
                    pause, until = (LIMIT_S, 0) if again is None else (0.5, time.monotonic() + TALK_S)
                    while not (ok := last.prints(text.splitlines(), pause)) and time.monotonic() < until:
                        last = Terminal(again, env, home)
                        last.ends_well()
                if not ok:
                    last.prints([], 0)
                    print(f"FAILED: {text}it printed:\n{last.said}")
                    failed += 1
            for terminal in beside:
                if not terminal.interrupt():
                    print(f"FAILED: Ctrl+C did not end\n{terminal.command}it printed:\n{terminal.said}")
                    failed += 1
        finally:
            for terminal in beside:
                terminal.interrupt()
            for profile in os.listdir(home):
                if os.path.exists(os.path.join(home, profile, "run/api.sock")):
                    run(f"klatch --profile {profile} down", env)
    return len(blocks), failed


def daily(readme):
    """The `klatch ...` of the text, in an order that makes sense."""
    # A line of text may end within a command.
    found = list(dict.fromkeys(" ".join(c.split()) for c in re.findall(r"`(klatch\s[^`]+)`", readme)))
    # Where somebody else listens (an address of documentation) nobody is to be reached from here.
    found = [c for c in found if not re.search(r"\b[A-Z]{1,}\b|--follow|/ip4/|\b192\.0\.2\.|\b(un)?lock\b", c)]
    order = ["init", "up", "chat", "join", "send", "", "leave", "down"]

    def place(command):
        words = [o for o in order if o and re.match(rf"klatch ({o})\b", command)]
        return order.index(words[0] if words else "")

    return sorted(found, key=place)


def run(command, env):
    try:
        return subprocess.run(["bash", "-c", command], env=env, stdin=subprocess.DEVNULL, timeout=LIMIT_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def talk(first, second, env):
    terminals = [Terminal(first, env), Terminal(second, env)]
    words = ["a word from the first terminal", "a word from the second terminal"]
    for terminal, word in zip(terminals, words):
        terminal.type(word)
    ok = True
    for terminal, word in zip(terminals, reversed(words)):
        if not terminal.sees(word, TALK_S):
            print(f"`{terminal.command}` did not show what the other wrote; it said:\n{terminal.said}")
            ok = False
    for terminal in terminals:
        if not terminal.ends_well():
            print(f"`{terminal.command}` did not end well; it said:\n{terminal.said}")
            ok = False
    return ok


def main():
    readme = open(sys.argv[1]).read()
    todo = commands(readme)
    chats = [c for c in todo if re.search(r"chat '#lobby'", c)]
    if len(chats) < 2:
        sys.exit("README.md no longer shows two terminals with chat '#lobby'")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="klatch-readme-") as home:
        release = os.path.abspath(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release"))
        env = {**os.environ, "KLATCH_HOME": home, "PATH": release + os.pathsep + os.environ["PATH"]}
        env |= {"XDG_RUNTIME_DIR": home, "KLATCH_LOOPBACK_ONLY": "1"}
        # So that two terminals do not wait for one compiler.
        if not run("cargo build --locked --release", env):
            sys.exit("the program does not build")
        for command in todo:
            if command in chats[1:]:
                continue
            print(f"$ {command}", flush=True)
            ok = talk(command, chats[1], env) if command == chats[0] else run(command, env)
            if not ok:
                print(f"FAILED: {command}")
                failed += 1
        every_day = daily(readme)
        env["KLATCH_HOME"] = os.path.join(home, "daily")
        # The people whom the page names: they are known once they share a room.
        people = ["bob", "eve"]
        setup = [
            f"klatch --profile {who} {verb}"
            for who in people
            for verb in (f"init --name {who} --no-passphrase", "up", "join '#garden'")
        ]
        for command in [*setup, *every_day, *(f"klatch --profile {who} down" for who in people)]:
            print(f"$ {command}", flush=True)
            if not run(command, env):
                print(f"FAILED: {command}")
                failed += 1
        for path in sys.argv[2:]:
            blocks, wrong = page(path, env)
            print(f"{path}: {blocks} blocks, {wrong} failed")
            failed += wrong
    todo += every_day
    print(f"{len(todo)} README commands, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
