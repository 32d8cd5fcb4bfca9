"""Nodes under test: a real `klatch node run` on a host of a lab, somebody who writes numbered
messages on it, and somebody who notes what arrives and when. What breaks the network is in `cells`."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

ROOM = "#lab"
PAUSE_S = 0.25  # between two messages of one writer
START_S = 20  # a node that does not answer within this does not start
CALL_S = 100  # longer than a node may be stopped
NUMBERED = re.compile(r"(\w+) says (\d+)$")


class Failed(Exception):
    """The cell cannot go on, or what it measured is not good enough."""


class Connection:
    """The node's API on its socket: JSON-RPC, one object per line."""

    def __init__(self, path, patience=CALL_S):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")
        self.number = 0

    def close(self):
        # A thread may be reading: it is woken by the end of the stream.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def next(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the node closed the connection")
        return json.loads(line)

    def call(self, method, **params):
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                break
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']['message']}")
        return answer["result"]


class Node:
    """One node, which may be killed and started again; its writer and its reader live through that."""

    def __init__(self, lab, name, klatch, home, options):
        self.lab, self.name, self.klatch, self.options = lab, name, klatch, options
        self.home = os.path.join(home, name)
        self.path = os.path.join(self.home, "default", "run", "api.sock")
        self.process = None
        self.written = {}  # number -> when it was handed over
        self.stored = set()  # numbers that the node said it had stored
        self.arrived = []  # (author, number, when), in the order in which the node told
        self.mistakes = []  # what no event stream may do
        self.ended = threading.Event()
        self.writing = threading.Event()
        self.now = threading.Event()
        self.threads = []
        os.makedirs(self.home, exist_ok=True)

    # ---- the process

    def command(self, *words):
        return ["ip", "netns", "exec", self.lab.namespace(self.name), self.klatch, *words]

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("KLATCH_") or k == "KLATCH_LOG"}
        return {**kept, "KLATCH_HOME": self.home, "XDG_RUNTIME_DIR": self.home, "HOME": self.home}

    def klatch_says(self, *words):
        done = subprocess.run(
            self.command(*words), env=self.environment(), text=True, capture_output=True, timeout=60
        )
        return done.stdout + done.stderr if done.returncode else done.stdout

    def create(self):
        os.chmod(self.home, 0o700)
        done = subprocess.run(
            self.command("-q", "init", "--name", self.name, "--no-passphrase"),
            env=self.environment(), text=True, capture_output=True, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{self.name}: init: {done.stderr.strip()}")

    def start(self):
        """Starts the process and returns at once; when it answers is part of what is measured."""
        with open(os.path.join(self.home, "node.log"), "ab") as log:
            log.write(f"---- started at {time.time():.3f}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                self.command("node", "run", *self.options), env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def connect(self, within=START_S):
        until = time.monotonic() + within
        while True:
            try:
                return Connection(self.path)
            except OSError as error:
                ended = self.process.poll()
                if time.monotonic() > until or ended is not None and ended >= 0:
                    raise Failed(f"{self.name} does not answer ({error}; exit code {ended})") from error
                time.sleep(0.01)

    def status(self):
        connection = self.connect()
        try:
            return connection.call("node.status")
        finally:
            connection.close()

    def join(self):
        connection = self.connect()
        try:
            connection.call("room.join", room=ROOM)
        finally:
            connection.close()

    # ---- who writes and who reads

    def begin(self):
        for work in (self.write, self.read):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self.threads.append(thread)

    def end(self):
        self.ended.set()
        self.writing.clear()
        self.now.set()
        if self.process and self.process.poll() is None:
            self.go_on()
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                self.mistakes.append(f"{self.name} did not end within 15 s of SIGTERM")
        for thread in self.threads:
            thread.join(5)

    def write(self):
        """Numbered messages, several a second; another one at once when `now` is set."""
        connection, number = None, 0
        while not self.ended.is_set():
            self.now.wait(PAUSE_S)
            self.now.clear()
            if not self.writing.is_set():
                continue
            try:
                connection = connection or Connection(self.path)
                number += 1
                self.written[number] = time.monotonic()
                connection.call("message.send", room=ROOM, text=f"{self.name} says {number}")
                self.stored.add(number)
            except (OSError, ValueError):
                # Killed, or not there again yet: whether this one is stored nobody can know.
                connection and connection.close()
                connection = None
                time.sleep(0.01)
                self.now.set()
            except Failed as error:
                self.mistakes.append(f"{self.name}: {error}")

    def read(self):
        """What the node tells of, from the beginning; after a restart from where it stood."""
        connection, cursor = None, "start"
        while not self.ended.is_set():
            try:
                if connection is None:
                    connection = Connection(self.path)
                    connection.socket.settimeout(None)
                    connection.call(
                        "events.subscribe", topics=["room/"], types=["message.added", "event.gap"], after=cursor
                    )
                params = connection.next().get("params") or {}
            except (OSError, ValueError, Failed):
                connection and connection.close()
                connection = None
                time.sleep(0.01)
                continue
            cursor = params.get("cursor") or cursor
            if params.get("type") == "event.gap":
                self.mistakes.append(f"{self.name}: the event stream has a gap: {params}")
            said = NUMBERED.match((params.get("event") or {}).get("message", {}).get("text") or "")
            if said:
                self.arrived.append((said[1], int(said[2]), time.monotonic()))

    def heard_since(self, author, moment):
        """When the first message arrived that `author` wrote at or after `moment`."""
        for name, number, when in self.arrived:
            if name == author.name and author.written.get(number, 0) >= moment:
                return when
        return None

    # ---- what is true in the end

    def journal(self):
        """The numbers of each author in the order in which they were stored here."""
        connection, after, found = self.connect(), 0, []
        try:
            while True:
                page = connection.call("message.journal", room=ROOM, after=after, limit=500)
                if not page:
                    return found
                after = page[-1]["cursor"]
                said = [NUMBERED.match(m.get("text") or "") for m in page]
                found += [(s[1], int(s[2])) for s in said if s]
        finally:
            connection.close()

    def shown(self):
        """The same in the order in which people see it."""
        connection, before, found = self.connect(), None, []
        try:
            while True:
                # The newest page, and then backwards: `limit` keeps the newest.
                place = {"before": before} if before else {}
                page = connection.call("message.list", room=ROOM, limit=1000, **place)
                said = [NUMBERED.match(m.get("text") or "") for m in page]
                found = [(s[1], int(s[2])) for s in said if s] + found
                if len(page) < 1000:
                    return found
                before = page[0]["message_id"]
        finally:
            connection.close()


def audit(nodes):
    """What is missing, doubled or out of order, at any node, in any of the three places to look."""
    faults = []
    for node in nodes:
        places = {
            "told": [(a, n) for a, n, _ in node.arrived],
            "stored": node.journal(),
            "shown": node.shown(),
        }
        for place, found in places.items():
            for author in nodes:
                numbers = [n for name, n in found if name == author.name]
                lost = sorted(author.stored - set(numbers))
                twice = sorted({n for n in numbers if numbers.count(n) > 1})
                early = [b for a, b in zip(numbers, numbers[1:]) if b < a]
                for word, which in (("missing", lost), ("doubled", twice), ("out of order", early)):
                    if which:
                        some = ", ".join(map(str, which[:8]))
                        faults.append(f"{place} at {node.name}: {len(which)} of {author.name} {word}: {some}")
    return faults


def complete(nodes):
    """Whether everybody has everything that any node said it had stored."""
    return all(
        author.stored <= {n for name, n, _ in node.arrived if name == author.name}
        for node in nodes
        for author in nodes
    )
