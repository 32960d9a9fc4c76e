/**
 * The web modes against certificates that are badly issued: who proves a name, and that nobody else
 * gets a byte.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import {
  certificatesPem,
  KEY_USAGE,
  newKeys,
  pkcs8,
  privateKeyPem,
  signCertificate,
} from '../../lib/interception/issue.ts';
import { testAuthority, type LeafOptions, type TestAuthority } from '../support/authority.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { attempt, policy } from './fixture.ts';

const DAY = 24 * 3_600_000;
const now = Date.now();

interface Try {
  readonly title: string;
  /** What is asked for; default api.example.com. */
  readonly host?: string;
  readonly serverName?: string;
  readonly leaf: LeafOptions;
  /** Undefined: it is connected. */
  readonly code?: 'upstream-tls' | 'upstream-identity';
  readonly message?: RegExp;
}

const NAME = ['api.example.com'];

const TRIES: readonly Try[] = [
  { title: 'its own name', leaf: { dns: NAME } },
  { title: 'one of its names', leaf: { dns: ['www.example.com', ...NAME] } },
  { title: 'a name in other case', leaf: { dns: ['API.Example.COM'] } },
  { title: 'a wildcard of one label', leaf: { dns: ['*.example.com'] } },
  {
    title: 'a wildcard for two labels',
    host: 'a.b.example.com',
    leaf: { dns: ['*.example.com'] },
    code: 'upstream-identity',
  },
  {
    title: 'a wildcard for no label',
    host: 'example.com',
    leaf: { dns: ['*.example.com'] },
    code: 'upstream-identity',
  },
  { title: 'a wildcard in the middle', leaf: { dns: ['api.*.com'] }, code: 'upstream-identity' },
  {
    title: 'a wildcard over a top-level domain',
    host: 'example.com',
    leaf: { dns: ['*.com'] },
    code: 'upstream-identity',
  },
  { title: 'a wildcard over everything', leaf: { dns: ['*'] }, code: 'upstream-identity' },
  { title: 'a partial wildcard', leaf: { dns: ['a*.example.com'] }, code: 'upstream-identity' },
  {
    title: 'a partial wildcard at the end of a label',
    leaf: { dns: ['*i.example.com'] },
    code: 'upstream-identity',
  },
  {
    title: 'two wildcards',
    host: 'a.b.example.com',
    leaf: { dns: ['*.*.example.com'] },
    code: 'upstream-identity',
  },
  {
    title: 'a wildcard within an A-label',
    host: 'xn--api.example.com',
    leaf: { dns: ['xn--*.example.com'] },
    code: 'upstream-identity',
  },
  {
    title: 'another name',
    leaf: { dns: ['www.example.com'] },
    code: 'upstream-identity',
    message: /DNS:www\.example\.com/,
  },
  {
    title: 'a name that ends alike',
    leaf: { dns: ['evilapi.example.com'] },
    code: 'upstream-identity',
  },
  { title: 'a name below', leaf: { dns: ['x.api.example.com'] }, code: 'upstream-identity' },
  {
    title: 'a name with a byte 0 in it',
    leaf: { dns: ['api.example.com\0.evil.test'] },
    code: 'upstream-identity',
  },
  {
    title: 'the name as common name alone',
    leaf: { subject: 'CN=api.example.com', uris: [] },
    code: 'upstream-identity',
  },
  {
    title: 'the name as common name beside an SVID',
    leaf: { subject: 'CN=api.example.com' },
    code: 'upstream-identity',
  },
  {
    title: 'the name as URI',
    leaf: { uris: ['https://api.example.com/'] },
    code: 'upstream-identity',
  },
  {
    title: 'the name as e-mail domain',
    leaf: { emails: ['a@api.example.com'] },
    code: 'upstream-identity',
  },
  { title: 'an address as address', host: '127.0.0.1', leaf: { ips: ['127.0.0.1'] } },
  {
    title: 'another address',
    host: '127.0.0.1',
    leaf: { ips: ['127.0.0.2'] },
    code: 'upstream-identity',
  },
  {
    title: 'an address as DNS name',
    host: '127.0.0.1',
    leaf: { dns: ['127.0.0.1'] },
    code: 'upstream-identity',
  },
  {
    title: 'an address as common name',
    host: '127.0.0.1',
    leaf: { subject: 'CN=127.0.0.1', uris: [] },
    code: 'upstream-identity',
  },
  {
    title: 'serverName instead of the host',
    serverName: 'api.example.com',
    host: 'else.internal',
    leaf: { dns: NAME },
  },
  {
    title: 'the host where serverName is another',
    serverName: 'else.example.com',
    leaf: { dns: NAME },
    code: 'upstream-identity',
  },
  {
    title: 'expired',
    leaf: { dns: NAME, notBefore: now - 3 * DAY, notAfter: now - DAY },
    code: 'upstream-tls',
    message: /CERT_HAS_EXPIRED/,
  },
  {
    title: 'not valid yet',
    leaf: { dns: NAME, notBefore: now + DAY, notAfter: now + 2 * DAY },
    code: 'upstream-tls',
    message: /CERT_NOT_YET_VALID/,
  },
  {
    title: 'for clients alone',
    leaf: { dns: NAME, purposes: ['clientAuth'] },
    code: 'upstream-tls',
    message: /INVALID_PURPOSE/,
  },
  {
    title: 'for code alone',
    leaf: { dns: NAME, purposes: ['codeSigning'] },
    code: 'upstream-tls',
    message: /INVALID_PURPOSE/,
  },
  { title: 'for servers alone', leaf: { dns: NAME, purposes: ['serverAuth'] } },
  {
    title: 'a key that may only sign certificates',
    leaf: { dns: NAME, keyUsage: ['keyCertSign'] },
    code: 'upstream-tls',
  },
];

