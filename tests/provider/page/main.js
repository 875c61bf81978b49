// SPDX-License-Identifier: MIT
import * as latchkey from './latchkey.js';
import * as words from './words.js';

const at = (id) => document.getElementById(id);
const storageKey = 'marlow-session';

let session = stored();

function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(storageKey));
    return found?.token && words.people.some((person) => person.user === found.user) ? found : null;
  } catch {
    return null;
  }
}

function remember(next) {
  session = next;
  if (next) {
    sessionStorage.setItem(storageKey, JSON.stringify(next));
  } else {
    sessionStorage.removeItem(storageKey);
  }
}

/* What is shown */

function notice(text, kind = '') {
  const place = at('notice');
  place.className = `notice ${kind}`;
  place.hidden = text === '';
  place.textContent = text;
}

const pills = {
  loading: ['Checking…', ''],
  unconnected: ['Not connected', ''],
  connected: ['Connected', 'good'],
  plan: ['Not part of your plan', ''],
  trouble: ['Can’t tell right now', 'bad'],
};

function show(view) {
  for (const name of Object.keys(pills)) {
    at(`view-${name}`).hidden = name !== view;
  }
  const [text, kind] = pills[view];
  at('pill').textContent = text;
  at('pill').className = `pill ${kind}`;
  at('connection').setAttribute('aria-busy', String(view === 'loading'));
}

function showConnected(found) {
  at('fact-account').textContent = found.audible_user_id ?? 'Connected without a name';
  const synced = at('fact-synced');
  synced.dateTime = found.synced_at ?? '';
  synced.textContent = found.synced_at
    ? new Date(found.synced_at).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short' })
    : 'not yet';
  const again = found.last_sync_error === 'reauthorization_required';
  at('reconnect').hidden = !again;
  at('reconnect-hint').hidden = !again;
  show('connected');
}

function showPerson() {
  const person = words.people.find((one) => one.user === session.user);
  at('who-initial').textContent = person.name[0];
  at('who-name').textContent = person.name;
  at('membership-name').textContent = person.plan;
  at('membership-about').textContent = person.includes;
  at('home-title').textContent = `Good to see you, ${person.name}.`;
}

function showPage() {
  at('welcome').hidden = session !== null;
  at('home').hidden = session === null;
  at('who').hidden = session === null;
  if (session) {
    showPerson();
    show('loading');
  }
}

/* What is done */

function fail(error) {
  if (!(error instanceof latchkey.Refusal)) {
    throw error;
  }
  if (error.status === 401) {
    signOut();
  }
  notice(words.sentence(error.code), 'bad');
}

/** Asks Latchkey how things stand and shows it. True if it could be asked. */
async function refresh() {
  show('loading');
  try {
    const found = await latchkey.connection(session);
    if (found.connected) {
      showConnected(found);
    } else {
      show('unconnected');
    }
    return found.connected ? 'connected' : 'unconnected';
  } catch (error) {
    if (error.code === 'audible_requires_premium') {
      show('plan');
    } else if (error instanceof latchkey.Refusal && error.status !== 401) {
      at('trouble').textContent = words.sentence(error.code);
      show('trouble');
    } else {
      fail(error);
    }
    return null;
  }
}

async function signIn(user) {
  notice('');
  try {
    remember({ user, ...(await latchkey.signIn(user)) });
  } catch (error) {
    fail(error);
    return;
  }
  showPage();
  at('home-title').focus();
  await refresh();
}

function signOut() {
  remember(null);
  notice('');
  showPage();
  at('welcome-title').focus();
}

async function connect() {
  const { auth_url: next } = await latchkey.authorize(session);
  if (!/^https?:\/\//.test(next)) {
    throw new latchkey.Refusal(0, 'unknown');
  }
  location.assign(next);
  await new Promise(() => {}); // stays busy until the page is gone
}

async function disconnect() {
  try {
    await latchkey.disconnect(session);
  } catch (error) {
    if (error.status !== 404) {
      throw error;
    }
  }
  await refresh();
  notice(words.disconnected, 'good');
  at('home-title').focus();
}

/** Runs `work` when the button is pressed, once at a time; trouble becomes a sentence. */
function onPress(id, work) {
  const button = at(id);
  button.addEventListener('click', async () => {
    if (button.getAttribute('aria-disabled') === 'true') {
      return;
    }
    button.setAttribute('aria-disabled', 'true');
    try {
      await work();
    } catch (error) {
      fail(error);
    } finally {
      button.removeAttribute('aria-disabled');
    }
  });
}

function listPeople() {
  for (const person of words.people) {
    const button = document.createElement('button');
    const avatar = document.createElement('span');
    const name = document.createElement('span');
    const about = document.createElement('small');
    const plan = document.createElement('span');
    button.type = 'button';
    avatar.className = 'avatar';
    avatar.setAttribute('aria-hidden', 'true');
    avatar.textContent = person.name[0];
    about.textContent = person.about;
    plan.className = 'plan';
    plan.textContent = person.plan;
    name.append(person.name, about);
    button.append(avatar, name, plan);
    button.addEventListener('click', () => signIn(person.user));
    const item = document.createElement('li');
    item.append(button);
    at('people').append(item);
  }
}

/** The browser is back from the provider: ?audible=connected or ?audible=error&reason=… */
async function comeBack() {
  const query = new URLSearchParams(location.search);
  const outcome = query.get('audible');
  if (outcome) {
    history.replaceState(null, '', location.pathname);
  }
  const now = session ? await refresh() : null;
  if (outcome === 'error') {
    notice(words.sentence(query.get('reason')), 'bad');
  } else if (outcome === 'connected' && now === 'connected') {
    notice(words.connected, 'good');
  } else if (outcome === 'connected' && !session) {
    notice('Your account is connected. Sign in to see it.', 'good');
  }
}

listPeople();
onPress('connect', connect);
onPress('reconnect', connect);
onPress('retry', refresh);
onPress('try-premium', () => signIn('premium'));
at('sign-out').addEventListener('click', signOut);
at('disconnect').addEventListener('click', () => at('confirm').showModal());
at('confirm-no').addEventListener('click', () => at('confirm').close());
onPress('confirm-yes', () => {
  at('confirm').close();
  return disconnect();
});
showPage();
comeBack();

// From the back-forward cache: what it shows may be old, and a button may still be busy.
addEventListener('pageshow', (event) => {
  if (event.persisted) {
    location.reload();
  }
});
