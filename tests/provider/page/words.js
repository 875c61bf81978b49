// SPDX-License-Identifier: MIT
// What the page says. Latchkey answers in codes; people are told in sentences.

export const people = [
  {
    user: 'premium',
    name: 'Ines',
    plan: 'Premium',
    about: 'Listens on the train',
    includes: 'Your own shelf, and your audiobook account connected to it.',
  },
  {
    user: 'family',
    name: 'Omar',
    plan: 'Family',
    about: 'Shares a plan with three readers',
    includes: 'A shelf for each of you, and each with an audiobook account of their own.',
  },
  {
    user: 'basic',
    name: 'Noor',
    plan: 'Basic',
    about: 'Is just looking around',
    includes: 'A shelf for your reading. Audiobook accounts come with Premium and Family.',
  },
  {
    user: 'admin',
    name: 'Sam',
    plan: 'Staff',
    about: 'Looks after Marlow',
    includes: 'Everything that members have, to see what they see.',
  },
];

const sentences = {
  access_denied: 'You chose not to connect, so nothing was changed. You can connect at any time.',
  audible_service_unavailable:
    'Sample Audiobooks isn’t answering at the moment. Please try again in a few minutes.',
  audible_oauth_failed:
    'Sample Audiobooks didn’t accept this sign-in. Please connect once more from the start.',
  audiobook_not_found: 'Sample Audiobooks doesn’t have this audiobook any more.',
  invalid_state_parameter:
    'That attempt took too long or was started in another browser. Please connect once more.',
  invalid_request: 'Something was missing on the way back. Please connect once more.',
  storage_unavailable: 'Latchkey can’t reach its records just now. Please try again in a moment.',
  overloaded: 'It’s busy here at the moment. Please try again in a moment.',
  rate_limit_exceeded: 'That was a lot in a short time. Please wait a minute.',
  audible_integration_not_configured: 'Connecting accounts isn’t set up on this server yet.',
  audible_requires_premium: 'Connecting an audiobook account comes with Premium and Family.',
  'Could not validate credentials': 'Your session has ended. Please sign in again.',
  'Not authenticated': 'Your session has ended. Please sign in again.',
  'Inactive user': 'This account isn’t active. Please get in touch with us.',
  'No Audible account connected': 'There was no connection any more.',
  'Audible account not connected': 'There is no connection any more.',
  unreachable: 'Latchkey isn’t answering. Is it running? Please try again in a moment.',
};
const unknown = 'Something went wrong on our side. Please try again in a moment.';

export const sentence = (code) => sentences[code] ?? unknown;

/** What a refused call means to the person who made it. */
export function explain(error) {
  if (error.code === 'rate_limit_exceeded' && error.retryAfterS > 0) {
    const wait = error.retryAfterS === 1 ? '1 second' : `${error.retryAfterS} seconds`;
    return `That was a lot in a short time. You can go on in ${wait}.`;
  }
  if (sentences[error.code] === undefined && error.requestId !== null) {
    return `${unknown} If it stays like this, please tell us this number: ${error.requestId}`;
  }
  return sentence(error.code);
}

/** What `last_sync_error` says, and what to do: `reconnect`, or nothing but to sync again. */
const syncErrors = {
  reauthorization_required: {
    reconnect: true,
    title: 'Please connect again',
    text:
      'Sample Audiobooks no longer accepts Marlow’s access. That happens when you change your ' +
      'password there or take the permission back. Your audiobooks are safe: connect again, and ' +
      'your shelf is back.',
  },
  audible_service_unavailable: {
    reconnect: false,
    title: 'The last sync didn’t finish',
    text:
      'Sample Audiobooks wasn’t answering. Nothing is lost, and you’re still connected: sync ' +
      'again in a few minutes.',
  },
};
const unknownSyncError = {
  reconnect: false,
  title: 'The last sync didn’t finish',
  text: 'Nothing is lost, and you’re still connected: sync again in a few minutes.',
};

export const syncError = (code) =>
  code === null ? null : (syncErrors[code] ?? unknownSyncError);

export const connected = 'Sample Audiobooks is connected.';
export const disconnected = 'Sample Audiobooks is disconnected.';
