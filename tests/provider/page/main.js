// SPDX-License-Identifier: MIT
import * as book from './book.js';
import * as connection from './connection.js';
import { at, make, onPress } from './dom.js';
import * as format from './format.js';
import * as latchkey from './latchkey.js';
import * as route from './route.js';
import * as session from './session.js';
import * as shelf from './shelf.js';
import { isRefusal, notice } from './trouble.js';
import * as words from './words.js';

let isConnected = false;

/* What is shown */

function showPerson() {
  const person = session.person();
  at('who-initial').textContent = person.name[0];
  at('who-name').textContent = person.name;
  at('membership-name').textContent = person.plan;
  at('membership-about').textContent = person.includes;
  at('home-title').textContent = `Good to see you, ${person.name}.`;
}

function showPage() {
  const isSignedIn = session.current() !== null;
  at('welcome').hidden = isSignedIn;
  at('home').hidden = !isSignedIn;
  at('who').hidden = !isSignedIn;
  if (isSignedIn) {
    showPerson();
    connection.show('loading');
  }
}

/* What is done */

function signOut() {
  session.remember(null);
  isConnected = false;
  notice('');
  route.replace(null);
  book.open(null, {});
  shelf.forget();
  showPage();
  at('welcome-title').focus();
}

/** Trouble of a whole action: a sentence above everything. */
function fail(error) {
  isRefusal(error);
  if (error.status === 401) {
    signOut();
  }
  notice(words.explain(error), 'bad');
}

/** The connection has gone, or the plan, or the session: everything is looked at anew. */
async function startOver(error) {
  shelf.forget();
  if (error.status === 401) {
    fail(error);
  } else {
    await refresh();
    notice(words.explain(error), 'bad');
  }
}

/** How the connection stands; null where that can't be told. */
async function ask() {
  try {
    return await connection.refresh();
  } catch (error) {
    fail(error);
    return null;
  }
}

/** Asks Latchkey how things stand and shows it, with the shelf. */
async function refresh() {
  const found = await ask();
  isConnected = found?.connected === true;
  if (found === null) {
    shelf.forget();
  } else {
    go();
  }
  return found;
}

/** Shows what the address says. */
function go({ fromHere = false, quietly = false } = {}) {
  const { search, book: asin } = route.read();
  if (!shelf.shows(search) || !fromHere) {
    shelf.open(search, { quietly });
  }
  book.open(asin, { fromHere });
}

async function signIn(user) {
  notice('');
  try {
    session.remember({ user, ...(await latchkey.signIn(user)) });
  } catch (error) {
    fail(error);
    return;
  }
  shelf.forget();
  showPage();
  at('home-title').focus();
  await refresh();
}

async function connect() {
  const { auth_url: next } = await latchkey.authorize();
  if (!/^https?:\/\//.test(next)) {
    throw new latchkey.Refusal(0, 'unknown');
  }
  location.assign(next);
  await new Promise(() => {}); // stays busy until the page is gone
}

async function disconnect() {
  try {
    await latchkey.disconnect();
  } catch (error) {
    if (error.status !== 404) {
      throw error;
    }
  }
  shelf.forget();
  route.replace(null);
  await refresh();
  notice(words.disconnected, 'good');
  at('home-title').focus();
}

async function sync() {
  notice('');
  try {
    const count = await connection.sync();
    notice(`Your shelf is up to date: ${format.books(count)}.`, 'good');
  } catch (error) {
    // Where Latchkey remembers what was wrong, its card says so.
    const found = error.status === 503 ? await ask() : null;
    if (!found?.last_sync_error) {
      throw error;
    }
    return;
  }
  if ((await ask()) !== null && route.read().search === null) {
    go({ quietly: true });
  }
}

/* Setting up */

function listPeople() {
  for (const person of words.people) {
    const button = make(
      'button',
      { type: 'button' },
      make('span', { class: 'avatar', 'aria-hidden': 'true' }, person.name[0]),
      make('span', {}, person.name, make('small', {}, person.about)),
      make('span', { class: 'plan' }, person.plan),
    );
    button.addEventListener('click', () => signIn(person.user));
    at('people').append(make('li', {}, button));
  }
}

/** The browser is back from the provider: ?audible=connected or ?audible=error&reason=… */
async function comeBack() {
  const query = new URLSearchParams(location.search);
  const outcome = query.get('audible');
  if (outcome) {
    history.replaceState(null, '', location.pathname);
  }
  const now = session.current() ? await refresh() : null;
  if (outcome === 'error') {
    notice(words.sentence(query.get('reason')), 'bad');
  } else if (outcome === 'connected' && now?.connected) {
    notice(words.connected, 'good');
  } else if (outcome === 'connected' && !session.current()) {
    notice('Your account is connected. Sign in to see it.', 'good');
  }
}

function setUpConnection() {
  onPress(at('connect'), connect, fail);
  onPress(at('reconnect'), connect, fail);
  onPress(at('sync'), sync, fail);
  onPress(at('retry'), refresh, fail);
  onPress(at('try-premium'), () => signIn('premium'), fail);
  at('disconnect').addEventListener('click', () => at('confirm').showModal());
  at('confirm-no').addEventListener('click', () => at('confirm').close());
  onPress(
    at('confirm-yes'),
    () => {
      at('confirm').close();
      return disconnect();
    },
    fail,
  );
}

function setUpAddress() {
  addEventListener('hashchange', () => {
    if (session.current() && !at('shelf').hidden) {
      const before = shelf.shows(route.read().search);
      go({ fromHere: true });
      if (!before) {
        shelf.focus();
      }
    }
  });
  // The address after the # is taken, so this link can't have it.
  at('skip').addEventListener('click', (event) => {
    event.preventDefault();
    at('main').focus();
  });
  // From the back-forward cache: what it shows may be old, and a button may still be busy.
  addEventListener('pageshow', (event) => {
    if (event.persisted) {
      location.reload();
    }
  });
}

listPeople();
at('sign-out').addEventListener('click', signOut);
setUpConnection();
setUpAddress();
shelf.setUp({
  failed: startOver,
  count: connection.count,
  isConnected: () => isConnected,
  isBroken: async () => (await ask())?.last_sync_error === 'reauthorization_required',
});
book.setUp({ failed: startOver });
showPage();
comeBack();
