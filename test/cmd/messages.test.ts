/** What a slip is answered with: the place, the problem and what to do. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { crmDocument, document, documents } from '../support/documents.ts';
import { shortFolder } from '../support/folder.ts';
import { CHAPERONE, chaperone } from '../support/program.ts';

const written = (when: string): string =>
  documents(
    document(
      'Sidecar',
      'a',
      "  forward: { address: '127.0.0.1:15001' }",
      '  defaults: { task: optional }',
    ),
    crmDocument({
      address: '127.0.0.1:9',
      more: `  rules: [{ name: all, effect: allow, action: read, http: { methods: [GET] }, when: '${when}' }]`,
    }),
  );

t.test(
  'a configuration that is not there leads to init, and only where that is what it is',
  async (t) => {
    const { status, stderr } = spawnSync(process.execPath, [CHAPERONE, 'check'], {
      cwd: t.testdir(),
      encoding: 'utf8',
    });
    t.equal(status, 66);
    t.match(
      stderr,
      /chaperone\.yaml: cannot be read \(ENOENT\); .*write a starter: chaperone init\n$/,
    );
    t.notMatch(
      (await chaperone(['check', '-c', join(t.testdir(), 'other.yaml')])).err,
      /chaperone init/,
    );
  },
);

t.test('a slip in a condition says what was meant', async (t) => {
  const file = join(t.testdir(), 'c.yaml');
  for (const [when, words] of [
    [
      'request.pth == "/x"',
      /column 9: no such key: pth; did you mean path\? .*: Request has method, path, /,
    ],
    ['destination.nam == "x"', /did you mean name\?/],
    ['reqest.path == "/x"', /unknown variable: reqest; did you mean request\? known are request, /],
    ['request.path ==', /column 16: it ends in the middle; /],
  ] as const) {
    writeFileSync(file, written(when));
    t.match(await chaperone(['check', '-c', file]), { status: 78, err: words }, when);
  }
});

t.test('a Workload API that is not there is told in plain words', async (t) => {
  const socket = join(shortFolder(t), 'none.sock');
  const { status, err } = await chaperone([
    'svid',
    'show',
    '--workload-api',
    `unix://${socket}`,
    '--timeout',
    '1s',
  ]);
  t.equal(status, 75);
  t.ok(
    err.includes(`not reached (UNAVAILABLE): "${socket}": there is no such socket (ENOENT)`),
    err,
  );
  t.match(
    err,
    /is the SPIRE agent running, and is this its socket\? \(on a laptop: chaperone dev\)/,
  );
  t.notMatch(err, /Resolution note|Last error/);
});

t.test('what is likely to be typed wrong first is answered with what to type', async (t) => {
  const folder = t.testdir({ 'c.yaml': written('true') });
  const file = join(folder, 'c.yaml');
  const at = ['-c', file];
  for (const [args, status, words] of [
    [['check', file], 64, /\(a configuration is named with -c: -c \S+c\.yaml\)/],
    [['run', 'x', file], 64, /named with -c: -c \S+c\.yaml/],
    [['run', 'folder'], 64, /got 1: folder\.\n\(add --help/],
    [
      ['dev', '--id', 'agent', '--socket', join(folder, 'w')],
      64,
      /not "agent"; such as --id \/agent$/m,
    ],
    [['init', join(folder, 'none', 'c.yaml')], 66, /c\.yaml \(ENOENT\); its folder must be there/],
    [
      ['explain', ...at, 'get', 'http://crm.internal/'],
      65,
      /lower case .*; .*write it in capitals/,
    ],
    [
      ['explain', ...at, 'GET', 'crm.internal/x'],
      64,
      /"crm\.internal\/x" is no whole URL; write http:\/\//,
    ],
    [
      ['task', 'open', ...at, '--intent', join(folder, 'i')],
      66,
      /the intent \S+i cannot be read \(ENOENT\); name a/,
    ],
  ] as const) {
    t.match(await chaperone(args), { status, err: words }, args.join(' '));
  }
});

t.test('an address that is taken is told with the key that asks for it', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  const health = `forward: { address: '127.0.0.1:0' }\n  health: { address: '127.0.0.1:${port}' }`;
  const text = written('true').replace(/forward: \{[^}]*\}/, health);
  const file = join(t.testdir({ 'c.yaml': text }), 'c.yaml');
  const { status, err } = await chaperone(['run', '-c', file], {
    SPIFFE_ENDPOINT_SOCKET: 'unix:///none',
  });
  t.equal(status, 71);
  t.match(err, /health cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\); another program has it/);
});

t.test('one value where a list is wanted is shown as a list', async (t) => {
  const file = join(t.testdir(), 'c.yaml');
  writeFileSync(file, written('true').replace('ports: [80]', 'ports: 80'));
  t.match(await chaperone(['check', '-c', file]), {
    status: 78,
    err: /c\.yaml:13:10 spec\.ports: 80 .*; write \[80\]\n/,
  });
});

t.test('a configuration without a destination is warned of, and by --strict refused', async (t) => {
  const file = join(t.testdir(), 'c.yaml');
  writeFileSync(file, written('true').split('---')[0] ?? '');
  const words =
    /c\.yaml:1:1 the configuration: there is no Destination document.*\(no-destination\)\n/;
  t.match(await chaperone(['check', '-c', file]), { status: 0, out: words });
  t.match(await chaperone(['check', '--strict', '-c', file]), { status: 78, err: words });
  t.match(JSON.parse((await chaperone(['check', '--json', '-c', file])).out), {
    findings: [{ code: 'no-destination' }],
  });
});

t.test(
  'explain takes options in any place, and says what is wrong with --args by itself',
  async (t) => {
    const file = join(t.testdir(), 'c.yaml');
    writeFileSync(file, written('true'));
    const url = 'http://crm.internal/v1';
    for (const args of [
      ['GET', url, '-c', file],
      ['-c', file, 'GET', url],
      ['GET', '-c', file, url],
    ])
      t.match(await chaperone(['explain', ...args]), { status: 0, out: /^allow / }, args.join(' '));
    const bad = await chaperone([
      'explain',
      '--args',
      '{bad',
      'POST',
      '--tool',
      'x',
      url,
      '-c',
      file,
    ]);
    t.match(bad, {
      status: 64,
      err: /^chaperone: --args: .*character 1 .*; write a JSON object, as in /,
    });
    t.match(await chaperone(['explain', '--tool', 'x', 'POST', url, '--args', '[1]', '-c', file]), {
      status: 64,
      err: /--args: an object/,
    });
  },
);

t.test(
  '--quiet leaves out what went well and nothing else; --verbose says more; not both',
  async (t) => {
    const file = join(t.testdir(), 'c.yaml');
    writeFileSync(file, written('true'));
    t.match(await chaperone(['check', '--quiet', '-c', file]), {
      status: 0,
      out: /^warning: .*constant-condition\)\n$/,
      err: '',
    });
    t.match(await chaperone(['--quiet', 'init', join(t.testdir(), 'd.yaml')]), {
      status: 0,
      out: '',
      err: '',
    });
    const none = join(t.testdir(), 'none.yaml');
    t.match((await chaperone(['check', '--quiet', '-c', none])).err, /none\.yaml: cannot be read/);
    const bad = ['init', join(none, 'x.yaml')];
    t.match(
      (await chaperone([...bad, '--verbose'])).err,
      /^chaperone: cannot write .*\n {2}because: .*\(?ENOENT/,
    );
    t.notMatch((await chaperone(bad)).err, /because: /);
    t.match(await chaperone(['check', '--quiet', '--verbose', '-c', file]), {
      status: 64,
      err: /cannot be used with/,
    });
  },
);

t.test('the version is told by each of its options', async (t) => {
  const said = (await chaperone(['--version'])).out;
  t.match(said, /^\d+\.\d+\.\d+\n$/);
  for (const option of ['-V', '-v'])
    t.match(await chaperone([option]), { status: 0, out: said, err: '' }, option);
});