async function tried(
  authority: TestAuthority,
  one: Try,
): Promise<{ code: string; message: string; received: number }> {
  const svid = await authority.svid('/web', one.leaf);
  await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
  const tls = policy({
    mode: 'web',
    roots: [authority.pem],
    ...(one.serverName && { serverName: one.serverName }),
  });
  const { connection, fault } = await attempt(upstream, {
    identity: undefined,
    tls,
    host: one.host ?? 'api.example.com',
  });
  if (connection !== undefined) {
    await once(connection.socket, 'data');
    connection.socket.destroy();
  }
  await upstream.quiet();
  return {
    code: fault?.code ?? 'connected',
    message: fault?.message ?? '',
    received: upstream.received(),
  };
}

t.test('who proves the name that was asked for, and nobody else (RFC 9525)', async (t) => {
  const authority = await testAuthority();
  for (const one of TRIES) {
    const { code, message, received } = await tried(authority, one);
    t.equal(code, one.code ?? 'connected', `${one.title}: ${message}`);
    if (one.message !== undefined) t.match(message, one.message, one.title);
    if (one.code !== undefined) t.equal(received, 0, one.title);
  }
});

t.test('chains that lead to no given root', async (t) => {
  const [authority, other] = [await testAuthority(), await testAuthority()];
  const leaf = { dns: NAME };
  const rows = [
    ['another root', await other.svid('/web', leaf)],
    [
      'an intermediate that is no CA',
      await (await authority.intermediate({ ca: false })).svid('/web', leaf),
    ],
    [
      'an intermediate that has expired',
      await (
        await authority.intermediate({ notBefore: now - 3 * DAY, notAfter: now - DAY })
      ).svid('/web', leaf),
    ],
    ['an intermediate of another root', await (await other.intermediate()).svid('/web', leaf)],
    [
      'a chain that is too long',
      await (
        await (await authority.intermediate({ pathLength: 0 })).intermediate()
      ).svid('/web', leaf),
    ],
  ] as const;
  for (const [title, svid] of rows) {
    await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
    const tls = policy({ mode: 'web', roots: [authority.pem] });
    const { fault } = await attempt(upstream, {
      identity: undefined,
      tls,
      host: 'api.example.com',
    });
    t.match(fault, { code: 'upstream-tls', message: /is not trusted/ }, title);
    await upstream.quiet();
    t.equal(upstream.received(), 0, title);
  }
  const through = await (await authority.intermediate()).svid('/web', leaf);
  await using upstream = await mtlsUpstream({ authority, svid: through, client: 'none' });
  const good = await attempt(upstream, {
    identity: undefined,
    tls: policy({ mode: 'web', roots: [authority.pem] }),
    host: 'api.example.com',
  });
  t.equal(good.fault, undefined, 'an intermediate that is sent is used');
  good.connection?.socket.destroy();
});

t.test('a self-signed certificate is trusted only where it is given as a root', async (t) => {
  const authority = await testAuthority();
  const keys = await newKeys();
  const signer = { subject: 'CN=self', keys };
  const der = await signCertificate({
    subject: 'CN=self',
    publicKey: keys.publicKey,
    signer,
    notBefore: now - DAY,
    notAfter: now + DAY,
    names: { values: [{ type: 'dns', value: 'api.example.com' }], critical: false },
    basicConstraints: { ca: true },
    keyUsage: { bits: KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign, critical: true },
  });
  const cert = certificatesPem([der]);
  const svid = {
    ...(await authority.svid('/web')),
    certificatesPem: cert,
    privateKeyPem: privateKeyPem(await pkcs8(keys)),
  };
  await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
  const host = 'api.example.com';
  for (const roots of [undefined, [authority.pem]]) {
    const tls = policy({ mode: 'web', ...(roots && { roots }) });
    const { fault } = await attempt(upstream, { identity: undefined, tls, host });
    t.match(fault, {
      code: 'upstream-tls',
      message: /leads to no trust anchor.*DEPTH_ZERO_SELF_SIGNED_CERT/,
    });
  }
  t.equal(upstream.received(), 0);
  const given = await attempt(upstream, {
    identity: undefined,
    tls: policy({ mode: 'web', roots: [cert] }),
    host,
  });
  t.equal(given.fault, undefined);
  given.connection?.socket.destroy();
});

t.test(
  'an interception CA vouches for no upstream, even where the environment made this process trust it',
  async (t) => {
    using interception = await openInterception({
      domains: ['example.com'],
      folder: undefined,
      clock: systemClock,
    });
    const secureContext = await interception.contextFor('api.example.com');
    let received = 0;
    const server = createServer((raw) => {
      const socket = new TLSSocket(raw, { isServer: true, secureContext });
      socket
        .on('data', (chunk: Buffer) => (received += chunk.length))
        .on('error', () => 'expected');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const tls = policy({ mode: 'web', roots: [interception.authority().toString()] });
    const { fault } = await attempt(
      { host: '127.0.0.1', port },
      { identity: undefined, tls, host: 'api.example.com' },
    );
    t.match(fault, {
      code: 'upstream-identity',
      message: /interception CA/,
      hint: /without the variables/,
    });
    t.equal(received, 0);
    server.close();
    await once(server, 'close');
  },
);
