// SPDX-License-Identifier: MIT
// A book's details, in a dialog over the shelf.
import { cover } from './cover.js';
import { at, fill, make } from './dom.js';
import * as format from './format.js';
import * as latchkey from './latchkey.js';
import * as route from './route.js';
import * as shelf from './shelf.js';
import { changesEverything, isRefusal, say, trouble } from './trouble.js';

let asin = null; // of the open book
let cameFromHere = false; // so that closing is a step back
let page;

const dialog = at('book');

export function setUp(hooks) {
  page = hooks;
  at('book-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener('close', leave);
}

/** It was closed by hand: the address follows. */
function leave() {
  const { search, book } = route.read();
  asin = null;
  if (book === null) {
    return;
  }
  if (cameFromHere) {
    history.back();
  } else {
    route.replace(search === null ? null : { search });
  }
}

/** Shows the book with this asin, or with null none. */
export function open(wanted, { fromHere }) {
  if (wanted === asin) {
    return;
  }
  asin = wanted;
  if (wanted === null) {
    dialog.close();
    return;
  }
  cameFromHere = fromHere;
  const book = shelf.known(wanted);
  at('book-link').replaceChildren();
  if (book) {
    draw(book);
  } else {
    drawBones();
  }
  if (!dialog.open) {
    dialog.showModal();
  }
  load(wanted, book);
}

/* -- drawing -- */

function fact(name, value) {
  return value ? make('div', {}, make('dt', {}, name), make('dd', {}, value)) : null;
}

function draw(book) {
  const isOwned = book.is_owned || shelf.isOwned(book.asin);
  const rating = book.rating === null ? 'Not rated yet' : format.rating(book.rating);
  at('book-title').textContent = book.title || 'Untitled';
  fill(at('book-cover'), cover(book, 'eager'));
  fill(
    at('book-body'),
    make('p', { class: 'book-by' }, book.author ? `by ${book.author}` : 'Author not named'),
    isOwned ? make('p', { class: 'badge' }, 'On your shelf') : null,
    make(
      'dl',
      { class: 'book-facts' },
      fact('Narrator', book.narrator),
      fact('Length', format.duration(book.duration_minutes)),
      fact('Rating', rating),
    ),
    make('p', { class: 'book-description' }, book.description || 'There’s no description yet.'),
  );
}

function drawBones() {
  const bone = (kind) => make('span', { class: `bone ${kind}` });
  at('book-title').textContent = 'Loading…';
  fill(at('book-cover'), make('span', { class: 'bone cover' }));
  fill(at('book-body'), bone('short'), bone(''), bone(''), bone('short'));
}

function drawLink(url) {
  fill(
    at('book-link'),
    make(
      'a',
      { class: 'button primary', href: url, target: '_blank', rel: 'noopener noreferrer' },
      'Listen on Audible',
      make('span', { class: 'visually-hidden' }, ' (opens in a new tab)'),
    ),
  );
}

/* -- loading -- */

async function load(wanted, known) {
  dialog.setAttribute('aria-busy', 'true');
  try {
    const [book, play] = await Promise.all([latchkey.details(wanted), latchkey.playUrl(wanted)]);
    if (wanted === asin) {
      draw(book);
      if (play.url.startsWith('https://')) {
        drawLink(play.url);
      }
      say(known ? '' : `${book.title}.`);
    }
  } catch (error) {
    if (wanted === asin) {
      failed(error, wanted, known);
    }
  }
  dialog.setAttribute('aria-busy', 'false');
}

function failed(error, wanted, known) {
  if (changesEverything(error)) {
    dialog.close();
    page.failed(error);
    return;
  }
  if (!isRefusal(error)) {
    return;
  }
  if (!known) {
    at('book-title').textContent = 'This audiobook can’t be shown';
    fill(at('book-cover'));
    fill(at('book-body'));
  }
  const retry = () => load(wanted, known);
  fill(at('book-link'), trouble(error, retry, (again) => failed(again, wanted, known)));
}
