# SPDX-License-Identifier: MIT
"""A login at oauth2-proxy and mod_auth_openidc as a browser makes it, and the little of a provider that they
need for it: none of it is measured, only the sessions that come of it are used."""
import base64
import datetime
import http.client
import http.cookies
import http.server
import json
import ssl
import threading
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def write_certificate(path, key):
    """mod_auth_openidc insists on https. Whoever asks here is told not to check the name."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider.example")])
    now = datetime.datetime.utcnow()
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1)).sign(
        key, hashes.SHA256())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM))


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """/token gives an identity for any code, which is the nonce; /jwks the key that signed it."""

    def __init__(self, folder):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.logins = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave together
            disable_nagle_algorithm = True

            def do_GET(self):
                outer.answer(self, outer.jwks())

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                outer.answer(self, outer.tokens(form["code"][0]))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        write_certificate(folder / "provider.pem", self.key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "provider.pem")
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def answer(handler, value):
        body = json.dumps(value).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def jwks(self):
        numbers = self.key.public_key().public_numbers()
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench",
                          "n": part(numbers.n.to_bytes(256, "big")), "e": part(b"\1\0\1")}]}

    def tokens(self, nonce):
        self.logins += 1
        now = int(time.time())
        claims = {"iss": self.url, "sub": f"user-{self.logins:06d}", "aud": "bench", "iat": now, "exp": now + 12 * 3600,
                  "nonce": nonce, "email": f"user-{self.logins:06d}@example.org", "email_verified": True}
        signed = part(b'{"alg":"RS256","kid":"bench"}') + "." + part(json.dumps(claims).encode())
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {"access_token": "a" * 60, "token_type": "Bearer", "expires_in": 12 * 3600,
                "id_token": signed + "." + part(signature)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def get(connection, path, cookies):
    head = {"Accept": "*/*"}
    if cookies:
        head["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    connection.request("GET", path, headers=head)
    answer = connection.getresponse()
    answer.read()
    for line in answer.headers.get_all("Set-Cookie") or []:
        for name, morsel in http.cookies.SimpleCookie(line).items():
            if morsel.value:
                cookies[name] = morsel.value
            else:
                cookies.pop(name, None)
    return answer.status, answer.headers.get("Location", "")


def write_sessions(path, port, start, count):
    """Logs `count` users in at the server; a header line with the cookies of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with path.open("w") as out:
        for _ in range(count):
            cookies = {}
            status, location = get(connection, start, cookies)
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)
            assert status in (302, 303), (start, status)
            back = urllib.parse.urlsplit(asked["redirect_uri"][0]).path
            query = urllib.parse.urlencode({"code": asked.get("nonce", ["none"])[0], "state": asked["state"][0]})
            status, _ = get(connection, f"{back}?{query}", cookies)
            assert status in (302, 303), (back, status)
            out.write("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()) + "\n")
    return path
