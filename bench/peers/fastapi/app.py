# SPDX-License-Identifier: MIT
"""The same endpoints as a platform's team would write them in FastAPI, with what its documentation
advises for production: uvicorn with uvloop and httptools, one process a core, one httpx client, no access
log. Accounts are in SQLite with the durability that Latchkey has; states in memory or in Redis.

Settings: SECRET_KEY, FERNET_KEY, PROVIDER_URL, DATABASE, and REDIS_URL for states in Redis."""
import base64
import contextlib
import datetime
import hashlib
import os
import secrets
import time
import urllib.parse
from typing import Annotated

import aiosqlite
import httpx
import jwt
import redis.asyncio
from cryptography.fernet import Fernet
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

SECRET_KEY = os.environ["SECRET_KEY"]
PROVIDER = os.environ["PROVIDER_URL"]
REDIRECT_URI = "https://app.example/back"
STATE_TTL_S = 900
fernet = Fernet(os.environ["FERNET_KEY"])
bearer = HTTPBearer(auto_error=False)


class Authorize(BaseModel):
    redirect_uri: str


class Authorized(BaseModel):
    auth_url: str
    state: str
    code_challenge: str
    code_challenge_method: str = "S256"


class Callback(BaseModel):
    code: str = Field(min_length=1, max_length=4096)
    state: str = Field(min_length=1, max_length=4096)


class Linked(BaseModel):
    status: str = "connected"
    audible_user_id: str | None
    synced_at: datetime.datetime


class Connected(BaseModel):
    connected: bool
    audible_user_id: str | None = None
    synced_at: datetime.datetime | None = None
    last_sync_error: str | None = None


class Audiobook(BaseModel):
    asin: str
    title: str
    author: str
    narrator: str | None
    image: str | None
    description: str | None
    duration_minutes: int
    rating: float | None
    is_owned: bool
    source: str = "audible"


class MemoryStates:
    def __init__(self):
        self.states = {}

    async def put(self, state, user_id, verifier):
        self.states[state] = (user_id, verifier, time.monotonic() + STATE_TTL_S)

    async def take(self, state, user_id):
        entry = self.states.get(state)
        if entry is None or entry[0] != user_id:
            return None
        del self.states[state]
        return entry[1] if entry[2] > time.monotonic() else None


class RedisStates:
    TAKE = """local found = redis.call('hmget', KEYS[1], 'user', 'verifier')
    if found[1] ~= ARGV[1] then return nil end
    redis.call('del', KEYS[1])
    return found[2]"""

    def __init__(self, url):
        self.redis = redis.asyncio.from_url(url, decode_responses=True)
        self.take_script = self.redis.register_script(self.TAKE)

    async def put(self, state, user_id, verifier):
        key = f"state:{hashlib.sha256(state.encode()).hexdigest()}"
        async with self.redis.pipeline(transaction=True) as pipe:
            await pipe.hset(key, mapping={"user": user_id, "verifier": verifier}).expire(key, STATE_TTL_S).execute()

    async def take(self, state, user_id):
        key = f"state:{hashlib.sha256(state.encode()).hexdigest()}"
        return await self.take_script(keys=[key], args=[user_id])


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.states = RedisStates(os.environ["REDIS_URL"]) if "REDIS_URL" in os.environ else MemoryStates()
    async with aiosqlite.connect(os.environ["DATABASE"]) as database, httpx.AsyncClient(timeout=30) as client:
        await database.execute("pragma journal_mode = wal")
        await database.execute("pragma synchronous = full")
        await database.execute(
            "create table if not exists accounts (user_id text primary key, audible_user_id text, access_token text,"
            " refresh_token text, expires_at real, synced_at real, last_sync_error text)")
        app.state.database, app.state.client = database, client
        yield


app = FastAPI(lifespan=lifespan, docs_url=None)


