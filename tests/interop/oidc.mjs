#!/usr/bin/env node
// SPDX-License-Identifier: MIT
//
// Latchkey against an OpenID-certified provider (npm's oidc-provider) that requires PKCE and sends
// `iss`: its own login and consent pages are walked through as a browser without scripts would. See
// tests/run for the environment.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

import { cookiesOf, freePort, startLatchkey, Tally } from '../kit/programs.mjs';

const require = createRequire(process.env.TEST_NODE_MODULES);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const WAIT_MS = 15_000;
const CLIENT = { id: 'latchkey', secret: 'a client secret with +, / and % in it' };

async function startProvider(redirectUri) {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const tokenRequests = [];
  const revocations = [];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    routes: {
      authorization: '/auth/oauth2/authorize',
      token: '/auth/oauth2/token',
      revocation: '/auth/oauth2/revoke',
    },
    scopes: ['library', 'profile'],
    pkce: { required: () => true },
    issueRefreshToken: () => true,
    features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    cookies: { keys: ['only a test'] },
    ttl: { AccessToken: 1234, Grant: 3600, Interaction: 600, Session: 3600, RefreshToken: 3600 },
  });
  const revoked = new EventEmitter();
  const grantsRevoked = [];
  provider.on('grant.revoked', (ctx, grantId) => grantsRevoked.push(grantId));
  provider.on('server_error', (ctx, error) => console.log(`oidc-provider: ${error.stack}`));
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path.endsWith('/token')) {
      tokenRequests.push({ status: ctx.status, params: { ...ctx.oidc?.params }, body: ctx.body });
    } else if (ctx.path.endsWith('/revoke')) {
      revocations.push({ status: ctx.status, params: { ...ctx.oidc?.params } });
      revoked.emit('revocation');
    }
  });
  const server = provider.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { issuer, tokenRequests, revocations, revoked, grantsRevoked, stop };
}

/** Follows redirects, keeps cookies, fills in forms; stops at an address that isn't the provider's. */
class Browser {
  cookies = new Map();

  async open(url, form) {
    const answer = await fetch(url, {
      method: form ? 'POST' : 'GET',
      headers: { Cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      body: form && new URLSearchParams(form),
      redirect: 'manual',
    });
    for (const line of cookiesOf(answer.headers)) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      this.cookies.set(name, value);
    }
    return { url, status: answer.status, to: answer.headers.get('location'), text: await answer.text() };
  }

  /** Logs in and consents, or cancels: where the provider sends the browser back to. */
  async passProvider(authUrl, issuer, decision) {
    let page = await this.open(authUrl);
    for (let i = 0; i < 12; i++) {
      if (page.to) {
        const next = new URL(page.to, page.url);
        if (next.origin !== issuer) {
          return next;
        }
        page = await this.open(next);
        continue;
      }
      assert.equal(page.status, 200, page.text);
      const [, action] = page.text.match(/<form[^>]* action="([^"]+)"/);
      const [, prompt] = page.text.match(/name="prompt" value="(\w+)"/);
      const [, abort] = page.text.match(/href="([^"]+\/abort)"/);
      if (prompt === 'consent' && decision === 'cancel') {
        page = await this.open(abort);
      } else {
        const form = prompt === 'login' ? { prompt, login: 'robin', password: 'any' } : { prompt };
        page = await this.open(action, form);
      }
    }
    return assert.fail('the provider sends us in circles');
  }
}

const port = await freePort();
const callback = `http://127.0.0.1:${port}/api/v1/user/audible/oauth/callback`;
const provider = await startProvider(callback);
const settings = {
  AUDIBLE_CLIENT_ID: CLIENT.id,
  AUDIBLE_CLIENT_SECRET: CLIENT.secret,
  AUDIBLE_REDIRECT_URI: callback,
  AUDIBLE_AUTH_URL: `${provider.issuer}/auth/oauth2`,
  AUDIBLE_REVOKE_URL: `${provider.issuer}/auth/oauth2/revoke`,
  AUDIBLE_ISSUER: provider.issuer,
  AUDIBLE_RATE_LIMIT_PER_MINUTE: '0',
  LATCHKEY_RETURN_URL: 'http://127.0.0.1/back?from=latchkey#top',
};
const latchkey = await startLatchkey(settings, port);
const tally = new Tally();

async function authorize(user) {
  const answer = await latchkey.call(user, 'POST', '/oauth/authorize', { redirect_uri: callback });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const [cookie] = cookiesOf(answer.headers);
  return { ...answer.body, cookie: cookie.split(';')[0] };
}

/** Up to the way back: code, state and iss of one who consents. */
async function consent(user, decision = 'allow') {
  const wish = await authorize(user);
  const back = await new Browser().passProvider(wish.auth_url, provider.issuer, decision);
  assert.equal(back.origin + back.pathname, callback);
  assert.equal(back.searchParams.get('state'), wish.state);
  return { ...wish, back, code: back.searchParams.get('code') };
}

const post = (user, { code, state }) => latchkey.call(user, 'POST', '/oauth/callback', { code, state });
const isConnected = async (user) => (await latchkey.call(user, 'GET', '/connected')).body.connected;

/** The browser's way back: where Latchkey sends it. */
async function goBack(url, cookie) {
  const answer = await fetch(url, { headers: { Cookie: cookie }, redirect: 'manual' });
  assert.equal(answer.status, 303);
  return answer.headers.get('location');
}

