// SPDX-License-Identifier: Apache-2.0
// Copyright The conmon 3 authors

// A server for the forward protocol that prints each record as a JSON object.
// Argument: a JSON object {path or port, key, user, password, host}.
const {FluentServer} = require('@fluent-org/logger');

const options = JSON.parse(process.argv[2]);
const listen = options.path ? {path: options.path} : {host: '127.0.0.1', port: options.port || 0};
const security = options.key && {
  serverHostname: 'the-server',
  sharedKey: options.key,
  authorize: Boolean(options.user),
  userDict: options.user ? {[options.user]: options.password} : {},
};
const server = new FluentServer({security: security || undefined, listenOptions: listen});

server.on('entry', (tag, time, record) => {
  const stamp = time && time.epoch !== undefined ? [time.epoch, time.nano] : time;
  process.stdout.write(JSON.stringify({tag, time: stamp, record}) + '\n');
});
server.listen().then(() => process.stdout.write(`listening ${options.path || server.port}\n`));
process.on('SIGTERM', () => process.exit(0));
