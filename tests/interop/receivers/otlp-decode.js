// SPDX-License-Identifier: Apache-2.0
// Copyright The conmon 3 authors

// Decodes OTLP requests with OpenTelemetry's own definitions, from npm. Arguments: files. Prints each record as a
// JSON object {resource, scope, time, observed, severity, severityText, body, bytes, attributes}.
const fs = require('fs');
const root = require('@opentelemetry/otlp-transformer/build/src/generated/root');
const Request = root.opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest;

const value = (any) => any.arrayValue ? any.arrayValue.values.map(value) : any[Object.keys(any.toJSON())[0]];
const number = (n) => (typeof n === 'object' && n !== null && !Array.isArray(n) ? n.toString() : n);
const map = (pairs) => Object.fromEntries(pairs.map((pair) => [pair.key, number(value(pair.value))]));

for (const file of process.argv.slice(2)) {
  const message = Request.decode(fs.readFileSync(file));
  const problem = Request.verify(Request.toObject(message));
  if (problem)
    throw new Error(`${file}: ${problem}`);
  for (const logs of message.resourceLogs)
    for (const scope of logs.scopeLogs)
      for (const r of scope.logRecords) {
        const bytes = r.body.bytesValue && r.body.bytesValue.length ? Buffer.from(r.body.bytesValue).toString('hex') : null;
        process.stdout.write(JSON.stringify({
          resource: map(logs.resource.attributes), scope: scope.scope.name, time: number(r.timeUnixNano),
          observed: number(r.observedTimeUnixNano), severity: r.severityNumber, severityText: r.severityText,
          body: bytes === null ? r.body.stringValue : null, bytes, attributes: map(r.attributes),
        }) + '\n');
      }
}
