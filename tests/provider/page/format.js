// SPDX-License-Identifier: MIT
// Numbers and times as people write them. The page speaks English, so they do too.

const locale = navigator.language.startsWith('en') ? navigator.language : 'en-GB';
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
const steps = [
  ['minute', 60],
  ['hour', 3600],
  ['day', 86_400],
];

export const books = (count) =>
  count === 1 ? '1 audiobook' : `${count.toLocaleString(locale)} audiobooks`;

/** "7 h 5 min"; null where it isn't known. */
export function duration(minutes) {
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  if (minutes <= 0) {
    return null;
  }
  return [hours > 0 ? `${hours} h` : '', rest > 0 ? `${rest} min` : ''].filter(Boolean).join(' ');
}

export const rating = (value) =>
  `${value.toLocaleString(locale, { maximumFractionDigits: 1 })} out of 5`;

export const date = (iso) =>
  new Date(iso).toLocaleString(locale, { dateStyle: 'long', timeStyle: 'short' });

/** "just now", "5 minutes ago"; after a week, the date. */
export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (seconds < 60) {
    return 'just now';
  }
  if (seconds >= 7 * 86_400) {
    return date(iso);
  }
  const [unit, length] = steps.findLast(([, least]) => seconds >= least);
  return relative.format(-Math.floor(seconds / length), unit);
}
