# SPDX-License-Identifier: MIT
"""Who is compared. Each is set up as its own documentation advises for production, with one process where it
says one a core, since each has one core here; access logs are off everywhere.

- nginx: `worker_processes 1`, an answer by `return`, keep-alive without a count.
- Fastify, FastAPI: bench/peers/ says it in its files. NODE_ENV=production; uvicorn with uvloop and httptools.
- oauth2-proxy: the OIDC provider, sessions in cookies (its default), `/oauth2/auth` is what its
  documentation has nginx's auth_request ask; its loggers off.
- mod_auth_openidc: Apache's event MPM, one process, a thread for each connection of the load
  (with Debian's 50 at first it closes idle ones to serve others, which the load counts as errors), sessions in the server's shared memory (its
  default), whose table is made large enough for the users."""
import os
import secrets
import subprocess

from . import oidc, users
from .place import API, BENCH, BUILD, LOAD_CPU, PEERS, free_port
from .scenarios import Request

CONSTANT = '{"connected":true,"audible_user_id":"amzn1.account.BENCHMARKLISTENER","synced_at":null}'


class Contestants:
    """Started when first asked for; the parts that they share are too."""

    def __init__(self, place):
        self.place = place
        self.servers = {}
        self.extras = {}
        self.headers = users.write_headers(place.folder / "headers", map(users.name, range(users.COUNT)))
        self.key = subprocess.check_output([BUILD / "latchkey", "keygen"], text=True).strip()
        self.oidc = None

    def extra(self, name, make):
        if name not in self.extras:
            self.extras[name] = make()
        return self.extras[name]

    def provider(self, slow=False):
        def make():
            port = free_port()
            options = ["--slow-percent", 1, "--slow-ms", 500] if slow else []
            return self.place.start([BUILD / "bench_provider", "--port", port, *options], port, processor=LOAD_CPU)
        return f"http://127.0.0.1:{self.extra(f'provider{slow}', make).port}"

    def redis(self, name="redis"):
        def make():
            port = free_port()
            argv = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", self.place.folder, "--save", "",
                    "--appendonly", "no", "--dbfilename", f"{name}.rdb"]
            return self.place.start(argv, port, processor=LOAD_CPU)
        return f"redis://127.0.0.1:{self.extra(name, make).port}"

    def latchkey(self, name, states="memory", accounts=None, slow=False):
        port, provider = free_port(), self.provider(slow)
        env = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": users.SECRET_KEY,
            "AUDIBLE_CLIENT_ID": "bench",
            "AUDIBLE_CLIENT_SECRET": "bench-secret",
            "AUDIBLE_REDIRECT_URI": f"http://127.0.0.1:{port}{API}/oauth/callback",
            "AUDIBLE_AUTH_URL": provider + "/auth/oauth2",
            "AUDIBLE_API_BASE_URL": provider + "/api",
            "AUDIBLE_TOKEN_ENCRYPTION_KEY": self.key,
            # Limits are on, at a value that no one reaches.
            "AUDIBLE_RATE_LIMIT_PER_MINUTE": "1000000",
            "LATCHKEY_RATE_LIMIT_PER_MINUTE": "1000000",
            "LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE": "1000000",
            "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE": "1000000",
            "LATCHKEY_STATE_STORE": states,
            "LATCHKEY_ACCOUNT_STORE": accounts or f"sqlite:{self.place.folder}/{name}.db",
            "LATCHKEY_STATE_MAX": "4000000",
            "LATCHKEY_MAX_CONNECTIONS": "12000",
            "LATCHKEY_LISTEN": f"127.0.0.1:{port}",
            "LATCHKEY_LOG_LEVEL": "warning",
        }
        return self.place.start([BUILD / "latchkey", "serve"], port, env=env)

    def bare(self, answer_bytes):
        port = free_port()
        return self.place.start([BUILD / "bench_bare", "--port", port, "--answer-bytes", answer_bytes], port)

    def nginx(self):
        port, folder = free_port(), self.place.folder / "nginx"
        folder.mkdir()
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type application/json;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 '{CONSTANT}'; }} }}
}}
""")
        argv = ["/usr/sbin/nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
        return self.place.start(argv, port, user=self.place.ordinary_user(folder))

    def peer_settings(self, name, port, redis, slow):
        env = {"PATH": os.environ["PATH"], "PORT": str(port), "SECRET_KEY": users.SECRET_KEY, "FERNET_KEY": self.key,
               "PROVIDER_URL": self.provider(slow), "DATABASE": str(self.place.folder / f"{name}.db")}
        return env | ({"REDIS_URL": self.redis()} if redis else {})

    def fastify(self, name, redis=False, slow=False):
        port = free_port()
        env = self.peer_settings(name, port, redis, slow) | {
            "NODE_ENV": "production", "PEER_MODULES": str(PEERS / "fastify" / "node_modules") + "/"}
        return self.place.start(["node", BENCH / "peers" / "fastify" / "app.mjs"], port, env=env)

    def fastapi(self, name, redis=False, slow=False):
        port = free_port()
        env = self.peer_settings(name, port, redis, slow) | {
            "PYTHONPATH": str(PEERS / "fastapi"), "PYTHONDONTWRITEBYTECODE": "1"}
        argv = ["/usr/bin/python3", "-m", "uvicorn", "app:app", "--app-dir", BENCH / "peers" / "fastapi",
                "--port", port, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
                "--backlog", "4096"]
        return self.place.start(argv, port, env=env)

    def identity(self):
        self.oidc = self.oidc or oidc.Provider(self.place.folder)
        return self.oidc.url

    def oauth2_proxy(self):
        port, url = free_port(), self.identity()
        options = {
            "http-address": f"127.0.0.1:{port}", "provider": "oidc", "oidc-issuer-url": url,
            "skip-oidc-discovery": "true", "login-url": f"{url}/authorize", "redeem-url": f"{url}/token",
            "oidc-jwks-url": f"{url}/jwks", "client-id": "bench", "client-secret": "bench-secret",
            "redirect-url": f"http://127.0.0.1:{port}/oauth2/callback", "cookie-secret": secrets.token_hex(16),
            "cookie-secure": "false", "email-domain": "*", "upstream": "static://202", "code-challenge-method": "S256",
            "request-logging": "false", "auth-logging": "false", "standard-logging": "false", "ssl-insecure-skip-verify": "true",
        }
        argv = [PEERS / "oauth2-proxy" / "oauth2-proxy", *(f"--{name}={value}" for name, value in options.items())]
        server = self.place.start(argv, port, env={"PATH": os.environ["PATH"]}, log=self.place.folder / "oauth2-proxy.log")
        self.extra("oauth2-proxy sessions", lambda: oidc.write_sessions(
            self.place.folder / "oauth2-proxy.sessions", port, "/oauth2/start?rd=/", users.COUNT))
        return server

    def mod_auth_openidc(self):
        port, url, folder = free_port(), self.identity(), self.place.folder / "apache"
        (folder / "html").mkdir(parents=True)
        (folder / "html" / "index.html").write_text(CONSTANT)
        modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                          for name in ("mpm_event", "authn_core", "authz_core", "authz_user", "dir", "auth_openidc"))
        (folder / "apache.conf").write_text(modules + f"""
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
LogLevel crit
DocumentRoot {folder}/html
DirectoryIndex index.html
KeepAlive On
MaxKeepAliveRequests 0
StartServers 1
ServerLimit 1
ThreadLimit 160
ThreadsPerChild 160
MaxRequestWorkers 160
OIDCProviderIssuer {url}
OIDCProviderAuthorizationEndpoint {url}/authorize
OIDCProviderTokenEndpoint {url}/token
OIDCProviderTokenEndpointAuth client_secret_post
OIDCProviderJwksUri {url}/jwks
OIDCClientID bench
OIDCClientSecret bench-secret
OIDCRedirectURI http://127.0.0.1:{port}/redirect_uri
OIDCCryptoPassphrase {secrets.token_hex(16)}
OIDCPKCEMethod S256
OIDCSSLValidateServer Off
OIDCCacheShmMax 20000
OIDCSessionInactivityTimeout 43200
<Location />
  AuthType openid-connect
  Require valid-user
