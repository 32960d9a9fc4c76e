/** The interception authority as programs see it: through real handshakes. */
import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isIP } from 'node:net';
import { duplexPair } from 'node:stream';
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import t from 'tap';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { KEY_FILE } from '../../lib/interception/ca-key.ts';
import {
  CA_LIFETIME,
  LEAF_LIFETIME,
  LEAF_RENEWAL,
  openInterception,
} from '../../lib/interception/authority.ts';
import {
  certificatesPem,
  KEY_USAGE,
  newKeys,
  pkcs8,
  privateKeyPem,
  PURPOSE,
  signCertificate,
} from '../../lib/interception/issue.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';

const HOUR = 3_600_000;

interface MovableClock extends Clock {
  advance(ms: number): void;
}

function movable(): MovableClock {
  let ahead = 0;
  const due: { at: number; act: () => void }[] = [];
  return {
    now: () => Date.now() + ahead,
    monotonic: () => systemClock.monotonic() + ahead,
    after(ms, act) {
      const one = { at: Date.now() + ahead + ms, act };
      due.push(one);
      return () => void (due.includes(one) && due.splice(due.indexOf(one), 1));
    },
    advance(ms) {
      ahead += ms;
      for (const one of due.splice(0)) {
        if (one.at <= Date.now() + ahead) one.act();
        else due.push(one);
      }
    },
  };
}

/** What a client that trusts `ca` alone sees when it asks for `host`; rejects with its verdict. */
async function shown(context: SecureContext, host: string, ca: string): Promise<X509Certificate> {
  const [near, far] = duplexPair();
  const server = new TLSSocket(far, { isServer: true, secureContext: context });
  server.on('error', () => {});
  const client = connect({
    socket: near,
    ca,
    ...(isIP(host) === 0 ? { servername: host } : { host }),
  });
  try {
    return await new Promise((resolve, reject) => {
      client.once('error', reject);
      client.once('secureConnect', () => {
        const leaf = client.getPeerX509Certificate();
        if (leaf === undefined) reject(new Error('no certificate'));
        else resolve(leaf);
      });
    });
  } finally {
    client.destroy();
    server.destroy();
  }
}

const pem = (certificate: X509Certificate): string => certificate.toString();

