#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Accounts in a MongoDB that a service in Python shares (pymongo, cryptography): what either writes the
other reads, tokens included. See tests/run for the environment.
"""
import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from cryptography.fernet import Fernet

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
SERVER = SOURCE / "build" / "ferretdb" / "ferretdb"
sys.path[:0] = [str(SOURCE / "tests"), str(SOURCE / "build" / "python")]
import bson  # noqa: E402
import pymongo  # noqa: E402
from kit import programs  # noqa: E402
from kit.programs import ask  # noqa: E402

UTC = datetime.timezone.utc
HOUR = datetime.timedelta(hours=1)
FIELDS = {  # of the platform's model: what a linked account's are
    "_id": bson.ObjectId,
    "user_id": str,
    "audible_user_id": str,
    "access_token": str,
    "refresh_token": str,
    "expires_at": datetime.datetime,
    "connected_at": datetime.datetime,
    "synced_at": datetime.datetime,
    "state_token": type(None),
    "last_sync_error": type(None),
    "sync_status": str,
    "is_active": bool,
}


@contextlib.contextmanager
def mongo_server(folder):
    """Its address; it ends with the block."""
    with subprocess.Popen([SERVER, folder], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class Rig(programs.Rig):
    def __init__(self, folder, address):
        super().__init__(folder)
        self.url = f"mongodb://{address}/platform"
        self.client = pymongo.MongoClient(self.url, tz_aware=True, serverSelectionTimeoutMS=5000)
        self.accounts = self.client.platform.user_audible_accounts
        self.key = Fernet.generate_key()

    def latchkey(self, settings=None):
        usual = {"LATCHKEY_ACCOUNT_STORE": self.url, "AUDIBLE_TOKEN_ENCRYPTION_KEY": self.key.decode()}
        return super().latchkey(usual | (settings or {}))

    def document(self, user):
        return self.accounts.find_one({"user_id": user})

    def open(self, document):
        """Both tokens."""
        return [Fernet(self.key).decrypt(document[name]).decode() for name in ("access_token", "refresh_token")]

    def get(self, path, user):
        status, _, text = ask(f"{self.api}/{path}", self.token(user))
        return status, json.loads(text)

    def write(self, user, tokens, **more):
        """A document as the platform's service writes it."""
        sealed = [Fernet(self.key).encrypt(token.encode()).decode() for token in tokens]
        now = datetime.datetime.now(UTC)
        document = {
            "user_id": user,
            "audible_user_id": f"amzn1.account.{user}",
            "access_token": sealed[0],
            "refresh_token": sealed[1],
            "expires_at": now + HOUR,
            "connected_at": now - HOUR,
            "synced_at": None,
            "state_token": None,
            "last_sync_error": None,
            "sync_status": "pending",
            "is_active": True,
            "updated_by": "python",
        }
        self.accounts.insert_one(document | more)

    def tokens(self):
        """Two that the provider has given out, and nothing of it stored."""
        self.link("someone")
        tokens = self.open(self.document("someone"))
        self.accounts.delete_one({"user_id": "someone"})
        return tokens


def since(document, name):
    return abs(datetime.datetime.now(UTC) - document[name])


def written_by_us_reads_there(rig):
    with rig.latchkey():
        rig.link("ours")
        document = rig.document("ours")
        types = {name: type(value) for name, value in document.items()}
        assert types == FIELDS, types
        assert document["sync_status"] == "synced" and document["is_active"] is True, document
        assert since(document, "connected_at") < HOUR / 60 and since(document, "synced_at") < HOUR / 60
        assert since(document, "expires_at") > HOUR / 2, "an hour ahead"
        access, refresh = rig.open(document)
        status, _, text = ask(f"{rig.sim}/api/1.0/library?limit=1", access)
        assert status == 200, text
        assert refresh.startswith("simr/"), refresh
        indexes = rig.accounts.index_information()
        assert any(i["key"] == [("user_id", 1)] and i.get("unique") for i in indexes.values()), indexes
        rig.disconnect("ours")
        assert rig.document("ours") is None


def written_there_works_here(rig):
    with rig.latchkey():
        rig.write("theirs", rig.tokens(), synced_at=datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, UTC))
        status, body = rig.get("connected", "theirs")
        assert (status, body) == (
            200,
            {
                "connected": True,
                "audible_user_id": "amzn1.account.theirs",
                "synced_at": "2026-02-03T04:05:06.789Z",
                "last_sync_error": None,
            },
        ), body
        before = rig.document("theirs")
        status, books = rig.get("library?limit=2", "theirs")
        assert status == 200 and len(books) == 2, books
        assert rig.document("theirs") == before, "reading a library changes nothing"


def a_refresh_here_is_read_there(rig):
    with rig.latchkey():
        tokens = rig.tokens()
        rig.write("expired", tokens, expires_at=datetime.datetime.now(UTC) - HOUR)
        before = rig.document("expired")
        status, books = rig.get("library?limit=1", "expired")
        assert status == 200 and len(books) == 1, books
        after = rig.document("expired")
        changed = {name for name in after if after[name] != before[name]}
        assert changed == {"access_token", "refresh_token", "expires_at"}, changed
        assert after.keys() == before.keys(), "a field that is not ours stays"
        assert after["expires_at"] - datetime.datetime.now(UTC) > HOUR / 2
        assert set(rig.open(after)).isdisjoint(tokens), "both were rotated"
        status, _, text = ask(f"{rig.sim}/api/1.0/library?limit=1", rig.open(after)[0])
        assert status == 200, text


