/** What the Sidecar document says of its listeners holds for the process. */
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { listenerLimits } from '../../cmd/compose/services.ts';
import { document } from '../support/documents.ts';
import { shortFolder } from '../support/folder.ts';
import { eventually, startChaperone, type TestProgram } from '../support/program.ts';

t.setTimeout(600_000);

function sidecar(t: Parameters<typeof shortFolder>[0], spec: string): TestProgram {
  const folder = shortFolder(t);
  const file = join(folder, 'chaperone.yaml');
  writeFileSync(
    file,
    document(
      'Sidecar',
      'test',
      '  forward: { address: 127.0.0.1:0 }',
      '  audit: { sinks: [{ file: audit.jsonl }] }',
      spec,
    ),
  );
  return startChaperone(['run', '-c', file], {
    SPIFFE_ENDPOINT_SOCKET: `unix://${join(folder, 'none.sock')}`,
  });
}

interface Line {
  readonly socket: Socket;
  text: string;
  over: boolean;
}

async function open(port: number): Promise<Line> {
  const socket = connect(port, '127.0.0.1');
  const line: Line = { socket, text: '', over: false };
  socket.on('data', (chunk: Buffer) => (line.text += chunk.toString()));
  socket.on('error', () => {});
  socket.on('close', () => (line.over = true));
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return line;
}

t.test('limits of the Sidecar document reach its listeners', async (t) => {
  await using running = sidecar(
    t,
    '  listeners: { headersTimeout: 300ms, idleTimeout: 300ms, maxConnections: 2, maxHead: 1KiB }',
  );
  const port = Number(
    await eventually('listening', () => /forward 127\.0\.0\.1:(\d+)/.exec(running.text())?.[1]),
  );
  const large = await open(port);
  large.socket.write(
    `GET http://a.internal/ HTTP/1.1\r\nHost: a.internal\r\nX: ${'a'.repeat(1024)}\r\n\r\n`,
  );
  await eventually('431', () => large.text.startsWith('HTTP/1.1 431 ') && large.over);
  const slow = await open(port);
  slow.socket.write('GET http://a.internal/ HTTP/1.1\r\n');
  await eventually('408', () => slow.text.startsWith('HTTP/1.1 408 ') && slow.over);
  const idle = await open(port);
  await eventually('idle is closed', () => idle.over);
  t.equal(idle.text, '');
  const held = [await open(port), await open(port)];
  const third = await open(port);
  third.socket.write('GET http://a.internal/ HTTP/1.1\r\nHost: a.internal\r\n\r\n');
  await eventually('the oldest is cut for the third', () => held[0]?.over === true);
  t.equal(held[0]?.text, '', 'without an answer');
  await eventually('the third is served', () => third.text.startsWith('HTTP/1.1 '));
  for (const { socket } of [...held, third]) socket.destroy();
});

t.test('each key of listeners sets the limit that it says', async (t) => {
  const listeners = {
    headersTimeout: 1,
    idleTimeout: 2,
    maxConnections: 3,
    maxHead: 4096,
    maxField: undefined,
    maxFields: 5,
    maxTarget: undefined,
    bodyTimeout: 6,
    writeTimeout: 7,
    connectionMaxAge: 8,
    connectionIdle: 9,
  };
  t.match(listenerLimits(listeners), {
    headMs: 1,
    keepAliveMs: 2,
    headBytes: 4096,
    fieldBytes: 2048,
    targetBytes: 1024,
    pathBytes: 512,
    fieldCount: 5,
    bodyIdleMs: 6,
    writeIdleMs: 7,
    poolMaxAgeMs: 8,
    poolIdleMs: 9,
  });
  t.match(listenerLimits({ ...listeners, maxField: 3000, maxTarget: 2000 }), {
    fieldBytes: 3000,
    targetBytes: 2000,
  });
});

t.test('a first SVID that takes too long is reported, and waited for', async (t) => {
  await using running = sidecar(t, '  identity: { initialSync: 1s }');
  await eventually('a warning', () => /"level":"warn".*no SVID yet/.test(running.text()));
  t.equal(running.child.exitCode, null);
});
