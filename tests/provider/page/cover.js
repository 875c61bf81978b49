// SPDX-License-Identifier: MIT
import { fill, make } from './dom.js';

/** Covers come from here; what is elsewhere isn't asked for (the page's policy forbids it). */
function isHere(url) {
  try {
    return new URL(url).origin === location.origin;
  } catch {
    return false;
  }
}

/** A book's cover; without one, its title on plain cloth. Its title stands beside it anyway. */
export function cover(book, loading = 'lazy') {
  const frame = make('span', { class: 'cover', 'aria-hidden': 'true' });
  const cloth = () => fill(frame, make('span', { class: 'cloth' }, book.title || 'Untitled'));
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
