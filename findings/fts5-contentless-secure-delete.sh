#!/usr/bin/env bash
# SQLite FTS5: a contentless table with contentless_delete=1 takes the option 'secure-delete', reports
# success and stores it, but a deleted row's words stay readable in the index blocks of the file. In a
# table with content the same option takes them out at once. For a contentless table only a merge does.
#
# Matters to whoever keeps a search index without a copy of the texts and promises that what was
# deleted is gone from the disk. Klatch merges after each deletion for this reason.
#
# Seen with SQLite 3.53.4 (apsw 3.53.4.0 from PyPI). Exit code 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apsw==3.53.4.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import apsw

WORD = "periwinkle"


def left(kind, options, merge=False):
    """Whether the word of a deleted row is still in the table's index blocks."""
    db = apsw.Connection(f"{sys.argv[1]}/{kind}-{merge}.db")
    db.execute("PRAGMA secure_delete = ON")
    db.execute(f"CREATE VIRTUAL TABLE words USING fts5(text{options})")
    db.execute("INSERT INTO words(words, rank) VALUES ('secure-delete', 1)")
    for row in range(1, 101):
        text = f"{WORD} in the garden" if row == 50 else f"common words in row {row}"
        db.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (row, text))
    db.execute("DELETE FROM words WHERE rowid = 50")
    if merge:
        db.execute("INSERT INTO words(words) VALUES ('optimize')")
    stored = db.execute("SELECT v FROM words_config WHERE k = 'secure-delete'").fetchall()
    found = db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (WORD,)).fetchall()
    blocks = db.execute("SELECT block FROM words_data").fetchall()
    there = any(WORD.encode() in block for (block,) in blocks)
    print(f"{kind:12} merged {merge!s:5} option stored {stored}, matches {found}, in the blocks: {there}")
    assert stored == [(1,)] and found == [(0,)]
    return there


print("SQLite", apsw.sqlite_lib_version())
contentless = ", content='', contentless_delete=1"
seen = (left("content", ""), left("contentless", contentless), left("contentless", contentless, merge=True))
if seen != (False, True, False):
    sys.exit("this is not what was seen before: the workaround may be unnecessary now")
PYTHON
