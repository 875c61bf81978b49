// SPDX-License-Identifier: MIT
// The platform's calls: one to itself, the others to Latchkey, from the browser, through CORS.

const base = '/api/v1/user/audible';

/** An answer that isn't a success; `code` is Latchkey's `detail`. */
export class Refusal extends Error {
  constructor(status, code) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

async function call(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, signal: AbortSignal.timeout(45_000) });
  } catch {
    throw new Refusal(0, 'unreachable');
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Refusal(answer.status, String(body?.detail ?? 'unknown'));
  }
  return body;
}

/** A token for one of the sample users, and where Latchkey is. */
export function signIn(user) {
  return call('/platform/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user }),
  });
}

function latchkey(session, method, path, body) {
  const headers = { Authorization: `Bearer ${session.token}` };
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
  }
  return call(session.latchkey_url + base + path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    // So that authorize can leave the cookie that ties the way back to this browser.
    credentials: 'include',
  });
}

export const connection = (session) => latchkey(session, 'GET', '/connected');

export const authorize = (session) =>
  latchkey(session, 'POST', '/oauth/authorize', {
    redirect_uri: `${session.latchkey_url}${base}/oauth/callback`,
  });

export const disconnect = (session) => latchkey(session, 'POST', '/disconnect');
