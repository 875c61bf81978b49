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
  invalid_state_parameter:
    'That attempt took too long or was started in another browser. Please connect once more.',
  invalid_request: 'Something was missing on the way back. Please connect once more.',
  storage_unavailable: 'Your connection couldn’t be saved just now. Please try again in a moment.',
  overloaded: 'It’s busy here at the moment. Please try again in a moment.',
  rate_limit_exceeded: 'That was a lot of attempts in a short time. Please wait a minute.',
  audible_integration_not_configured: 'Connecting accounts isn’t set up on this server yet.',
  audible_requires_premium: 'Connecting an audiobook account comes with Premium and Family.',
  'Could not validate credentials': 'Your session has ended. Please sign in again.',
  'Not authenticated': 'Your session has ended. Please sign in again.',
  'Inactive user': 'This account isn’t active. Please get in touch with us.',
  'No Audible account connected': 'There was no connection any more.',
  unreachable: 'Latchkey isn’t answering. Is it running? Please try again in a moment.',
};

export function sentence(code) {
  return sentences[code] ?? 'Something went wrong on our side. Please try again in a moment.';
}

export const connected = 'Sample Audiobooks is connected.';
export const disconnected = 'Sample Audiobooks is disconnected.';