def premium_user(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    if credentials is None:
        raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(credentials.credentials, SECRET_KEY, ["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from None
    if claims.get("subscription_tier") not in ("premium", "family"):
        raise HTTPException(403, "audible_requires_premium")
    return claims["sub"]


User = Annotated[str, Depends(premium_user)]


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}


@app.post("/api/v1/user/audible/oauth/authorize")
async def authorize(request: Request, response: Response, body: Authorize, user: User) -> Authorized:
    response.headers["X-Request-ID"] = request.headers.get("X-Request-ID", "")
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    await request.app.state.states.put(state, user, verifier)
    query = urllib.parse.urlencode({
        "client_id": "bench", "response_type": "code", "redirect_uri": REDIRECT_URI, "state": state,
        "scope": "library profile", "code_challenge": challenge, "code_challenge_method": "S256"})
    return Authorized(auth_url=f"{PROVIDER}/auth/oauth2/authorize?{query}", state=state, code_challenge=challenge)


@app.post("/api/v1/user/audible/oauth/callback")
async def callback(request: Request, body: Callback, user: User) -> Linked:
    verifier = await request.app.state.states.take(body.state, user)
    if verifier is None:
        raise HTTPException(400, "invalid_state_parameter")
    answer = await request.app.state.client.post(f"{PROVIDER}/auth/oauth2/token", data={
        "grant_type": "authorization_code", "code": body.code, "redirect_uri": REDIRECT_URI,
        "client_id": "bench", "client_secret": "bench-secret", "code_verifier": verifier})
    if answer.status_code != 200:
        raise HTTPException(400, "audible_oauth_failed")
    tokens, now = answer.json(), time.time()
    await request.app.state.database.execute(
        "insert or replace into accounts values (?, ?, ?, ?, ?, ?, null)",
        (user, tokens["user_id"], fernet.encrypt(tokens["access_token"].encode()).decode(),
         fernet.encrypt(tokens["refresh_token"].encode()).decode(), now + tokens["expires_in"], now))
    await request.app.state.database.commit()
    return Linked(audible_user_id=tokens["user_id"], synced_at=datetime.datetime.fromtimestamp(now, datetime.UTC))


async def account_of(request, user):
    async with request.app.state.database.execute(
            "select audible_user_id, access_token, synced_at, last_sync_error from accounts where user_id = ?",
            (user,)) as cursor:
        return await cursor.fetchone()


@app.get("/api/v1/user/audible/connected")
async def connected(request: Request, user: User) -> Connected:
    row = await account_of(request, user)
    if row is None:
        return Connected(connected=False)
    return Connected(connected=True, audible_user_id=row[0], last_sync_error=row[3],
                     synced_at=datetime.datetime.fromtimestamp(row[2], datetime.UTC))


def audiobook(product):
    narrators, images = product.get("narrators") or [], product.get("product_images") or {}
    return Audiobook(
        asin=product.get("asin", ""), title=product.get("title", ""), author=product.get("author_name", ""),
        narrator=narrators[0].get("name") if narrators else None, image=images.get("500"),
        description=product.get("product_desc"), duration_minutes=product.get("runtime_length_ms", 0) // 60000,
        rating=product.get("rating"), is_owned=True)


@app.get("/api/v1/user/audible/library")
async def library(request: Request, user: User, skip: Annotated[int, Query(ge=0)] = 0,
                  limit: Annotated[int, Query(ge=1)] = 20) -> list[Audiobook]:
    row = await account_of(request, user)
    if row is None:
        raise HTTPException(400, "Audible account not connected")
    token = fernet.decrypt(row[1].encode()).decode()
    answer = await request.app.state.client.get(
        f"{PROVIDER}/api/1.0/library", headers={"Authorization": f"Bearer {token}"},
        params={"limit": min(limit, 100), "offset": skip, "sort": "date_added",
                "response_groups": "product_attrs,product_desc,reviews,series"})
    if answer.status_code != 200:
        raise HTTPException(503, "audible_service_unavailable")
    return [audiobook(item["product"]) for item in answer.json()["items"]]
