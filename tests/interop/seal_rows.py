# SPDX-License-Identifier: MIT
"""seal_rows.py DATABASE KEY TEXT...: seals each text with Python's cryptography and stores it as both
tokens of the users user0, user1, ... (tests/flow/fernet_python.c).
"""
import sqlite3
import sys

from cryptography.fernet import Fernet

database, key, *texts = sys.argv[1:]
db = sqlite3.connect(database)
with db:
    for n, text in enumerate(texts):
        sealed = [Fernet(key).encrypt(text.encode()).decode() for _ in range(2)]
        done = db.execute(
            "UPDATE accounts SET access_token = ?, refresh_token = ? WHERE user_id = ?",
            (*sealed, f"user{n}"),
        )
        assert done.rowcount == 1
db.close()
