/** A leaf may have any key that the engine can make: it is judged, or refused with a Fault. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { connect as connectTo, TLSSocket } from 'node:tls';
import t from 'tap';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';
import { parseX509Svid } from '../../lib/spiffe/svid.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { verifyIssuedChain } from '../../lib/identity/chain.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { pathProblem, verdictOf } from '../../lib/tls/path.ts';
import { testAuthority, type TestSvid } from '../support/authority.ts';
import { KEY_TYPES } from '../support/key-types.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { accepting, attempt, dialled, domain, policy, reached } from './fixture.ts';

/** Set in the process that a test starts to see that it lives. */
const FEW = process.env['KEY_TYPES'];
const TYPES = KEY_TYPES.filter(
  ({ name }) => FEW === undefined || FEW.split(',').some((one) => name.includes(one)),
);

const OWN = ['spiffe://example.org/*', 'spiffe://other.test/*'];
const callers = OWN.map(parsePeerPattern);

/** A first flight of TLS 1.2 that shows a chain and proves nothing; no key is needed for it. */
function flight(chain: readonly { readonly raw: Buffer }[], side: 'client' | 'server'): Buffer {
  const sized = (bytes: Buffer): Buffer => {
    const length = Buffer.alloc(3);
    length.writeUIntBE(bytes.length, 0, 3);
    return Buffer.concat([length, bytes]);
  };
  const message = (type: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([type]), sized(body)]);
  const start = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32, 1)]);
  const hello =
    side === 'server'
      ? message(2, Buffer.concat([start, Buffer.from('00c02b00' + '0005ff01000100', 'hex')]))
      : message(
          1,
          Buffer.concat([start, Buffer.from('000002c02b0100' + '0019', 'hex'), EXTENSIONS]),
        );
  const certificates = message(11, sized(Buffer.concat(chain.map(({ raw }) => sized(raw)))));
  const all = Buffer.concat([hello, certificates]);
  const records: Buffer[] = [];
  for (let at = 0; at < all.length; at += 16_384) {
    const part = all.subarray(at, at + 16_384);
    records.push(Buffer.from([22, 3, 3, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

const EXTENSIONS = Buffer.from(
  '000a00040002' + '0017' + '000b00020100' + '000d00040002' + '0403' + 'ff01000100',
  'hex',
);

/** An upstream that says the flight and no more. */
async function showing(
  chain: TestSvid['chain'],
): Promise<AsyncDisposable & { host: string; port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => 'it is refused');
    socket.once('data', () => socket.end(flight(chain, 'server')));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

for (const { name, proves, make } of TYPES) {
  t.test(
    `a leaf with a key of ${name}: judged or refused, in both directions, and again later`,
    async (t) => {
      const other = await testAuthority({ trustDomain: 'other.test' });
      const { authority, identity } = await domain(other);
      const pair = make();
      const upstream = await authority.svid('/upstream', { pair });
      const caller = await authority.svid('/caller', { pair });
      const contexts = tlsContexts();
      const at = { identity, contexts, tls: policy({ peers: OWN }) };

      t.equal(
        await pathProblem(upstream.chain, contexts.anchors(identity, authority.trustDomain)),
        undefined,
      );
      const elsewhere = await pathProblem(
        upstream.chain,
        contexts.anchors(identity, other.trustDomain),
      );
      t.match(elsewhere, /UNABLE_TO|SIGNATURE/, 'and only its own anchors vouch for it');

      await using shown = await showing(upstream.chain);
      t.match(
        (await attempt(shown, at)).fault,
        { code: 'upstream-tls' },
        'an upstream that proves nothing',
      );
      {
        await using server = await accepting({ identity, callers, contexts });
        const socket = await dialled(server);
        socket.write(flight(caller.chain, 'client'));
        socket.end();
        t.match(
          (await server.outcome).fault,
          { code: 'client-tls' },
          'a caller that proves nothing',
        );
        socket.destroy();
      }
      if (!proves) return;
      await using real = await mtlsUpstream({ authority, svid: upstream });
      const outcome = reached(await attempt(real, at));
      t.equal(outcome.peer.spiffeId, 'spiffe://example.org/upstream');
      outcome.socket.destroy();
      await using server = await accepting({ identity, callers, contexts });
      const socket = connectTo({
        socket: await dialled(server),
        cert: caller.certificatesPem,
        key: caller.privateKeyPem,
        rejectUnauthorized: false,
      });
      socket.on('error', () => 'the test is over');
      const accepted = reached(await server.outcome);
      t.equal(accepted.peer.spiffeId, 'spiffe://example.org/caller');
      accepted.socket.destroy();
      socket.destroy();
    },
  );

  t.test(`an SVID of our own with a key of ${name} is used or refused with a Fault`, async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/agent', { pair: make() });
    const { spiffeId, certs, key, hint } = { ...parts(svid), hint: '' };
    const parsed = parseX509Svid({ spiffeId, certs, key, hint }, Date.now());
    const verdict = verifyIssuedChain(parsed, authority.bundle, systemClock);
    if (proves) await t.resolves(verdict);
    else await t.rejects(verdict, { code: 'bad-svid' });
  });
}

function parts(svid: TestSvid): { spiffeId: string; certs: Uint8Array; key: Uint8Array } {
  return { spiffeId: svid.id, certs: svid.concatenated, key: svid.privateKey };
}

t.test(
  'a connection that has agreed on nothing yet has no verdict, whatever it was shown',
  async (t) => {
    const authority = await testAuthority();
    for (const { name, make } of TYPES) {
      const { chain } = await authority.svid('/upstream', { pair: make() });
      for (const side of ['client', 'server'] as const) {
        const [near, far] = duplexPair();
        const settings = { maxVersion: 'TLSv1.2' as const, ca: [authority.pem] };
        const socket =
          side === 'server'
            ? connectTo({ socket: near, ...settings })
            : new TLSSocket(near as unknown as Socket, { isServer: true, requestCert: true });
        socket.on('error', () => 'the handshake cannot end well');
        far.on('error', () => 'nor here');
        t.throws(
          () => verdictOf(socket),
          { code: 'upstream-tls' },
          `${name}: before anything was said`,
        );
        far.resume();
        far.write(flight(chain, side));
        for (let turn = 0; turn < 5; turn += 1) {
          await new Promise((resolve) => setImmediate(resolve));
          t.throws(
            () => verdictOf(socket),
            { code: 'upstream-tls' },
            `${name}, shown by the ${side}`,
          );
        }
        socket.destroy();
        far.destroy();
      }
    }
  },
);

for (const curve of ['secp256k1', 'brainpoolP256r1', 'brainpoolP512r1', 'P-521']) {
  t.test(
    `an intermediate with a key on ${curve} is judged as any other, in both directions`,
    async (t) => {
      const other = await testAuthority({ trustDomain: 'other.test' });
      const { authority, identity } = await domain(other);
      const pair = generateKeyPairSync('ec', { namedCurve: curve });
      const middle = await authority.intermediate({ pair });
      const contexts = tlsContexts();
      await using upstream = await mtlsUpstream({
        authority,
        svid: await middle.svid('/upstream'),
      });
      const { peer, socket } = reached(
        await attempt(upstream, { identity, contexts, tls: policy({ peers: OWN }) }),
      );
      t.equal(peer.spiffeId, 'spiffe://example.org/upstream');
      socket.destroy();
      const svid = await middle.svid('/caller');
      await using server = await accepting({ identity, callers, contexts });
      const calling = connectTo({
        socket: await dialled(server),
        cert: svid.certificatesPem,
        key: svid.privateKeyPem,
        rejectUnauthorized: false,
      });
      calling.on('error', () => 'the test is over');
      t.equal(reached(await server.outcome).peer.spiffeId, 'spiffe://example.org/caller');
      calling.destroy();
      const own = await middle.svid('/agent');
      await t.resolves(verifyIssuedChain(own.x509Svid, authority.bundle, systemClock));
    },
  );

  t.test(`a server of the web with a key on ${curve} is judged by its name`, async (t) => {
    const authority = await testAuthority();
    const pair = generateKeyPairSync('ec', { namedCurve: curve });
    const middle = await authority.intermediate({ pair });
    const svid = await middle.svid('/web', { dns: ['crm.internal'] });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
    const tls = policy({ mode: 'web', roots: [authority.pem] });
    const { socket } = reached(await attempt(upstream, { identity: undefined, tls }));
    socket.destroy();
    const { fault } = await attempt(upstream, { identity: undefined, tls, host: 'other.internal' });
    t.match(fault, { code: 'upstream-identity' });
  });
}

t.test('a connection that is closed has no verdict', async (t) => {
  const { authority, identity } = await domain();
  await using server = await mtlsUpstream({ authority });
  const { socket } = reached(await attempt(server, { identity }));
  t.equal(verdictOf(socket), undefined);
  socket.destroy();
  t.throws(() => verdictOf(socket), {
    code: 'upstream-tls',
    message: /closed before its peer was verified/,
  });
});

t.test(
  'the process lives through keys that end the engine',
  { skip: FEW !== undefined },
  async (t) => {
    // Nothing that would choose among its tests.
    const env = { PATH: process.env['PATH'], KEY_TYPES: 'brainpoolP256r1,x25519' };
    const child = spawn(process.execPath, [import.meta.filename], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    t.same(await once(child, 'exit'), [0, null]);
  },
);
