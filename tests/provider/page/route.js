// SPDX-License-Identifier: MIT
// Where one is, in the address after the #: so that Back, reload and a bookmark do what they
// should.

const isAsin = (text) => /^[A-Za-z0-9]{1,32}$/.test(text ?? '');

/** `search`: what is searched for, or null on the shelf. `book`: the open one's asin, or null. */
export function read() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const search = (hash.get('search') ?? '').trim();
  const book = hash.get('book');
  return { search: search === '' ? null : search, book: isAsin(book) ? book : null };
}

function write({ search, book }) {
  const hash = new URLSearchParams();
  if (search) {
    hash.set('search', search);
  }
  if (book) {
    hash.set('book', book);
  }
  return `#${hash}`;
}

export const toSearch = (search) => write({ search });
export const toBook = (book) => write({ ...read(), book });

/** Goes there without a step that Back would lead to. */
export function replace(place) {
  history.replaceState(null, '', location.pathname + (place ? write(place) : ''));
}
