#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The server under valgrind, through links that succeed and fail, a disconnect and a drain: nothing is
lost, no byte is read that was never written. A build without the sanitizers. See tests/run for the
environment.
"""
import contextlib
import os
import pathlib
import re
import socket
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
from kit import programs  # noqa: E402
from kit.programs import ask  # noqa: E402

WAIT_S = 60  # all is slower by a factor of twenty or more
KEY = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
RETURN = "https://app.example/done?audible="
programs.WAIT_S = WAIT_S


def expect(wanted, got):
    assert got[0] == wanted, f"{got[0]} instead of {wanted}: {got[2]}"


def fault(rig, kind, **more):
    wish = {"path": "/auth/oauth2/token", "fault": kind, "count": 1} | more
    expect(200, ask(f"{rig.sim}/sim/faults", body=wish))


def callback(rig, token, back):
    return ask(f"{rig.api}/oauth/callback", token, {"code": back["code"], "state": back["state"]})


def link(rig):
    rig.link("one")
    rig.link("one")
    expect(200, ask(f"{rig.api}/connected", rig.token("one")))


def come_back_by_browser(rig):
    token = rig.token("two")
    for decision, end in (("deny", "error&reason=access_denied"), ("allow", "connected")):
        back, cookie = rig.grant(token, decision)
        query = "&".join(f"{name}={value}" for name, value in back.items() if name != "error_description")
        got = ask(f"{rig.api}/oauth/callback?{query}", headers={"Cookie": cookie})
        expect(303, got)
        assert got[1]["Location"] == RETURN + end, got[1]["Location"]
    expect(303, ask(f"{rig.api}/oauth/callback?code=a&state=b"))


def fail(rig):
    token = rig.token("three")
    for kind, more, status in (
        ("status", {"value": 400, "text": '{"error":"invalid_grant"}'}, 400),
        ("status", {"value": 500}, 503),
        ("garbage", {}, 503),
        ("truncate", {}, 503),
        ("wrong_types", {}, 503),
        ("drop", {}, 503),
        ("huge", {}, 503),
        ("redirect", {}, 503),
    ):
        back, _ = rig.grant(token)
        fault(rig, kind, **more)
        expect(status, callback(rig, token, back))
        expect(400, callback(rig, token, back))
    rig.link("three")


def refuse(rig):
    token = rig.token("four")
    expect(401, ask(f"{rig.api}/connected"))
    expect(401, ask(f"{rig.api}/connected", token[:-3]))
    expect(400, ask(f"{rig.api}/oauth/authorize", token, []))
    expect(415, ask(f"{rig.api}/oauth/authorize", token, form={"a": "b"}))
    expect(404, ask(f"{rig.api}/nothing", token))
    expect(404, ask(f"{rig.api}/disconnect", token, {}))
    expect(413, ask(f"{rig.api}/oauth/authorize", token, {"redirect_uri": "a" * 70000}))
    expect(200, ask(f"http://127.0.0.1:{rig.port}/readyz"))


def leave(rig):
    """In the middle of a head, of a body, and of what the provider is asked."""
    token = rig.token("five")
    back, _ = rig.grant(token)
    body = f'{{"code":"{back["code"]}","state":"{back["state"]}"}}'
    request = (
        f"POST /api/v1/user/audible/oauth/callback HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    for end in (10, len(request) - 5, len(request)):
        with socket.create_connection(("127.0.0.1", rig.port), WAIT_S) as client:
            client.sendall(request[:end])
    with socket.create_connection(("127.0.0.1", rig.port), WAIT_S) as client:
        client.sendall(b"GET / HTTP/9.9\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.1 505 "), "505"


def disconnect(rig):
    rig.disconnect("one")
    rig.link("one")


def look(report):
    text = report.read_text()
    assert re.search(r"ERROR SUMMARY: 0 errors", text), text
    lost = re.search(r"definitely lost: (.*)", text)
    assert lost is None or lost[1].startswith("0 bytes"), text
    for line in re.findall(r"(?:in use at exit|total heap usage|definitely lost|ERROR SUMMARY).*", text):
        print(f"     {line}")


def main():
    tests = [link, come_back_by_browser, fail, refuse, leave, disconnect]
    with tempfile.TemporaryDirectory(prefix="latchkey-valgrind-") as folder:
        rig = programs.Rig(folder, programs.built("debug", "latchkey", "simprovider"))
        report = pathlib.Path(folder) / "report"
        wrapper = [
            "valgrind",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
            "--error-exitcode=99",
            f"--log-file={report}",
        ]
        settings = {
            "AUDIBLE_TOKEN_ENCRYPTION_KEY": KEY,
            "LATCHKEY_RETURN_URL": "https://app.example/done",
            "LATCHKEY_UPSTREAM_CA_FILE": os.path.join(os.environ["TEST_SOURCE_DIR"], "tests/kit/ca.pem"),
            "LATCHKEY_STATE_MAX": "1000",
            "LATCHKEY_LOG_LEVEL": "debug",
        }
        with rig.provider(), contextlib.ExitStack() as serving:
            serving.enter_context(rig.latchkey(settings, wrapper, WAIT_S))

            def nothing_is_lost(_):
                serving.close()
                look(report)

            return programs.run_tests([*tests, nothing_is_lost], rig)


if __name__ == "__main__":
    sys.exit(main())
