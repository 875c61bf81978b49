# SPDX-License-Identifier: MIT
"""What is asked, and what the answer to it must be worth. A scenario's figures are compared as CPU time of
the server a request, since the load is the limit of the fastest."""
import dataclasses

from .place import API

AUTHORIZE = '{"redirect_uri":"https://app.example/back"}'


@dataclasses.dataclass
class Request:
    method: str
    path: str
    body: str = ""
    mix: str = ""      # of mixed.lua
    makes: int = 1     # requests that make one of what is counted
    headers: object = None  # the file of the users' headers


@dataclasses.dataclass
class Scenario:
    name: str
    request: Request
    contestants: list
    gate: float | None = None  # user µs a request above the bare loop's, at a fixed rate
    # How many times our CPU time a request the other's must be: (ours, the other): factor
    factors: dict = dataclasses.field(default_factory=dict)
    latency: bool = False  # also at a fixed rate

OWN, SHARED = "latchkey", "latchkey+redis"
ALL = [
    Scenario("healthz", Request("GET", "/healthz"), [OWN, "bare", "nginx", "fastify", "fastapi"], gate=0.6,
             factors={(OWN, "bare"): 0.95}),
    # The link flow makes the accounts that those below it need.
    Scenario("link flow", Request("", API, AUTHORIZE, mix="link", makes=2), [OWN, SHARED, "fastify", "fastapi"],
             factors={(OWN, "fastify"): 5, (OWN, "fastapi"): 15}),
    Scenario("connected", Request("GET", API + "/connected"),
             [OWN, SHARED, "bare", "nginx", "fastify", "fastapi", "oauth2-proxy", "mod_auth_openidc"], gate=1.5,
             factors={(OWN, "bare"): 0.85, (OWN, "fastify"): 5, (OWN, "fastapi"): 20}, latency=True),
    Scenario("authorize", Request("POST", API + "/oauth/authorize", AUTHORIZE),
             [OWN, SHARED, "bare", "fastify", "fastify+redis", "fastapi", "fastapi+redis", "oauth2-proxy",
              "mod_auth_openidc"], gate=4.5,
             factors={(OWN, "bare"): 0.65, (OWN, "fastify"): 8, (OWN, "fastapi"): 25, (SHARED, "bare"): 0.40,
                      (SHARED, "fastify+redis"): 4, (SHARED, "fastapi+redis"): 12}, latency=True),
    Scenario("library 20", Request("GET", API + "/library?limit=20"), [OWN, "fastify", "fastapi"],
             factors={(OWN, "fastify"): 4, (OWN, "fastapi"): 15}),
    Scenario("library 100", Request("GET", API + "/library?limit=100"), [OWN, "fastify", "fastapi"]),
    Scenario("mixed", Request("", API, AUTHORIZE, mix="traffic"), [OWN, "fastify", "fastapi"]),
    Scenario("search", Request("GET", API + "/search?q=lighthouse&limit=20"), [OWN]),
    Scenario("details", Request("GET", API + "/B000000001/details"), [OWN]),
    Scenario("sync of 200", Request("POST", API + "/library/sync", "{}"), [OWN]),
    Scenario("play-url", Request("GET", API + "/B000000001/play-url?platform=web"), [OWN]),
]
