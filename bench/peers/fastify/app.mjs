// SPDX-License-Identifier: MIT
// The same endpoints as a platform's team would write them in Fastify, with what its documentation
// advises for production: schemas for bodies and answers, fast-jwt with its cache, undici's pool, no
// request log. Accounts are in SQLite with the durability that Latchkey has; states in memory or in Redis.
//
// Settings: PORT, SECRET_KEY, FERNET_KEY, PROVIDER_URL, DATABASE, and REDIS_URL for states in Redis;
// PEER_MODULES, the folder of its packages, with a slash at the end.
import crypto from 'node:crypto';
import { createRequire } from 'node:module';

const require = createRequire(process.env.PEER_MODULES);
const Fastify = require('fastify');
const { createVerifier } = require('fast-jwt');
const { Pool } = require('undici');
const Database = require('better-sqlite3');
const Redis = require('ioredis');

const env = process.env;
const REDIRECT_URI = 'https://app.example/back';
const STATE_TTL_MS = 900_000;
const PREFIX = '/api/v1/user/audible';

class MemoryStates {
  states = new Map();

  async put(state, user, verifier) {
    this.states.set(state, { user, verifier, until: Date.now() + STATE_TTL_MS });
  }

  async take(state, user) {
    const entry = this.states.get(state);
    if (entry === undefined || entry.user !== user) return null;
    this.states.delete(state);
    return entry.until > Date.now() ? entry.verifier : null;
  }
}

class RedisStates {
  constructor(url) {
    this.redis = new Redis(url, { enableAutoPipelining: true });
    this.redis.defineCommand('takeState', {
      numberOfKeys: 1,
      lua: `local found = redis.call('hmget', KEYS[1], 'user', 'verifier')
        if found[1] ~= ARGV[1] then return nil end
        redis.call('del', KEYS[1])
        return found[2]`,
    });
  }

  key(state) {
    return `state:${crypto.createHash('sha256').update(state).digest('hex')}`;
  }

  async put(state, user, verifier) {
    const key = this.key(state);
    await this.redis.multi().hset(key, { user, verifier }).pexpire(key, STATE_TTL_MS).exec();
  }

  take(state, user) {
    return this.redis.takeState(this.key(state), user);
  }
}

// Fernet, as its specification has it: there is no maintained package.
const fernetKey = Buffer.from(env.FERNET_KEY, 'base64url');
const signingKey = fernetKey.subarray(0, 16);
const encryptionKey = fernetKey.subarray(16);

function seal(text) {
  const iv = crypto.randomBytes(16);
  const cipher = crypto.createCipheriv('aes-128-cbc', encryptionKey, iv);
  const head = Buffer.alloc(9);
  head[0] = 0x80;
  head.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000)), 1);
  const body = Buffer.concat([head, iv, cipher.update(text, 'utf8'), cipher.final()]);
  const tag = crypto.createHmac('sha256', signingKey).update(body).digest();
  return Buffer.concat([body, tag]).toString('base64url');
}

function open(token) {
  const bytes = Buffer.from(token, 'base64url');
  const body = bytes.subarray(0, -32);
  const tag = crypto.createHmac('sha256', signingKey).update(body).digest();
  if (!crypto.timingSafeEqual(tag, bytes.subarray(-32))) throw new Error('not one of ours');
  const cipher = crypto.createDecipheriv('aes-128-cbc', encryptionKey, body.subarray(9, 25));
  return cipher.update(body.subarray(25), undefined, 'utf8') + cipher.final('utf8');
}

const database = new Database(env.DATABASE);
database.pragma('journal_mode = wal');
database.pragma('synchronous = full');
database.exec(`create table if not exists accounts (user_id text primary key, audible_user_id text,
  access_token text, refresh_token text, expires_at real, synced_at integer, last_sync_error text)`);
const putAccount = database.prepare('insert or replace into accounts values (?, ?, ?, ?, ?, ?, null)');
const getAccount = database.prepare('select * from accounts where user_id = ?');

const states = env.REDIS_URL ? new RedisStates(env.REDIS_URL) : new MemoryStates();
const provider = new Pool(env.PROVIDER_URL, { connections: 100 });
const verify = createVerifier({ key: env.SECRET_KEY, algorithms: ['HS256'], cache: 10000, requiredClaims: ['exp', 'sub'] });
const app = Fastify({ logger: false });

class HttpError extends Error {
  constructor(statusCode, detail) {
    super(detail);
    this.statusCode = statusCode;
  }
}
app.setErrorHandler((error, request, reply) => {
  reply.code(error.statusCode ?? 500).send({ detail: error.statusCode ? error.message : 'internal_error' });
});

app.decorateRequest('user', '');
async function premiumUser(request) {
  const header = request.headers.authorization;
  if (!header?.startsWith('Bearer ')) throw new HttpError(401, 'Not authenticated');
  let claims;
  try {
    claims = verify(header.slice(7));
  } catch {
    throw new HttpError(401, 'Could not validate credentials');
  }
  if (claims.subscription_tier !== 'premium' && claims.subscription_tier !== 'family') {
    throw new HttpError(403, 'audible_requires_premium');
  }
  request.user = claims.sub;
}

