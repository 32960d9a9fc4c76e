/**
 * Clients of other make that say https://, with nothing but the variables that `chaperone env` and
 * `chaperone trust` print: judged inside their own TLS.
 */
import { execFile, spawn } from 'node:child_process';
import { type X509Certificate, createHash, createPrivateKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { ProxyAgent, WebSocket } from 'undici';
import { SAAS_HOST } from '../../cmd/demo/documents.ts';
import { type Stage, setStage } from '../../cmd/demo/setup.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import { KEY_FILE } from '../../lib/interception/ca-key.ts';
import {
  KEY_USAGE,
  PURPOSE,
  certificatesPem,
  newKeys,
  pkcs8,
  privateKeyPem,
  signCertificate,
} from '../../lib/interception/issue.ts';
import { trustVariables, writeTrust } from '../../lib/interception/trust.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { rule } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testInterception } from '../support/interception.ts';
import { until } from '../support/until.ts';
import { type Client, missing } from './clients.ts';
import t from 'tap';

const run = promisify(execFile);

interface Https extends Client {
  /** What it prints for the version of HTTP that was agreed on, where it can tell. */
  readonly speaks?: RegExp;
  /** Variables besides those of the stage. */
  readonly more?: (stage: Stage) => Readonly<Record<string, string>>;
}

const requests =
  'import requests,sys; r = requests.get(sys.argv[1]); print(r.status_code, r.text, end="")';
const httpx = (options: string): string =>
  `import httpx,sys; r = httpx.Client(${options}).get(sys.argv[1]); print(r.status_code, ` +
  'r.text, r.http_version, end="")';
const curl =
  (version: string): Https['command'] =>
  (url) => ['curl', '-sS', version, '-w', ' %{http_version}', '-o', '-', '-D', '-', url];

const CLIENTS: readonly Https[] = [
  {
    name: 'curl, HTTP/1.1',
    needs: ['curl', '--version'],
    command: curl('--http1.1'),
    speaks: / 1\.1$/,
  },
  { name: 'curl, HTTP/2', needs: ['curl', '--version'], command: curl('--http2'), speaks: / 2$/ },
  {
    name: 'wget',
    needs: ['wget', '--version'],
    // A 403 is an exit status of wget's own; both heads and bodies go to standard output.
    command: (url) => [
      'sh',
      '-c',
      'wget -qSO - --content-on-error "$0" 2>&1 | sed "s/^ *//" || true',
      url,
    ],
  },
  {
    name: 'Node fetch',
    needs: [process.execPath, '--version'],
    command: (url) => [
      process.execPath,
      '-e',
      'fetch(process.argv[1]).then(async (r) => process.stdout.write(`${r.status} ${await ' +
        'r.text()}`))',
      url,
    ],
  },
  {
    name: 'Python requests',
    needs: ['python3', '-c', 'import requests'],
    command: (url) => ['python3', '-c', requests, url],
  },
  {
    name: 'Python httpx',
    needs: ['python3', '-c', 'import httpx'],
    command: (url) => ['python3', '-c', httpx(''), url],
    speaks: /HTTP\/1\.1$/,
  },
  {
    name: 'Go net/http',
    needs: ['go', 'version'],
    command: (url) => ['go', 'run', join(import.meta.dirname, 'fetch.go'), url],
  },
  {
    name: 'Java HttpClient',
    needs: ['java', '--version'],
    command: (url) => ['java', join(import.meta.dirname, 'Fetch.java'), url],
    more: ({ variables, proxyUrl }) => ({
      JAVA_TOOL_OPTIONS:
        `${variables['JAVA_TOOL_OPTIONS']} -Dhttps.proxyHost=127.0.0.1 ` +
        `-Dhttps.proxyPort=${new URL(proxyUrl).port}`,
    }),
    speaks: /HTTP_2$/,
  },
];

async function staged(): Promise<Stage> {
  const stage = await setStage(undefined, () => {});
  await until('the sidecar is ready', () => stage.sidecar.ready());
  return stage;
}

t.test('clients that say https://', async (t) => {
  await using stage = await staged();
  const { HOME = '/', PATH = '' } = process.env;
  for (const client of CLIENTS) {
    const ask = async (path: string): Promise<string> => {
      const [program, ...args] = client.command(`https://${SAAS_HOST}${path}`);
      const env = { HOME, PATH, ...stage.variables, ...client.more?.(stage) };
      return (await run(program, args, { env })).stdout
        .replace(/^HTTP\/\S+ 200 [^]*?\r\n\r\n(?=HTTP)/, '')
        .replace(/^HTTP\/\S+ /, '');
    };
    await t.test(
      `${client.name} is let through and refused by what it asks`,
      { skip: missing(client.needs) },
      async (t) => {
        const before = stage.saas.requests().length;
        const allowed = await ask('/v1/models');
        t.match(allowed, /^200/);
        t.match(allowed, new RegExp(`"service":"${SAAS_HOST}"`));
        if (client.speaks !== undefined) t.match(allowed, client.speaks);
        const denied = await ask('/v1/keys');
        t.match(denied, /^403/);
        t.match(denied, /no rule of destination saas allows GET \/v1\/keys/);
        t.same(
          stage.saas.requests().slice(before),
          ['GET /v1/models'],
          'one request alone reached the service',
        );
      },
    );
  }
});

/** `openssl s_client` through the proxy, told to say `input`. */
function sClient(stage: Stage, args: readonly string[], input: string): Promise<string> {
  const proxy = new URL(stage.proxyUrl).host;
  const ca = stage.variables['NODE_EXTRA_CA_CERTS'] ?? '';
  const all = [
    's_client',
    '-proxy',
    proxy,
    '-connect',
    `${SAAS_HOST}:443`,
    '-CAfile',
    ca,
    '-verify_return_error',
    '-ign_eof',
    ...args,
  ];
  const child = spawn('openssl', all, { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  child.stdin.on('error', () => {});
  child.stdin.write(input);
  return new Promise((resolve) => child.on('close', () => resolve(text)));
}

t.test(
  'openssl s_client: the chain verifies by itself, and a name that is not the tunnel’s ends it',
  { skip: missing(['openssl', 'version']) },
  async (t) => {
    await using stage = await staged();
    const request = (host: string): string =>
      `GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const before = stage.saas.requests().length;
    const good = await sClient(
      stage,
      ['-servername', SAAS_HOST, '-verify_hostname', SAAS_HOST],
      request(SAAS_HOST),
    );
    t.match(good, /Verification: OK/);
    t.match(good, /HTTP\/1\.1 200/);
    t.match(
      await sClient(stage, ['-servername', SAAS_HOST], request('evil.example')),
      /HTTP\/1\.1 421/,
    );
    const other = await sClient(stage, ['-servername', `www.${SAAS_HOST}`], request(SAAS_HOST));
    t.notMatch(other, /Verification: OK[^]*HTTP\/1\.1 200/);
    const none = await sClient(stage, ['-noservername'], request(SAAS_HOST));
    t.notMatch(none, /HTTP\/1\.1 200[^]*HTTP\/1\.1 200/);
    t.equal(stage.saas.requests().length, before + 1);
    const audit = await stage.audit();
    t.match(audit, /asks for www\.api\.saas\.example/);
    t.match(audit, /names no server \(SNI\)/);
  },
);

t.test(
  'curl that trusts another CA alone gets nothing, and the record says why',
  { skip: missing(['curl', '--version']) },
  async (t) => {
    await using stage = await staged();
    const other = join(shortFolder(t), 'other.pem');
    writeFileSync(other, (await testAuthority()).pem);
    const env = {
      PATH: process.env['PATH'] ?? '',
      ...stage.variables,
      CURL_CA_BUNDLE: other,
      SSL_CERT_FILE: other,
    };
    const failure = await run('curl', ['-sS', `https://${SAAS_HOST}/v1/models`], { env }).catch(
      (error: { stderr: string }) => error,
    );
    t.match(failure.stderr, /certificate/);
    await until('it is recorded', async () => /"outcome":"client-tls"/.test(await stage.audit()));
    t.match(await stage.audit(), /the agent does not trust our certificate for api\.saas\.example/);
    t.same(stage.saas.requests(), []);
  },
);

t.test('a WebSocket client through CONNECT (undici)', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  const echo = (socket: Duplex): void =>
    void socket.once('data', (head: Buffer) => {
      const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
      const accept = createHash('sha1')
        .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: ` +
          `Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      // One text frame of our own; what the client says is not looked into.
      socket.write(Buffer.concat([Buffer.from([0x81, 5]), Buffer.from('hello')]));
      // The next thing the client says is that it closes.
      socket.once('data', () => socket.end(Buffer.from([0x88, 0]))).on('end', () => socket.end());
    });
  await using w = await testInterception(t, {
    destination: {
      rules: [rule('ws', 'allow', { paths: ['/ws'], websocket: true })],
      roots: [authority.pem],
    },
    upstream: { authority, svid, raw: echo },
  });
  const dispatcher = new ProxyAgent({
    uri: `http://127.0.0.1:${w.proxy.port()}`,
    requestTls: { ca: w.ca },
    allowH2: false,
  });
  const open = (path: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`wss://api.example.com${path}`, { dispatcher });
      socket.addEventListener('message', ({ data }) => (resolve(String(data)), socket.close()));
      socket.addEventListener('error', () => resolve('refused'));
    });
  t.equal(await open('/ws'), 'hello');
  t.equal(await open('/other'), 'refused');
  t.equal(w.upstream.connections.length, 1);
  t.match(w.proxy.audit.of('decided').at(-1), {
    entry: 'intercept',
    effect: 'deny',
    path: '/other',
  });
  await dispatcher.destroy();
  await w.proxy.quiet();
  t.same(unpaired(w.proxy.audit.records), []);
});

