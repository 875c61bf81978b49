// SPDX-License-Identifier: MIT
//
// The health check of MongoDB in compose.yaml: ends with 0 once this server is the primary of its replica
// set, which it makes the first time.
const password = require('fs').readFileSync('/run/secrets/mongodb_root_password', 'utf8').trim();
const admin = connect(
  `mongodb://root:${encodeURIComponent(password)}@127.0.0.1:27017/admin?directConnection=true`,
);
const { isWritablePrimary, setName } = admin.hello();
if (!setName) {
  admin.adminCommand({
    replSetInitiate: { _id: 'latchkey', members: [{ _id: 0, host: 'mongodb:27017' }] },
  });
}
quit(isWritablePrimary && setName ? 0 : 1);