const text = { type: 'string' };
const maybeText = { type: ['string', 'null'] };
const object = (properties) => ({ type: 'object', properties });
const answers = (schema) => ({ response: { 200: schema } });
const body = (properties) => ({ body: { ...object(properties), required: Object.keys(properties) } });

app.get('/healthz', { schema: answers(object({ status: text })) }, async () => ({ status: 'ok' }));

app.post(`${PREFIX}/oauth/authorize`, {
  onRequest: premiumUser,
  schema: {
    ...body({ redirect_uri: text }),
    ...answers(object({ auth_url: text, state: text, code_challenge: text, code_challenge_method: text })),
  },
}, async (request, reply) => {
  reply.header('X-Request-ID', request.headers['x-request-id'] ?? '');
  const state = crypto.randomBytes(32).toString('base64url');
  const verifier = crypto.randomBytes(32).toString('base64url');
  const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
  await states.put(state, request.user, verifier);
  const query = new URLSearchParams({
    client_id: 'bench', response_type: 'code', redirect_uri: REDIRECT_URI, state, scope: 'library profile',
    code_challenge: challenge, code_challenge_method: 'S256',
  });
  return {
    auth_url: `${env.PROVIDER_URL}/auth/oauth2/authorize?${query}`,
    state, code_challenge: challenge, code_challenge_method: 'S256',
  };
});

app.post(`${PREFIX}/oauth/callback`, {
  onRequest: premiumUser,
  schema: {
    ...body({ code: { ...text, minLength: 1, maxLength: 4096 }, state: { ...text, minLength: 1, maxLength: 4096 } }),
    ...answers(object({ status: text, audible_user_id: maybeText, synced_at: text })),
  },
}, async (request) => {
  const verifier = await states.take(request.body.state, request.user);
  if (!verifier) throw new HttpError(400, 'invalid_state_parameter');
  const answer = await provider.request({
    method: 'POST', path: '/auth/oauth2/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'authorization_code', code: request.body.code, redirect_uri: REDIRECT_URI,
      client_id: 'bench', client_secret: 'bench-secret', code_verifier: verifier,
    }).toString(),
  });
  if (answer.statusCode !== 200) throw new HttpError(400, 'audible_oauth_failed');
  const tokens = await answer.body.json();
  const now = Date.now();
  putAccount.run(request.user, tokens.user_id, seal(tokens.access_token), seal(tokens.refresh_token),
    now / 1000 + tokens.expires_in, now);
  return { status: 'connected', audible_user_id: tokens.user_id, synced_at: new Date(now).toISOString() };
});

app.get(`${PREFIX}/connected`, {
  onRequest: premiumUser,
  schema: answers(object({
    connected: { type: 'boolean' }, audible_user_id: maybeText, synced_at: maybeText, last_sync_error: maybeText,
  })),
}, async (request) => {
  const row = getAccount.get(request.user);
  if (!row) return { connected: false, audible_user_id: null, synced_at: null, last_sync_error: null };
  return {
    connected: true, audible_user_id: row.audible_user_id, synced_at: new Date(row.synced_at).toISOString(),
    last_sync_error: row.last_sync_error,
  };
});

function audiobook({ product }) {
  return {
    asin: product.asin ?? '', title: product.title ?? '', author: product.author_name ?? '',
    narrator: product.narrators?.[0]?.name ?? null, image: product.product_images?.['500'] ?? null,
    description: product.product_desc ?? null, duration_minutes: Math.floor((product.runtime_length_ms ?? 0) / 60000),
    rating: product.rating ?? null, is_owned: true, source: 'audible',
  };
}

app.get(`${PREFIX}/library`, {
  onRequest: premiumUser,
  schema: {
    querystring: object({
      skip: { type: 'integer', minimum: 0, default: 0 }, limit: { type: 'integer', minimum: 1, default: 20 },
    }),
    ...answers({
      type: 'array',
      items: object({
        asin: text, title: text, author: text, narrator: maybeText, image: maybeText, description: maybeText,
        duration_minutes: { type: 'integer' }, rating: { type: ['number', 'null'] }, is_owned: { type: 'boolean' },
        source: text,
      }),
    }),
  },
}, async (request) => {
  const row = getAccount.get(request.user);
  if (!row) throw new HttpError(400, 'Audible account not connected');
  const query = new URLSearchParams({
    limit: Math.min(request.query.limit, 100), offset: request.query.skip, sort: 'date_added',
    response_groups: 'product_attrs,product_desc,reviews,series',
  });
  const answer = await provider.request({
    method: 'GET', path: `/api/1.0/library?${query}`, headers: { authorization: `Bearer ${open(row.access_token)}` },
  });
  if (answer.statusCode !== 200) throw new HttpError(503, 'audible_service_unavailable');
  return (await answer.body.json()).items.map(audiobook);
});

await app.listen({ host: '127.0.0.1', port: Number(env.PORT) });
process.on('SIGTERM', () => process.exit(0));
