# SPDX-License-Identifier: MIT
"""The callers: tokens as the platform signs them, in files with a header line for each user."""
import base64
import hashlib
import hmac
import http.client
import json
import secrets
import time

from .place import API

SECRET_KEY = secrets.token_urlsafe(48)
COUNT = 1000
TTL_S = 12 * 3600


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


HEAD = part(b'{"alg":"HS256","typ":"JWT"}') + b"."
UNTIL = int(time.time()) + TTL_S


def name(number):
    return f"user-{number:08d}"


def token(user):
    claims = {"sub": user, "exp": UNTIL, "role": "user", "subscription_tier": "premium", "type": "access"}
    signed = HEAD + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET_KEY.encode(), signed, hashlib.sha256))).decode()


def write_headers(path, names):
    with path.open("w") as out:
        for user in names:
            out.write(f"Authorization: Bearer {token(user)}\n")
    return path


def link_all(port, headers_path):
    """An account for each, at the server on that port."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(path, headers, body):
        connection.request("POST", API + "/oauth/" + path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status, text)
        return json.loads(text)

    for line in headers_path.read_text().splitlines():
        name, value = line.split(": ", 1)
        headers = {name: value, "Content-Type": "application/json"}
        state = post("authorize", headers, {"redirect_uri": "https://app.example/back"})["state"]
        post("callback", headers, {"code": "bench", "state": state})
