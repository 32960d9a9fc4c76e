/** One exchange with a destination of the protocol of the test: run in a copy that knows it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../../lib/config/load/load.ts';
import { testProxy } from '../../support/proxy.ts';
import { statusOf } from '../../support/agent.ts';

const upstream = createServer((_, response) => response.end('quoted'));
await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done));
const { port } = upstream.address() as AddressInfo;
const folder = mkdtempSync(join(tmpdir(), 'chaperone-soap-'));
const documents = `
apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: agent }
spec: { defaults: { task: optional } }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: bank }
spec:
  hosts: [bank.internal]
  ports: [80]
  protocol: soap
  tls: { mode: plaintext }
  upstream: { address: '127.0.0.1:${port}' }
  rules:
    - { name: quotes, effect: allow, action: read, soap: { actions: [GetQuote] } }
`;
writeFileSync(join(folder, 'policy.yaml'), documents);
const { policy } = await loadConfig([folder], { generation: 1 });
const proxy = await testProxy({ destinations: policy.destinations });
const ask = (action: string): Promise<string> =>
  proxy.ask(
    'GET http://bank.internal/ HTTP/1.1\r\nHost: bank.internal\r\n' +
      `SOAPAction: ${action}\r\nConnection: close\r\n\r\n`,
  );
const answers = [await ask('GetQuote'), await ask('Transfer')];
console.log(JSON.stringify({ statuses: answers.map(statusOf), refused: answers[1] }));
await proxy[Symbol.asyncDispose]();
upstream.close();
rmSync(folder, { recursive: true });
