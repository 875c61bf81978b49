// SPDX-License-Identifier: MIT
// Books in rows: the person's own, page by page, or what was found in the catalogue.
import { cover } from './cover.js';
import { at, fill, make, onPress } from './dom.js';
import * as format from './format.js';
import * as latchkey from './latchkey.js';
import * as route from './route.js';
import { changesEverything, isRefusal, say, trouble } from './trouble.js';

const PAGE = 24; // fills rows of two, three, four and six
const PAGE_MAX = 100;
const FOUND_MAX = 50;
const SKELETONS = 12;

let own = null; // the books of the library that are loaded; null: none yet
let ownHasMore = false;
let found = []; // what the search on show found
let shown = null; // what is on show: {search} with null for the shelf
let turn = 0; // of the newest wish: answers to older ones are late
let page; // what main.js gave

/** `failed` takes what only the whole page can deal with; `count` knows the library's size. */
export function setUp(hooks) {
  page = hooks;
  onPress(at('more'), showMore, failed);
  at('search').addEventListener('submit', (event) => {
    event.preventDefault();
    search();
  });
  at('query').addEventListener('input', () => at('query').setCustomValidity(''));
}

export function forget() {
  own = null;
  found = [];
  shown = null;
  turn++;
  fill(at('books'));
  at('shelf').hidden = true;
}

/** A book that is on show or on the shelf. */
export function known(asin) {
  const has = (book) => book.asin === asin;
  return own?.find(has) ?? found.find(has) ?? null;
}

export const isOwned = (asin) => own?.some((book) => book.asin === asin) ?? false;

/* -- pieces -- */

function card(book) {
  const badge = shown.search !== null && isOwned(book.asin);
  return make(
    'li',
    {},
    make(
      'a',
      { class: 'book', href: route.toBook(book.asin) },
      cover(book),
      make('span', { class: 'book-title' }, book.title || 'Untitled'),
      make('span', { class: 'book-author' }, book.author || 'Author not named'),
      make('span', { class: 'book-meta' }, format.duration(book.duration_minutes) ?? ''),
      badge ? make('span', { class: 'badge' }, 'On your shelf') : null,
    ),
  );
}

function skeleton() {
  const line = (kind) => make('span', { class: `bone ${kind}` });
  const lines = [line('cover'), line(''), line('short')];
  return make('li', { class: 'skeleton', 'aria-hidden': 'true' }, ...lines);
}

function head(title, count) {
  at('shelf-title').textContent = title;
  at('shelf-count').textContent = count;
}

function body({ books = [], below = null, hasMore = false, busy = false }) {
  fill(at('books'), ...books);
  at('books').hidden = books.length === 0;
  at('books').setAttribute('aria-busy', String(busy));
  fill(at('shelf-below'), ...(below === null ? [] : [below]));
  at('more').hidden = !hasMore;
}

const bones = () => Array.from({ length: SKELETONS }, skeleton);

function empty(title, text) {
  return make('div', { class: 'empty' }, make('h3', {}, title), make('p', {}, text));
}

function failed(error) {
  if (changesEverything(error)) {
    page.failed(error);
  } else if (isRefusal(error)) {
    fill(at('shelf-below'), trouble(error, shown.search === null ? showMore : again, failed));
    at('more').hidden = true;
  }
}

/* -- the shelf -- */

function countOwn() {
  const total = page.count();
  if (!ownHasMore) {
    return format.books(own.length);
  }
  return total !== null && total > own.length
    ? `${own.length} of ${format.books(total)}`
    : `The first ${own.length}`;
}

function drawOwn() {
  head('Your audiobooks', own.length === 0 ? '' : countOwn());
  body({
    books: own.map(card),
    hasMore: ownHasMore,
    below:
      own.length === 0
        ? empty('Nothing here yet', 'Audiobooks that you get from Sample Audiobooks appear here.')
        : null,
  });
}

async function loadOwn(quantity) {
  const mine = ++turn;
  const books = await latchkey.library(0, quantity);
  if (mine === turn) {
    own = books;
    ownHasMore = books.length === quantity;
    drawOwn();
    say(own.length === 0 ? 'Your shelf is empty.' : `Your audiobooks: ${countOwn()}.`);
  }
}

