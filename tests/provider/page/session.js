// SPDX-License-Identifier: MIT
// Who is signed in, for as long as the tab lives.
import { people } from './words.js';

const storageKey = 'marlow-session';

let session = stored();

function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(storageKey));
    return found?.token && people.some((person) => person.user === found.user) ? found : null;
  } catch {
    return null;
  }
}

export const current = () => session;
export const person = () => people.find((one) => one.user === session.user);

export function remember(next) {
  session = next;
  if (next) {
    sessionStorage.setItem(storageKey, JSON.stringify(next));
  } else {
    sessionStorage.removeItem(storageKey);
  }
}
