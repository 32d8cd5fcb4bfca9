#!/usr/bin/env python3
"""Answers every message in a room with its own text: python3 echo.py '#lobby' echo.cursor"""

import sys

from klatch import Klatch, load, save

name, file = sys.argv[1:3]
with Klatch() as node:
    room = node.room(name)
    events = node.events([f"room/{room}/message"], after=load(file))
    save(file, node.cursor)
    print("listening", flush=True)
    for event in events:
        message = event["event"].get("message", {})
        # Never one's own, and no notices: other programs write those.
        if message.get("kind") == "text" and not message["own"] and not message["deleted"]:
            node.call(
                "message.send", room=room, text=message["text"], reply_to=message["message_id"],
                idempotency_key=f"echo/{message['message_id']}",  # sent again after a kill, it is stored once all the same
            )  # fmt: skip
        if event["cursor"] is not None:
            save(file, event["cursor"])
