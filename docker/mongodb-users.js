// SPDX-License-Identifier: MIT
//
// Run once by the image of MongoDB, when its volume is empty: the user that Latchkey is, in its database
// and nowhere else.
const password = require('fs').readFileSync('/run/secrets/mongodb_password', 'utf8').trim();
db.getSiblingDB('latchkey').createUser({
  user: 'latchkey',
  pwd: password,
  roles: [{ role: 'readWrite', db: 'latchkey' }],
});