await tally.test('authorize, code, callback, connected, disconnect', async () => {
  const user = latchkey.token('one');
  const granted = await consent(user);
  const answer = await post(user, granted);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal(answer.body.status, 'connected');
  assert.equal(answer.body.audible_user_id, null, 'this provider names no user');
  const { status, params, body } = provider.tokenRequests.at(-1);
  assert.equal(status, 200);
  assert.equal(params.grant_type, 'authorization_code');
  assert.equal(params.redirect_uri, callback);
  assert.equal(body.scope, 'library profile');
  assert.equal(await isConnected(user), true);

  // The provider is told in the background, after the answer; with the token goes the grant.
  const told = once(provider.revoked, 'revocation', { signal: AbortSignal.timeout(WAIT_MS) });
  const gone = await latchkey.call(user, 'POST', '/disconnect');
  assert.deepEqual([gone.status, gone.body], [200, { status: 'disconnected' }]);
  assert.equal(await isConnected(user), false);
  await told;
  const revocation = provider.revocations.at(-1);
  assert.equal(revocation.status, 200);
  assert.equal(revocation.params.token, body.refresh_token);
  assert.equal(provider.grantsRevoked.length, 1);
  const refresh = await fetch(`${provider.issuer}/auth/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: body.refresh_token,
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
    }),
  });
  assert.deepEqual([refresh.status, (await refresh.json()).error], [400, 'invalid_grant']);
});

await tally.test('the browser comes back by itself, and iss is checked', async () => {
  const user = latchkey.token('two');
  const granted = await consent(user);
  assert.equal(granted.back.searchParams.get('iss'), provider.issuer);
  const mixedUp = new URL(granted.back);
  mixedUp.searchParams.set('iss', 'https://elsewhere.example');
  assert.match(await goBack(mixedUp, granted.cookie), /[?&]audible=error&reason=\w+#top$/);
  assert.equal(await isConnected(user), false);
  assert.equal(
    await goBack(granted.back, granted.cookie),
    'http://127.0.0.1/back?from=latchkey&audible=connected#top',
  );
  assert.equal(await isConnected(user), true);
});

await tally.test('who cancels comes back with access_denied', async () => {
  const user = latchkey.token('three');
  const granted = await consent(user, 'cancel');
  assert.equal(granted.back.searchParams.get('error'), 'access_denied');
  assert.equal(
    await goBack(granted.back, granted.cookie),
    'http://127.0.0.1/back?from=latchkey&audible=error&reason=access_denied#top',
  );
  assert.equal(await isConnected(user), false);
});

await tally.test('the provider holds us to PKCE', async () => {
  const user = latchkey.token('four');
  const wish = await authorize(user);
  const bare = new URL(wish.auth_url);
  bare.searchParams.delete('code_challenge');
  bare.searchParams.delete('code_challenge_method');
  const back = await new Browser().passProvider(bare, provider.issuer, 'allow');
  assert.equal(back.searchParams.get('error'), 'invalid_request');

  const first = await consent(user);
  const second = await consent(user);
  const crossed = await post(user, { code: first.code, state: second.state });
  assert.deepEqual([crossed.status, crossed.body.detail], [400, 'audible_oauth_failed']);
  assert.equal(provider.tokenRequests.at(-1).body.error, 'invalid_grant');
  assert.equal(await isConnected(user), false);
});

await tally.test('a code works once', async () => {
  const user = latchkey.token('five');
  const granted = await consent(user);
  assert.equal((await post(user, granted)).status, 200);
  const before = provider.tokenRequests.length;
  assert.equal((await post(user, granted)).body.detail, 'invalid_state_parameter');
  assert.equal(provider.tokenRequests.length, before, 'a used state reaches no provider');
  const { state } = await authorize(user);
  const again = await post(user, { code: granted.code, state });
  assert.deepEqual([again.status, again.body.detail], [400, 'audible_oauth_failed']);
});

await tally.test('a client with the wrong secret is unavailable', async () => {
  const other = await startLatchkey({ ...settings, AUDIBLE_CLIENT_SECRET: 'another secret' });
  let answer;
  try {
    const user = other.token('six');
    const wish = await other.call(user, 'POST', '/oauth/authorize', { redirect_uri: callback });
    const back = await new Browser().passProvider(wish.body.auth_url, provider.issuer, 'allow');
    answer = await other.call(user, 'POST', '/oauth/callback', {
      code: back.searchParams.get('code'),
      state: back.searchParams.get('state'),
    });
  } finally {
    await other.stop();
  }
  assert.deepEqual([answer.status, answer.body.detail], [503, 'audible_service_unavailable']);
  assert.equal(provider.tokenRequests.at(-1).body.error, 'invalid_client');
});

await tally.test('no log line holds what the provider gave', async () => {
  const issued = provider.tokenRequests.filter(({ status }) => status === 200);
  assert.ok(issued.length >= 3);
  const secrets = issued.flatMap(({ params, body }) => [
    params.code,
    params.code_verifier,
    body.access_token,
    body.refresh_token,
  ]);
  for (const secret of [...secrets, CLIENT.secret]) {
    assert.ok(secret.length >= 20);
    assert.ok(!latchkey.log().includes(secret));
  }
});

await tally.test('and Latchkey ends well', () => latchkey.stop());
provider.stop();
tally.finish();