/** The first page; with `quietly`, what is there stays until it comes. */
async function showOwn(quietly) {
  at('shelf-back').hidden = true;
  if (!quietly) {
    head('Your audiobooks', 'Loading…');
    body({ books: bones(), busy: true });
  }
  try {
    await loadOwn(Math.min(PAGE_MAX, Math.max(PAGE, own?.length ?? 0)));
  } catch (error) {
    if (changesEverything(error)) {
      page.failed(error);
    } else if (isRefusal(error)) {
      await ownFailed(error);
    }
  }
}

/** No shelf: because the connection is broken, which its card tells about, or for now. */
async function ownFailed(error) {
  const reconnect = error.status === 503 && (await page.isBroken());
  head('Your audiobooks', '');
  body({
    below: reconnect
      ? empty('Your shelf is waiting', 'It’s back as soon as you have connected again, above.')
      : trouble(error, again, failed),
  });
}

async function showMore() {
  const mine = turn;
  const books = await latchkey.library(own.length, PAGE);
  if (mine !== turn) {
    return;
  }
  const first = own.length;
  own = [...own, ...books];
  ownHasMore = books.length === PAGE;
  at('books').append(...books.map(card));
  fill(at('shelf-below'));
  at('more').hidden = !ownHasMore;
  at('shelf-count').textContent = countOwn();
  say(`${format.books(books.length)} more. ${countOwn()}.`);
  at('books').children[first]?.querySelector('a').focus({ preventScroll: true });
}

/* -- search -- */

function search() {
  const field = at('query');
  const text = field.value.trim();
  if ([...text].length < 2) {
    field.setCustomValidity('Please type at least two letters of a title or a name.');
    field.reportValidity();
    return;
  }
  const place = route.toSearch(text);
  if (location.hash === place) {
    again();
  } else {
    location.hash = place;
  }
}

function countFound() {
  if (found.length === FOUND_MAX) {
    return `The first ${FOUND_MAX}. Add a word to find fewer.`;
  }
  return found.length === 0 ? '' : `${format.books(found.length)} found`;
}

async function showFound(text) {
  const mine = ++turn;
  const title = `Results for “${text}”`;
  at('query').value = text;
  at('shelf-back').hidden = false;
  head(title, 'Searching…');
  body({ books: bones(), busy: true });
  try {
    const books = await latchkey.search(text, FOUND_MAX);
    if (mine !== turn) {
      return;
    }
    found = books;
    head(title, countFound());
    body({
      books: found.map(card),
      below:
        found.length === 0
          ? empty('Nothing found', 'Try a shorter word, or the name of an author or a narrator.')
          : null,
    });
    say(found.length === 0 ? 'Nothing found.' : countFound());
  } catch (error) {
    if (mine !== turn) {
      return;
    }
    if (changesEverything(error)) {
      page.failed(error);
    } else if (isRefusal(error)) {
      head(title, '');
      body({ below: trouble(error, again, failed) });
    }
  }
}

/* -- what is shown -- */

function showInvitation() {
  turn++;
  at('shelf-back').hidden = true;
  head('Have a look around', '');
  body({
    below: empty(
      'Your shelf is still empty',
      'Connect your account to see your audiobooks here. Until then, you can search the catalogue.',
    ),
  });
}

/** The shelf, or with `text` what is found for it. */
export function open(text, { quietly = false } = {}) {
  at('shelf').hidden = false;
  shown = { search: text };
  at('shelf-back').textContent = page.isConnected() ? 'Back to your audiobooks' : 'Back';
  if (text !== null) {
    return showFound(text);
  }
  at('query').value = '';
  found = [];
  return page.isConnected() ? showOwn(quietly) : showInvitation();
}

function again() {
  return open(shown.search);
}

/** A book was opened or closed; what lies below it stays. */
export const shows = (text) => shown !== null && shown.search === text;
export const focus = () => at('shelf-title').focus({ preventScroll: true });
