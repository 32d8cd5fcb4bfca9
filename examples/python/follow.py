#!/usr/bin/env python3
"""Prints what is said in a room, and misses nothing: python3 follow.py '#lobby' follow.cursor

Run it again after any pause, or a kill: it goes on where it was. The first time it begins with the whole history.
"""

import json
import sys

from klatch import Klatch, load, save


def quoted(text):
    """As JSON on one line in which nothing acts on a terminal; whatever can be printed stays as it is."""
    whole = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in whole)


name, file = sys.argv[1:3]
with Klatch() as node:
    room = node.room(name)
    for event in node.events([f"room/{room}/message"], after=load(file, "start")):
        message = event["event"].get("message")
        if message:
            # Two may have one name: the mark tells them apart.
            name = "~".join([message["name"], *filter(None, [message.get("name_mark")])])
            print(event["cursor"], quoted(name), quoted(message["text"]), flush=True)
        if event["cursor"] is not None:
            save(file, event["cursor"])
