// SPDX-License-Identifier: Apache-2.0
// Copyright The conmon 3 authors

// A GELF server for UDP that prints each message as a JSON object. Argument: the port.
const server = require('graygelf/server')();
const port = Number(process.argv[2]);
server.on('message', (message) => process.stdout.write(JSON.stringify(message) + '\n'));
server.on('error', (error) => process.stdout.write(JSON.stringify({error: String(error)}) + '\n'));
server.listen(port, '127.0.0.1');
server._udp.on('listening', () => process.stdout.write(`listening ${port}\n`));
process.on('SIGTERM', () => process.exit(0));
