/**
 * The relay of `task run`: whose connections it takes, of real processes, and that it passes on
 * what it takes whole.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { heldBelow } from '../../cmd/relay/owner.ts';
import { startRelay } from '../../cmd/relay/relay.ts';
import { until } from '../support/until.ts';
import { clientFixture } from '../clients/fixture.ts';
import { chaperone, eventually, startChaperone } from '../support/program.ts';

t.setTimeout(400_000);

const WHY = /^this proxy serves the programs that one `chaperone task run` started/;

interface Behind extends AsyncDisposable {
  readonly url: string;
  received(): string;
  connections(): number;
}

/**
 * What stands where the sidecar would: answers each head with 200 `through`, and keeps every byte.
 */
async function behind(): Promise<Behind> {
  let [received, connections] = ['', 0];
  const server = createServer((socket) => {
    connections += 1;
    socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        received += chunk.toString('latin1');
        if (received.endsWith('\r\n\r\n'))
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nthrough');
      });
  });
  return {
    url: `http://t-1:secret@127.0.0.1:${await portOf(server)}`,
    received: () => received,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return Number(Object(server.address()).port);
}

/** A shell that runs one line once `go` says so, and is what `task run` is to its programs. */
function root(line: string): {
  readonly child: ChildProcess;
  readonly pid: number;
  go(url: string): Promise<string>;
} {
  const child = spawn('sh', ['-c', `read url; ${line}`], { stdio: ['pipe', 'pipe', 'inherit'] });
  return {
    child,
    pid: child.pid ?? 0,
    go(url) {
      child.stdin.end(`${url}\n`);
      return text(child.stdout);
    },
  };
}

const CURL = 'curl -sS -m 60 --proxy "$url" http://crm.internal/a';

t.test(
  'a program below the root is passed on with the credential, and so is one below that',
  async (t) => {
    await using to = await behind();
    for (const line of [
      `${CURL}; true`,
      `sh -c '${CURL.replace('$url', '$0')}; true' "$url"; true`,
    ]) {
      const tree = root(line);
      await using relay = await startRelay({
        proxy: to.url,
        root: tree.pid,
        refused: () => t.fail('refused'),
      });
      t.equal(await tree.go(relay.url), 'through');
    }
    const credential = `Proxy-Authorization: Basic ${Buffer.from('t-1:secret').toString('base64')}`;
    t.equal(to.received().split(credential).length, 3);
    t.match(to.received(), /^GET http:\/\/crm\.internal\/a HTTP\/1\.1\r\nHost: crm\.internal\r\n/);
  },
);