</Location>
""")
        argv = ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", folder / "apache.conf"]
        server = self.place.start(argv, port, user=self.place.ordinary_user(folder), log=self.place.folder / "apache.log")
        self.extra("mod_auth_openidc sessions", lambda: oidc.write_sessions(
            self.place.folder / "apache.sessions", port, "/", users.COUNT))
        return server

    def start(self, name, slow):
        base, _, redis = name.partition("+")
        label = name.replace("+", "-") + ("-slow" if slow else "")
        if base == "latchkey":
            stores = (self.redis(), self.redis()) if redis else ("memory", None)
            return self.latchkey(label, *stores, slow=slow)
        if base in ("fastify", "fastapi"):
            return getattr(self, base)(label, bool(redis), slow)
        return getattr(self, base.replace("-", "_"))()

    def server(self, name, slow=False):
        """The running one of that name (the bare loop is started by its answer's size, not here)."""
        if (name, slow) not in self.servers:
            self.servers[name, slow] = self.start(name, slow)
        return self.servers[name, slow]

    def request(self, name, scenario):
        """What this contestant is asked in a scenario: the proxies start a login, or check a session."""
        sessions = self.extras.get(f"{name} sessions")
        if sessions is None:
            asked = scenario.request
            return Request(asked.method, asked.path, asked.body, asked.mix, asked.makes, self.headers)
        if scenario.name == "connected":
            path = "/oauth2/auth" if name == "oauth2-proxy" else "/"
            return Request("GET", path, headers=sessions)
        nobody = self.place.folder / "nobody"
        nobody.write_text("Accept: text/html,*/*\n")
        path = "/oauth2/start?rd=/" if name == "oauth2-proxy" else "/"
        return Request("GET", path, headers=nobody)

    def close(self):
        if self.oidc:
            self.oidc.close()