t.test(
  'a leaf is for its host alone, by name, for a day at most, and the authority vouches for it (T7)',
  async (t) => {
    using authority = await openInterception({
      domains: ['example.com'],
      folder: undefined,
      clock: systemClock,
    });
    t.equal(authority.kept, 'memory');
    const context = await authority.contextFor('api.example.com');
    const leaf = await shown(context, 'api.example.com', pem(authority.authority()));
    t.equal(leaf.subjectAltName, 'DNS:api.example.com');
    t.equal(leaf.ca, false);
    t.same(leaf.keyUsage, [PURPOSE.serverAuth]);
    t.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
    t.ok(
      leaf.validToDate.getTime() - leaf.validFromDate.getTime() <= LEAF_LIFETIME,
      'at most 24 hours',
    );
    t.equal(LEAF_LIFETIME, 24 * HOUR);
    await t.rejects(shown(context, 'www.example.com', pem(authority.authority())), {
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
  },
);

t.test(
  'the authority is bounded in time, may issue leaves for servers alone, and names its domains',
  async (t) => {
    using authority = await openInterception({
      domains: ['example.com', 'crm.internal'],
      folder: undefined,
      clock: systemClock,
    });
    const ca = authority.authority();
    t.equal(ca.ca, true);
    t.ok(ca.validToDate.getTime() - ca.validFromDate.getTime() <= CA_LIFETIME);
    t.same(ca.keyUsage, [PURPOSE.serverAuth]);
    const text = ca.raw.toString('latin1');
    // 2.5.29.30, critical TRUE (RFC 5280 section 4.2.1.10).
    t.ok(text.includes('\x06\x03\x55\x1d\x1e\x01\x01\xff'), 'the constraints are critical');
    t.ok(
      text.includes('\x82\x0bexample.com') && text.includes('\x82\x0ccrm.internal'),
      'permitted subtrees',
    );
  },
);

t.test('a host outside the domains gets nothing', async (t) => {
  using authority = await openInterception({
    domains: ['example.com'],
    folder: undefined,
    clock: systemClock,
  });
  for (const host of [
    'evilexample.com',
    'example.com.evil.test',
    'com',
    'example.org',
    '10.0.0.1',
  ]) {
    t.equal(authority.covers(host), false, host);
    await t.rejects(
      authority.contextFor(host),
      { code: 'intercept-ca', hint: /intercept\.domains/ },
      host,
    );
  }
  t.ok(authority.covers('example.com') && authority.covers('a.b.example.com'));
  t.same(authority.leaves(), { kept: 0, issued: 0 });
});

t.test(
  'with the key in hand nothing outside the domains can be issued that clients take (T7)',
  async (t) => {
    const folder = join(shortFolder(t), 'ca');
    using authority = await openInterception({
      domains: ['example.com'],
      folder,
      clock: systemClock,
    });
    const ca = authority.authority();
    const stolen = createPrivateKey(await readFile(join(folder, KEY_FILE)));
    const { subtle } = globalThis.crypto;
    const p256 = { name: 'ECDSA', namedCurve: 'P-256' };
    const der = stolen.export({ type: 'pkcs8', format: 'der' });
    const spki = ca.publicKey.export({ type: 'spki', format: 'der' });
    const signer = {
      subject: ca.subject.split('\n').join(', '),
      keys: {
        privateKey: await subtle.importKey('pkcs8', der, p256, true, ['sign']),
        publicKey: await subtle.importKey('spki', spki, p256, true, ['verify']),
      },
    };
    const forged = async (
      names: readonly { type: 'dns' | 'ip'; value: string }[],
      over: object = {},
    ): Promise<SecureContext> => {
      const keys = await newKeys();
      const leaf = await signCertificate({
        subject: 'CN=forged',
        publicKey: keys.publicKey,
        signer,
        notBefore: Date.now() - HOUR,
        notAfter: Date.now() + HOUR,
        names: { values: names, critical: false },
        basicConstraints: { ca: false },
        keyUsage: { bits: KEY_USAGE.digitalSignature, critical: true },
        extendedKeyUsage: [PURPOSE.serverAuth],
        ...over,
      });
      return createSecureContext({
        cert: certificatesPem([leaf]),
        key: privateKeyPem(await pkcs8(keys)),
      });
    };
    t.ok(
      await shown(
        await forged([{ type: 'dns', value: 'other.example.com' }]),
        'other.example.com',
        pem(ca),
      ),
      'inside: taken',
    );
    await t.rejects(
      shown(await forged([{ type: 'dns', value: 'bank.test' }]), 'bank.test', pem(ca)),
      /permitted subtree violation/,
    );
    await t.rejects(
      shown(await forged([{ type: 'ip', value: '192.0.2.1' }]), '192.0.2.1', pem(ca)),
      /excluded subtree violation/,
    );
    await t.rejects(
      shown(await forged([{ type: 'ip', value: '2001:db8::1' }]), '2001:db8::1', pem(ca)),
      /excluded subtree violation/,
    );
  },
);

t.test(
  'after a restart with the same folder, who trusts the old certificate trusts what is issued now',
  async (t) => {
    const folder = join(shortFolder(t), 'ca');
    using before = await openInterception({ domains: ['example.com'], folder, clock: systemClock });
    using after = await openInterception({
      domains: ['example.com', 'example.org'],
      folder,
      clock: systemClock,
    });
    t.equal(before.authority().subject, after.authority().subject);
    t.not(before.authority().serialNumber, after.authority().serialNumber);
    const old = pem(before.authority());
    t.ok(await shown(await after.contextFor('a.example.com'), 'a.example.com', old));
    await t.rejects(
      shown(await after.contextFor('a.example.org'), 'a.example.org', old),
      /permitted subtree violation/,
    );
    using another = await openInterception({
      domains: ['example.com'],
      folder: undefined,
      clock: systemClock,
    });
    await t.rejects(
      shown(await another.contextFor('a.example.com'), 'a.example.com', old),
      'another key is not trusted',
    );
  },
);

t.test(
  'a leaf is replaced before it ends; the authority is renewed at half of its life from the same key',
  async (t) => {
    const clock = movable();
    using authority = await openInterception({
      domains: ['example.com'],
      folder: undefined,
      clock,
    });
    const first = authority.authority();
    const context = await authority.contextFor('example.com');
    clock.advance(LEAF_LIFETIME - LEAF_RENEWAL - 120_000);
    t.equal(await authority.contextFor('example.com'), context);
    clock.advance(120_000);
    t.not(await authority.contextFor('example.com'), context);
    t.same(authority.leaves(), { kept: 1, issued: 2 });

    const renewed: X509Certificate[] = [];
    authority.onRenewed((certificate) => renewed.push(certificate));
    clock.advance(CA_LIFETIME / 2);
    await until('the authority is renewed', () => renewed.length > 0 || undefined);
    t.equal(authority.authority(), renewed[0]);
    t.equal(renewed[0]?.subject, first.subject);
    t.ok((renewed[0]?.validToDate.getTime() ?? 0) > first.validToDate.getTime());
    t.equal(pem(first) === pem(renewed[0] ?? first), false);
    clock.advance(CA_LIFETIME / 2);
    await until('and again', () => renewed.length > 1 || undefined);
  },
);
