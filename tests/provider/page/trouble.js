// SPDX-License-Identifier: MIT
// What is told: the notice above everything, a word for screen readers, trouble in place.
import { at, hold, make, onPress } from './dom.js';
import { Refusal } from './latchkey.js';
import { explain } from './words.js';

export function notice(text, kind = '') {
  const place = at('notice');
  place.className = `notice ${kind}`;
  place.hidden = text === '';
  place.textContent = text;
}

/** Said, not shown; by the dialog while one is open, since nothing else is heard then. */
export function say(text) {
  const place = document.querySelector('dialog[open] [role="status"]') ?? at('said');
  place.textContent = text;
}

/** What only the whole page can deal with: the session, the plan or the account has gone. */
export const changesEverything = (error) =>
  error.status === 401 ||
  error.status === 403 ||
  error.code === 'Inactive user' ||
  error.code === 'Audible account not connected';

/** An error of ours is for the console, not for a sentence. */
export function isRefusal(error) {
  if (!(error instanceof Refusal)) {
    throw error;
  }
  return true;
}

/** In place of what could not be had: a sentence, and a button for another try. */
export function trouble(error, retry, failed) {
  const text = explain(error);
  say(text);
  const panel = make('div', { class: 'trouble' }, make('p', {}, text));
  if (error.status !== 404) {
    const button = make('button', { type: 'button', class: 'secondary' }, 'Try again');
    onPress(button, retry, failed);
    panel.append(button);
    if (error.retryAfterS > 0) {
      hold(button, error.retryAfterS);
    }
  }
  return panel;
}
