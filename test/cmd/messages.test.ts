/** What a slip is answered with: the place, the problem and what to do. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join, resolve } from 'node:path';
import t from 'tap';
import { shortFolder } from '../fakes/folder.ts';
import { cli } from './cli.ts';

const PROGRAM = resolve(import.meta.dirname, '../../cmd/chaperone.ts');

const documents = (when: string): string => `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: a }
spec: { forward: { address: '127.0.0.1:15001' }, defaults: { task: optional } }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: crm }
spec:
  hosts: [crm.internal]
  ports: [80]
  upstream: { address: '127.0.0.1:9' }
  tls: { mode: mtls, peers: ['spiffe://dev.local/crm'] }
  rules: [{ name: all, effect: allow, action: read, http: { methods: [GET] }, when: '${when}' }]
`;

t.test('a configuration that is not there leads to init, and only where that is what it is', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'check'], { cwd: t.testdir(), encoding: 'utf8' });
  t.equal(status, 66);
  t.match(stderr, /chaperone\.yaml: cannot be read \(ENOENT\); .*write a starter: chaperone init\n$/);
  t.notMatch((await cli(['check', '-c', join(t.testdir(), 'other.yaml')])).err, /chaperone init/);
});

t.test('a slip in a condition says what was meant', async (t) => {
  const file = join(t.testdir(), 'c.yaml');
  for (const [when, words] of [
    ['request.pth == "/x"', /column 9: no such key: pth; did you mean path\? .*: Request has method, path, /],
    ['destination.nam == "x"', /did you mean name\?/],
    ['reqest.path == "/x"', /unknown variable: reqest; did you mean request\? known are request, /],
    ['request.path ==', /column 16: it ends in the middle; /],
  ] as const) {
    writeFileSync(file, documents(when));
    t.match(await cli(['check', '-c', file]), { status: 78, err: words }, when);
  }
});

t.test('a Workload API that is not there is told in plain words', async (t) => {
  const socket = join(shortFolder(t), 'none.sock');
  const { status, err } = await cli(['svid', 'show', '--workload-api', `unix://${socket}`, '--timeout', '1s']);
  t.equal(status, 75);
  t.ok(err.includes(`not reached (UNAVAILABLE): "${socket}": there is no such socket (ENOENT)`), err);
  t.match(err, /is the SPIRE agent running, and is this its socket\? \(on a laptop: chaperone dev\)/);
  t.notMatch(err, /Resolution note|Last error/);
});

t.test('what is likely to be typed wrong first is answered with what to type', async (t) => {
  const folder = t.testdir({ 'c.yaml': documents('true') });
  const file = join(folder, 'c.yaml');
  const at = ['-c', file];
  for (const [args, status, words] of [
    [['check', file], 64, /\(a configuration is named with -c: -c \S+c\.yaml\)/],
    [['run', 'x', file], 64, /named with -c: -c \S+c\.yaml/],
    [['run', 'folder'], 64, /got 1: folder\.\n\(add --help/],
    [['dev', '--id', 'agent', '--socket', join(folder, 'w')], 64, /not "agent"; such as --id \/agent$/m],
    [['init', join(folder, 'none', 'c.yaml')], 66, /c\.yaml \(ENOENT\); its folder must be there/],
    [['explain', ...at, 'get', 'http://crm.internal/'], 65, /lower case .*; .*write it in capitals/],
    [['explain', ...at, 'GET', 'crm.internal/x'], 64, /"crm\.internal\/x" is no whole URL; write http:\/\//],
    [['task', 'open', ...at, '--intent', join(folder, 'i')], 66, /the intent \S+i cannot be read \(ENOENT\); name a/],
  ] as const) {
    t.match(await cli(args), { status, err: words }, args.join(' '));
  }
});

t.test('an address that is taken is told with the key that asks for it', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  const health = `forward: { address: '127.0.0.1:0' }, health: { address: '127.0.0.1:${port}' }`;
  const text = documents('true').replace(/forward: \{[^}]*\}/, health);
  const file = join(t.testdir({ 'c.yaml': text }), 'c.yaml');
  const { status, err } = await cli(['run', '-c', file], { SPIFFE_ENDPOINT_SOCKET: 'unix:///none' });
  t.equal(status, 71);
  t.match(err, /health cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\); another program has it/);
});
