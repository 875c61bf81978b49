// SPDX-License-Identifier: MIT
import { make } from './dom.js';

/** Covers come from here; what is elsewhere is not asked for (nor would the page's policy allow it). */
function isHere(url) {
  try {
    return new URL(url).origin === location.origin;
  } catch {
    return false;
  }
}

/** A book's cover; without one, its title on plain cloth. The title stands beside it in any case. */
export function cover(book, loading = 'lazy') {
  const frame = make('span', { class: 'cover', 'aria-hidden': 'true' });
  const cloth = () => frame.replaceChildren(make('span', { class: 'cloth' }, book.title || 'Untitled'));
  if (!isHere(book.image)) {
    cloth();
    return frame;
  }
  const image = make('img', { alt: '', width: 500, height: 500, loading, decoding: 'async' });
  image.addEventListener('error', cloth, { once: true });
  image.src = book.image;
  frame.append(image);
  return frame;
}
