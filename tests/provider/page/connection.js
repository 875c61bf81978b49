// SPDX-License-Identifier: MIT
// The card about the connection: how it stands, when it was last synced, what is wrong with it.
import { at } from './dom.js';
import * as format from './format.js';
import * as latchkey from './latchkey.js';
import { current, remember } from './session.js';
import { isRefusal } from './trouble.js';
import * as words from './words.js';

const REDRAW_MS = 20_000; // "just now" grows old

const pills = {
  loading: ['Checking…', ''],
  unconnected: ['Not connected', ''],
  connected: ['Connected', 'good'],
  expired: ['Needs your attention', 'bad'],
  plan: ['Not part of your plan', ''],
  trouble: ['Can’t tell right now', 'bad'],
};
const views = ['loading', 'unconnected', 'connected', 'plan', 'trouble'];

let syncedAt = null;

export function show(view, pill = view) {
  for (const name of views) {
    at(`view-${name}`).hidden = name !== view;
  }
  const [text, kind] = pills[pill];
  at('pill').textContent = text;
  at('pill').className = `pill ${kind}`;
  at('connection').setAttribute('aria-busy', String(view === 'loading'));
  at('home').classList.toggle('is-connected', view === 'connected');
  if (view !== 'connected') {
    at('sync-error').hidden = true;
  }
}

/** How many books the last sync counted, if it is the one that Latchkey speaks of. */
export function count() {
  const synced = current()?.synced;
  return synced && synced.at === syncedAt ? synced.count : null;
}

function showSynced() {
  const time = at('fact-synced');
  const known = count();
  at('fact-count').textContent = known === null ? '' : `${format.books(known)}, `;
  time.dateTime = syncedAt ?? '';
  time.title = syncedAt ? format.date(syncedAt) : '';
  time.textContent = syncedAt ? format.ago(syncedAt) : 'not yet';
}

function showSyncError(problem) {
  const panel = at('sync-error');
  at('sync').hidden = problem?.reconnect === true;
  at('reconnect').hidden = problem?.reconnect !== true;
  at('sync-error-title').textContent = problem?.title ?? '';
  at('sync-error-text').textContent = problem?.text ?? '';
  panel.hidden = problem === null;
}

function showConnected(found) {
  const problem = words.syncError(found.last_sync_error);
  syncedAt = found.synced_at;
  at('fact-account').textContent = found.audible_user_id ?? 'Connected without a name';
  showSynced();
  showSyncError(problem);
  show('connected', problem?.reconnect ? 'expired' : 'connected');
}

/**
 * Asks Latchkey how things stand, and shows it: the answer, or null where there was none. What only
 * the whole page can deal with is thrown.
 */
export async function refresh() {
  try {
    const found = await latchkey.connection();
    if (found.connected) {
      showConnected(found);
    } else {
      show('unconnected');
    }
    return found;
  } catch (error) {
    if (error.code === 'audible_requires_premium') {
      show('plan');
    } else if (isRefusal(error) && error.status !== 401) {
      at('trouble').textContent = words.explain(error);
      show('trouble');
    } else {
      throw error;
    }
    return null;
  }
}

/** Has Latchkey count the whole library: how many books there are. */
export async function sync() {
  const done = await latchkey.sync();
  remember({ ...current(), synced: { at: done.synced_at, count: done.audiobooks_count } });
  return done.audiobooks_count;
}

setInterval(() => {
  if (!at('view-connected').hidden) {
    showSynced();
  }
}, REDRAW_MS);