def a_sync_here_is_read_there(rig):
    with rig.latchkey():
        rig.write("synced", rig.tokens())
        status, _, text = ask(f"{rig.api}/library/sync", rig.token("synced"), {})
        assert status == 200, text
        document = rig.document("synced")
        assert document["sync_status"] == "synced" and since(document, "synced_at") < HOUR / 60, document
        assert document["updated_by"] == "python", document


def soft_deleted_there_is_not_connected_here(rig):
    with rig.latchkey():
        rig.write("gone", rig.tokens(), is_active=False)
        before = rig.document("gone")
        status, body = rig.get("connected", "gone")
        assert status == 200 and body["connected"] is False and body["audible_user_id"] is None, body
        assert rig.get("library", "gone")[0] == 400
        status, _, text = ask(f"{rig.api}/disconnect", rig.token("gone"), {})
        assert status == 404, text
        assert rig.document("gone") == before, "it is left alone"
        rig.link("gone")
        after = rig.document("gone")
        assert after["_id"] == before["_id"] and after["updated_by"] == "python", "the same document"
        assert after["is_active"] is True and rig.open(after) != rig.open(before)
        status, body = rig.get("connected", "gone")
        assert status == 200 and body["connected"] is True, body
        rig.disconnect("gone")
        assert rig.document("gone") is None, "what is disconnected is deleted"


def plaintext_there_works_here(rig):
    """Of a service that ran without a key."""
    with rig.latchkey():
        access, refresh = rig.tokens()
        rig.write("plain", ("", ""), access_token=access, refresh_token=refresh)
        status, books = rig.get("library?limit=1", "plain")
        assert status == 200, books
        rig.accounts.update_one({"user_id": "plain"}, {"$set": {"expires_at": datetime.datetime(2020, 1, 1)}})
        status, books = rig.get("library?limit=1", "plain")
        assert status == 200, books
        rig.open(rig.document("plain"))  # a refresh seals


def linked_anew_there_while_here(rig):
    """Each sees at once what the other has done."""
    with rig.latchkey():
        rig.link("both")
        first, second = rig.open(rig.document("both")), rig.tokens()
        sealed = [Fernet(rig.key).encrypt(token.encode()).decode() for token in second]
        rig.accounts.update_one(
            {"user_id": "both"},
            {"$set": {"access_token": sealed[0], "refresh_token": sealed[1], "audible_user_id": "amzn1.account.new"}},
        )
        assert rig.get("connected", "both")[1]["audible_user_id"] == "amzn1.account.new"
        assert rig.get("library?limit=1", "both")[0] == 200
        rig.accounts.delete_one({"user_id": "both"})
        assert rig.get("connected", "both")[1]["connected"] is False
        assert first != second


def users_there_decide_here(rig):
    """LATCHKEY_USERS=mongodb: tier, role and activity are those of the users, whatever a token claims."""
    object_id = bson.ObjectId()
    rig.client.platform.users.insert_many(
        [
            {"_id": object_id, "email": "a@example.com", "subscription_tier": "family", "is_active": True},
            {"_id": "free", "role": "user", "subscription_tier": "free", "is_active": True},
            {"_id": "admin", "role": "support", "subscription_tier": "free", "is_active": True},
            {"_id": "inactive", "role": "admin", "subscription_tier": "premium", "is_active": False},
        ]
    )
    with rig.latchkey({"LATCHKEY_USERS": "mongodb"}):
        assert rig.get("connected", str(object_id))[0] == 200
        assert rig.get("connected", "free") == (403, {"detail": "audible_requires_premium"})
        assert rig.get("connected", "admin")[0] == 200
        assert rig.get("connected", "inactive") == (400, {"detail": "Inactive user"})
        assert rig.get("connected", "nobody") == (401, {"detail": "Could not validate credentials"})
        assert rig.get("connected", str(bson.ObjectId()))[0] == 401
        rig.link(str(object_id))
        assert rig.document(str(object_id))["user_id"] == str(object_id)


def main():
    tests = [
        written_by_us_reads_there,
        written_there_works_here,
        a_refresh_here_is_read_there,
        a_sync_here_is_read_there,
        soft_deleted_there_is_not_connected_here,
        plaintext_there_works_here,
        linked_anew_there_while_here,
        users_there_decide_here,
    ]
    if not SERVER.exists() and "CI" not in os.environ:
        for test in tests:
            print(f"skipped: {test.__name__}: no MongoDB server on this machine")
        print("0 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory(prefix="latchkey-mongo-") as folder:
        (database := pathlib.Path(folder, "database")).mkdir()
        with mongo_server(database) as address:
            rig = Rig(folder, address)
            with rig.client, rig.provider():
                return programs.run_tests(tests, rig)


if __name__ == "__main__":
    sys.exit(main())