t.test(
  'with the key of the CA in hand, clients take nothing outside of its domains (T7)',
  async (t) => {
    const folder = shortFolder(t);
    using authority = await openInterception({
      domains: ['example.com'],
      folder: join(folder, 'ca'),
      clock: systemClock,
    });
    await writeTrust(join(folder, 'trust'), authority.authority());
    await using server = await posing(join(folder, 'ca', KEY_FILE), authority.authority());
    const env = {
      HOME: process.env['HOME'] ?? '/',
      PATH: process.env['PATH'] ?? '',
      ...trustVariables(join(folder, 'trust')),
    };
    for (const client of CLIENTS) {
      await t.test(client.name, { skip: missing(client.needs) }, async (t) => {
        const [program, ...args] = client.command(`https://localhost:${server.port}/`);
        const { stdout } = await run(program, args, { env }).catch(
          (failure: { stdout: string }) => failure,
        );
        // Java does not hold a certificate that it trusts directly to the constraints in it
        // (docs/interception.md).
        if (client.name === 'Java HttpClient') t.match(stdout, /^200 posed/);
        else t.notMatch(stdout, /posed/);
      });
    }
  },
);

/** A server that poses as localhost with a certificate that the stolen key signed. */
async function posing(
  keyFile: string,
  ca: X509Certificate,
): Promise<AsyncDisposable & { readonly port: number }> {
  const p256 = { name: 'ECDSA', namedCurve: 'P-256' };
  const secret = createPrivateKey(readFileSync(keyFile)).export({ type: 'pkcs8', format: 'der' });
  const spki = ca.publicKey.export({ type: 'spki', format: 'der' });
  const { subtle } = globalThis.crypto;
  const keys = await newKeys();
  const leaf = await signCertificate({
    subject: 'CN=posing',
    publicKey: keys.publicKey,
    signer: {
      subject: ca.subject.split('\n').join(', '),
      keys: {
        privateKey: await subtle.importKey('pkcs8', secret, p256, true, ['sign']),
        publicKey: await subtle.importKey('spki', spki, p256, true, ['verify']),
      },
    },
    notBefore: Date.now() - 3_600_000,
    notAfter: Date.now() + 3_600_000,
    names: { values: [{ type: 'dns', value: 'localhost' }], critical: false },
    basicConstraints: { ca: false },
    keyUsage: { bits: KEY_USAGE.digitalSignature, critical: true },
    extendedKeyUsage: [PURPOSE.serverAuth],
  });
  const identity = { cert: certificatesPem([leaf]), key: privateKeyPem(await pkcs8(keys)) };
  const server = createServer(identity, (_, response) => response.end('posed'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
