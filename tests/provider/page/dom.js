// SPDX-License-Identifier: MIT
// Small helpers for the document: nothing here knows what the page is about.

export const at = (id) => document.getElementById(id);

/** An element; `attributes` that are null or false are left out, true is an empty one. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function fill(place, ...children) {
  place.replaceChildren(...children.filter((child) => child !== null));
}

const isBusy = (button) => button.getAttribute('aria-disabled') === 'true';

/** Holds a button back for a while; its label counts the seconds. */
export function hold(button, seconds) {
  const label = button.textContent;
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left <= 0) {
      clearInterval(timer);
      button.textContent = label;
      button.removeAttribute('aria-disabled');
    } else {
      button.textContent = `${label} in ${left} s`;
    }
  };
  const timer = setInterval(tick, 250);
  button.setAttribute('aria-disabled', 'true');
  tick();
}

/**
 * Runs `work` when the button is pressed, once at a time. What it throws goes to `failed`; where
 * that says when to come back (`retryAfterS`), the button waits so long.
 */
export function onPress(button, work, failed) {
  button.addEventListener('click', async () => {
    if (isBusy(button)) {
      return;
    }
    const label = button.textContent;
    button.setAttribute('aria-disabled', 'true');
    button.textContent = button.dataset.busy ?? label;
    let pause = 0;
    try {
      await work();
    } catch (error) {
      pause = error.retryAfterS ?? 0;
      failed(error);
    } finally {
      button.textContent = label;
      button.removeAttribute('aria-disabled');
    }
    if (pause > 0) {
      hold(button, pause);
    }
  });
}