t.test('not one byte of a process outside the tree is passed on, and it is told why', async (t) => {
  await using to = await behind();
  const tree = root('sleep 600; true');
  t.teardown(() => tree.child.kill('SIGKILL'));
  let refused = 0;
  await using relay = await startRelay({
    proxy: to.url,
    root: tree.pid,
    refused: () => (refused += 1),
  });
  const outside = ['GET', 'CONNECT', 'websocket'].map((kind) => {
    const args = ['-sS', '-m', '60', '--proxy', relay.url, 'http://crm.internal/a'];
    if (kind === 'CONNECT') args.push('--proxytunnel');
    if (kind === 'websocket') args.push('-H', 'Connection: Upgrade', '-H', 'Upgrade: websocket');
    return spawn('curl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  });
  const [get, tunnel, socket] = await Promise.all(outside.map(async (child) => text(child.stdout)));
  t.match(get, WHY);
  t.match(socket, WHY);
  t.notMatch(tunnel, /through/);
  t.equal(refused, 3);
  t.equal(to.connections(), 0);
  t.equal(to.received(), '');
});

t.test('the root itself, and an orphan that init took, are not shown to be below it', async (t) => {
  await using to = await behind();
  for (const line of [`exec ${CURL}`, `( (sleep 1; ${CURL}) & )`]) {
    const tree = root(line);
    await using relay = await startRelay({ proxy: to.url, root: tree.pid, refused: () => {} });
    t.match(await tree.go(relay.url), WHY, line);
  }
  t.equal(to.connections(), 0);
});

t.test(
  'what is passed on stays whole: an upload that waits for 100, an upgrade, and a cut that is a cut',
  async (t) => {
    const server = createHttp((asked, answer) => {
      if (asked.url?.endsWith('/cut') === true) {
        answer.writeHead(200, { 'content-length': 100 }).write('half');
        setTimeout(() => asked.socket.destroy(), 100);
      } else asked.pipe(answer);
    });
    server.on('upgrade', (asked, socket) =>
      socket.end(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: ` +
          `Upgrade\r\n\r\n${asked.headers['proxy-authorization']}`,
      ),
    );
    const to = `http://t-1:secret@127.0.0.1:${await portOf(server)}`;
    const tree = root(
      [
        `head -c 3000000 /dev/zero | ${CURL} -T - -H 'Expect: 100-continue' | wc -c`,
        `head -c 3000000 /dev/zero | ${CURL} --data-binary @- | wc -c`,
        `${CURL} -N -H 'Connection: Upgrade' -H 'Upgrade: websocket' --no-buffer; echo`,
        `${CURL.replace('/a', '/cut')}; echo " ended $?"`,
      ].join('\n'),
    );
    await using relay = await startRelay({
      proxy: to,
      root: tree.pid,
      refused: () => t.fail('refused'),
    });
    t.match(await tree.go(relay.url), /^3000000\n3000000\nBasic \S+\nhalf ended (?:18|56)\n$/);
    server.closeAllConnections();
    server.close();
  },
);

/**
 * Connects by a port of its own choice and says so, until its standard input ends; then it resets.
 */
const DIAL = `
const socket = require('net').connect({ port: +process.argv[1], host: '127.0.0.1', localPort: +process.argv[2] });
socket.on('connect', () => console.log(socket.localPort)).on('error', () => {});
process.stdin.resume().on('end', () => { socket.resetAndDestroy(); });
`;

t.test('a connection that was reset is not its who has its port now', async (t) => {
  const server = createServer({ pauseOnConnect: true });
  const accepted: Socket[] = [];
  server.on('connection', (socket) => accepted.push(socket.on('error', () => {})));
  const port = await portOf(server);
  const outside = spawn(process.execPath, ['-e', DIAL, `${port}`, '0'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [chosen] = (await once(outside.stdout, 'data')) as [Buffer];
  const first = await until('the first is there', () => accepted[0]);
  t.equal(first.remotePort, Number(chosen.toString()));
  outside.stdin.end();
  await once(outside, 'exit');
  const tree = spawn(
    'sh',
    ['-c', '"$@"; true', 'sh', process.execPath, '-e', DIAL, `${port}`, chosen.toString().trim()],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  await once(tree.stdout, 'data');
  const second = await until('the second is there', () => accepted[1]);
  t.equal(second.remotePort, first.remotePort);
  t.ok(heldBelow(tree.pid ?? 0, second));
  t.notOk(heldBelow(tree.pid ?? 0, first));
  t.notOk(heldBelow(outside.pid ?? 0, second));
  tree.stdin.end();
  for (const socket of accepted) socket.destroy();
  server.close();
});

t.test('a connection over IPv6 sockets, as Java makes them, is found too', async (t) => {
  const server = createServer({ pauseOnConnect: true });
  const port = await portOf(server);
  const script =
    `require('net').connect(${port}, '::ffff:127.0.0.1').on('error', () => {}); ` +
    'process.stdin.resume()';
  const tree = spawn('sh', ['-c', '"$@"; true', 'sh', process.execPath, '-e', script], {
    stdio: 'pipe',
  });
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.ok(heldBelow(tree.pid ?? 0, socket));
  t.notOk(heldBelow(process.pid + 1_000_000, socket));
  socket.on('error', () => {}).destroy();
  tree.stdin.end();
  server.close();
});

const INTENT =
  '{"purpose":"answer-ticket","owner":"a","targets":["crm","web"],"actions":["read"],"lifetime":"10m"}';

t.test(
  'in a task, a client without credentials is judged as the task, and one from outside has nothing',
  async (t) => {
    await using p = await clientFixture();
    const intent = join(t.testdir({ 'intent.json': INTENT }), 'intent.json');
    const command = ['task', 'run', '-c', join(p.folder, 'c.yaml'), '--intent', intent, '--'];
    const ask = (what: string): string =>
      `curl -sS -m 60 -w ' %{http_code} %{num_connects}\\n' --proxy "$CHAPERONE_RELAY" ` +
      `--cacert "$CURL_CA_BUNDLE" ${what}`;
    const lines = [
      ask('http://crm.internal/v1/customers http://crm.internal/v1/export/customers'),
      ask('https://api.saas.example/v1/models/1'),
      ask('-X POST -d x http://crm.internal/v1/notes'),
      ask('https://unlisted.example/'),
      ask(
        `--proxy-header 'Proxy-Authorization: Basic ` +
          `${Buffer.from('t-x:y').toString('base64')}' http://crm.internal/v1/x`,
      ),
    ];
    const done = await chaperone([...command, 'sh', '-c', lines.join('\n')]);
    t.match(done.out, /Ada Engines[^]*? 200 1\n/);
    t.match(
      done.out,
      /rule no-exports of destination crm denies[^]*? 403 0\n/,
      'the same connection, judged again',
    );
    t.match(done.out, /models\/1"\} 200 1\n[^]*its actions leave out write[^]* 403 1\n/);
    t.match(done.out, /task-unknown[^]* 407 1\n$/, 'a credential of the program’s own stays');
    t.match(done.err, /CONNECT tunnel failed, response 403/);
    const before = p.upstream.requests().length;
    const running = startChaperone([
      ...command,
      'sh',
      '-c',
      'echo "relay=$CHAPERONE_RELAY"; exec sleep 600',
    ]);
    const url = await eventually(
      'the relay is there',
      () => /relay=(http:\S+)/.exec(running.text())?.[1],
    );
    const outside = spawn('curl', [
      '-sS',
      '-m',
      '60',
      '--proxy',
      url,
      'http://crm.internal/v1/customers',
    ]);
    t.match(await text(outside.stdout), WHY);
    t.match(
      running.text(),
      /relay: refused a connection that is not shown to be of a program below this one/,
    );
    t.equal(p.upstream.requests().length, before, 'not one byte of it reached the upstream');
    running.child.kill('SIGTERM');
    await running.ended;
    const gone = connect(Number(new URL(url).port), '127.0.0.1');
    t.match(
      await once(gone, 'error'),
      [{ code: 'ECONNREFUSED' }],
      'the relay ends with the program',
    );
    await running[Symbol.asyncDispose]();
  },
);
