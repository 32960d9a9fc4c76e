/**
 * Who answers: A14, A15 and what is shown without an identity. Not one byte of the agent's may
 * reach somebody else.
 */
import { KEY_TYPES } from '../../support/key-types.ts';
import { passed, refused, type Attack, type Attempt } from '../case.ts';

const KEYS = KEY_TYPES.filter(({ proves }) => proves).map(({ make }) => make());
const OURS = 'spiffe://example.org/upstream';
const DAY = 86_400_000;

const who = (...peers: NonNullable<Attempt['peer']>[]): Attempt[] =>
  peers.map((peer) => ({ peer }));
const stranger = refused('upstream-identity', { upstream: 'silent' });
const unproved = refused('upstream-tls', { upstream: 'silent' });

export const PEERS: readonly Attack[] = [
  {
    row: 'A14',
    title: 'another workload of the same trust domain',
    attempts: who(
      { id: '/other' },
      { id: '/upstream/admin' },
      { id: '/Upstream' },
      { id: '/upstream2' },
      { id: '/up' },
      { id: '/ns/upstream' },
      { id: '/upstream_' },
    ),
    expect: refused('upstream-identity', {
      upstream: 'silent',
      reason: /expected spiffe:\/\/example\.org\/upstream/,
    }),
  },
  {
    row: 'A14',
    title: 'the right name from an authority that nobody trusts',
    attempts: who({ from: 'another-authority' }, { id: OURS, from: 'another-domain' }),
    expect: unproved,
  },
  {
    row: 'A14',
    title: 'another trust domain, though its bundle is known',
    world: { federated: true },
    attempts: who(
      { from: 'another-domain' },
      { id: '/upstream', from: 'another-domain' },
      { id: OURS, from: 'another-domain' },
    ),
    expect: unproved,
  },
  {
    row: 'A14',
    title: 'a name of another trust domain from our authority',
    attempts: who(
      { id: 'spiffe://other.test/upstream' },
      { id: 'spiffe://example.org.other.test/upstream' },
    ),
    expect: stranger,
  },
  {
    row: 'A14',
    title: 'two URI SANs, the same twice, none, DNS alone, or no SPIFFE ID',
    attempts: who(
      { leaf: { uris: [OURS, 'spiffe://example.org/other'] } },
      { leaf: { uris: ['spiffe://example.org/other', OURS] } },
      { leaf: { uris: [OURS, OURS] } },
      { leaf: { uris: [OURS, 'https://example.org/'] } },
      { leaf: { uris: [] } },
      { leaf: { uris: [], dns: ['crm.internal'] } },
      { leaf: { uris: ['https://example.org/upstream'] } },
      { leaf: { uris: ['spiffe://example.org'] } },
      { leaf: { uris: ['spiffe://example.org/upstream/'] } },
      { leaf: { uris: ['spiffe://example.org//upstream'] } },
      { leaf: { uris: ['spiffe://EXAMPLE.org/upstream'] } },
      { leaf: { uris: ['SPIFFE://example.org/upstream'] } },
      { leaf: { uris: ['spiffe://example.org:443/upstream'] } },
      { leaf: { uris: ['spiffe://a@example.org/upstream'] } },
      { leaf: { uris: ['spiffe://example.org/upstream?x'] } },
      { leaf: { uris: ['spiffe://example.org/%75pstream'] } },
    ),
    expect: stranger,
  },
  {
    row: 'A14',
    title: 'a certificate of an authority, or one that may sign others, as leaf',
    attempts: who(
      { leaf: { ca: true } },
      { leaf: { ca: true, keyUsage: ['digitalSignature', 'keyCertSign'] } },
      { leaf: { keyUsage: ['digitalSignature', 'keyCertSign'] } },
      { leaf: { keyUsage: ['digitalSignature', 'cRLSign'] } },
      { leaf: { keyUsage: 'absent' } },
    ),
    expect: stranger,
  },
  {
    row: 'A14',
    title: 'expired or not yet valid',
    attempts: who(
      { leaf: { notBefore: Date.now() - DAY, notAfter: Date.now() - 1000 } },
      { leaf: { notBefore: Date.now() + DAY, notAfter: Date.now() + 2 * DAY } },
      { leaf: { notBefore: Date.UTC(2024, 0, 1), notAfter: Date.UTC(2024, 0, 2) } },
    ),
    expect: unproved,
  },
  {
    row: 'A14',
    title: 'a key of every kind does not make a stranger a peer',
    attempts: who(...KEYS.map((pair) => ({ id: '/other', leaf: { pair } }))),
    expect: refused('upstream-identity', { upstream: 'silent', reason: /expected spiffe:/ }),
  },
  {
    row: 'A14',
    title: 'a key of every kind from an authority that nobody trusts',
    attempts: who(...KEYS.map((pair) => ({ from: 'another-authority', leaf: { pair } }) as const)),
    expect: unproved,
  },
  {
    row: 'A15',
    title: 'after a rotation the next exchange shows the new SVID on a new connection',
    attempts: [{ after: 'rotation' }, { after: 'rotation' }, { after: 'rotation' }],
    expect: passed({ fresh: true }),
  },
  {
    row: 'C12',
    title: 'without an identity nothing is sent, and nothing falls back',
    world: { identity: 'none' },
    attempts: [{}, {}],
    expect: refused('no-identity'),
  },
  {
    row: 'C12',
    title: 'with an expired identity nothing is sent, and nothing falls back',
    world: { identity: 'expired' },
    attempts: [{}, {}],
    expect: refused('identity-expired'),
  },
];
