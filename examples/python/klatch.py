"""A client of Klatch's local API: standard library only, made to be copied.

    from klatch import Klatch
    with Klatch() as node:
        node.call("message.send", room="#lobby", text="hello")
        for event in node.events(["room/"], after="start"):
            print(event["cursor"], event["type"])

It speaks to a node that runs (`klatch up`) over its Unix socket, one JSON object per line."""

import collections
import json
import os
import socket
import subprocess


class KlatchError(Exception):
    """What the node refused: `code` is stable, `hint` says what to try."""

    def __init__(self, method, error):
        data = error.get("data") or {}
        self.code, self.hint = data.get("code"), data.get("hint")
        super().__init__(f"{method}: {error['message']} (try: {self.hint})")


def find_socket():
    """KLATCH_SOCKET, or what `klatch status` tells; KLATCH_PROFILE and KLATCH_HOME count there too."""
    if path := os.environ.get("KLATCH_SOCKET"):
        return path
    return json.loads(subprocess.check_output(["klatch", "status", "--json"]))["socket"]


class Klatch:
    """One connection. Calls are made one after the other; events that arrive meanwhile are kept."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path or find_socket())
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        self.last, self.early = 0, collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, method, **params):
        """Calls a method; `klatch api spec` lists them."""
        self.last += 1
        request = json.dumps({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params})
        self.socket.sendall(request.encode() + b"\n")
        while True:
            line = self.read()
            if "method" in line:
                self.early.append(line)
            elif "error" in line:
                raise KlatchError(method, line["error"])
            elif line["id"] == self.last:
                return line["result"]

    def room(self, name):
        """The id of a room, for topics: room/ID/message. The node refuses what could be several."""
        return self.call("room.get", room=name)["room_id"]

    def events(self, topics=(), after="now"):
        """Subscribes, then gives events for ever: the past after the cursor first. `start`, `now`, or a cursor."""
        self.cursor = self.call("events.subscribe", topics=list(topics), after=after)["cursor"]
        return self.follow()

    def follow(self):
        while True:
            line = self.early.popleft() if self.early else self.read()
            if line.get("method") == "event":
                yield line["params"]

    def read(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the node has ended")
        return json.loads(line)


def load(path, default="now"):
    """The cursor kept in a file."""
    return json.load(open(path)) if os.path.exists(path) else default


def save(path, cursor):
    """Keeps a cursor, in one step: a kill leaves the old one or the new one."""
    with open(f"{path}.new", "w") as file:
        json.dump(cursor, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)
