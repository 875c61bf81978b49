// SPDX-License-Identifier: MIT
// The platform's calls: one to itself, the others to Latchkey, from the browser, through CORS.
import { current } from './session.js';

const base = '/api/v1/user/audible';
const CALL_MS = 45_000;
const SYNC_MS = 310_000; // Latchkey gives up at 300 s

/**
 * An answer that isn't a success. `code` is Latchkey's `detail`; `retryAfterS` is 0 unless it said
 * when to come back; `requestId` is what its log knows the request by.
 */
export class Refusal extends Error {
  constructor(status, code, headers) {
    super(code);
    this.status = status;
    this.code = code;
    this.retryAfterS = Number.parseInt(headers?.get('Retry-After') ?? '0', 10) || 0;
    this.requestId = headers?.get('X-Request-ID') ?? null;
  }
}

async function call(url, options, timeoutMs = CALL_MS) {
  let answer;
  let body;
  try {
    answer = await fetch(url, { ...options, signal: AbortSignal.timeout(timeoutMs) });
    body = await answer.json().catch(() => null);
  } catch {
    throw new Refusal(0, 'unreachable');
  }
  if (!answer.ok) {
    throw new Refusal(answer.status, String(body?.detail ?? 'unknown'), answer.headers);
  }
  if (body === null) {
    throw new Refusal(0, 'unreachable');
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

function latchkey(method, path, { body, timeoutMs } = {}) {
  const session = current();
  const headers = { Authorization: `Bearer ${session.token}` };
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
  }
  const options = {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    // So that authorize can leave the cookie that ties the way back to this browser.
    credentials: 'include',
  };
  return call(session.latchkey_url + base + path, options, timeoutMs);
}

export const connection = () => latchkey('GET', '/connected');

export const authorize = () =>
  latchkey('POST', '/oauth/authorize', {
    body: { redirect_uri: `${current().latchkey_url}${base}/oauth/callback` },
  });

export const disconnect = () => latchkey('POST', '/disconnect');

export const sync = () => latchkey('POST', '/library/sync', { timeoutMs: SYNC_MS });

export const library = (skip, limit) => latchkey('GET', `/library?skip=${skip}&limit=${limit}`);

export const search = (text, limit) =>
  latchkey('GET', `/search?${new URLSearchParams({ q: text, limit })}`);

export const details = (asin) => latchkey('GET', `/${asin}/details`);

/** Where the book can be listened to, on what this browser runs on. */
export function playUrl(asin) {
  const system = navigator.userAgent;
  const platform = /iPhone|iPad/.test(system) ? 'ios' : /Android/.test(system) ? 'android' : 'web';
  return latchkey('GET', `/${asin}/play-url?platform=${platform}`);
}
