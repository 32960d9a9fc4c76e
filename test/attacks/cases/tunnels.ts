/**
 * Ways around: A1, A12, A13, T1, T3, T4, and what holds everywhere: R2, R5, and the access matrix.
 */
import type { MatrixRow } from '../../../lib/policy/model/access-matrix.ts';
import type { TlsMode } from '../../../lib/policy/model/destination.ts';
import { MATRIX } from '../../../lib/policy/protocols/access-matrix.ts';
import type { Protocol } from '../../../lib/policy/protocols/index.ts';
import { rule } from '../../support/destination.ts';
import { type Attack, type Attempt, CARRIES_NOTHING, passed, refused } from '../case.ts';
import { ENTRIES } from '../entries/all.ts';
import type { Entry } from '../entries/entry.ts';
import type { HelloSpec } from '../hello.ts';

const hellos = (...all: HelloSpec[]): Attempt[] => all.map((hello) => ({ hello }));
const cutFor = (reason: RegExp): ReturnType<typeof refused> =>
  refused('denied', { when: 'carried', status: 'cut', reason });
const noHello = refused('malformed', { when: 'carried', status: 'cut', reason: /ClientHello/ });
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n';

const OTHERS = [
  'evil.example',
  'a.crm.internal',
  'crm.internal:8443',
  'crm.internal.evil.example',
  '127.0.0.1',
];

export const TUNNELS: readonly Attack[] = [
  {
    row: 'A1',
    title: 'SNI of another host',
    attempts: hellos(
      { name: 'evil.example' },
      { name: 'crm.internal.evil.example' },
      { name: 'xcrm.internal' },
      { name: 'internal' },
      { name: 'a.crm.internal' },
      { name: 'evil.example', pieces: [1, 6, 50] },
      { name: 'evil.example', records: 60 },
    ),
    expect: cutFor(/asks for/),
  },
  {
    row: 'A1',
    title: 'no SNI',
    attempts: hellos({ name: null }, { name: null, pieces: [3] }),
    expect: cutFor(/names no server/),
  },
  {
    row: 'A1',
    title: 'the SNI of the CONNECT passes, in any case',
    attempts: hellos({}, { name: 'CRM.Internal' }),
    expect: passed(),
  },
  {
    row: 'A1',
    title: 'TLS 1.0 and 1.1 alone are offered',
    attempts: hellos({ version: 0x0301 }, { version: 0x0302 }),
    expect: cutFor(/nothing newer than TLS 1\.1/),
  },
  {
    row: 'A1',
    title: 'TLS 1.2 alone passes',
    attempts: hellos({ version: 0x0303 }),
    expect: passed(),
  },
  {
    row: 'A12',
    title: 'an encrypted ClientHello does not hide that its outer name is another',
    attempts: hellos(
      { name: 'evil.example', extensions: [0xfe0d] },
      { name: 'evil.example', extensions: [0x0a0a, 0xfe0d, 0x1a1a], pieces: [100] },
      { name: 'evil.example', extensions: [0xffce] },
    ),
    expect: cutFor(/asks for/),
  },
  {
    row: 'A12',
    title: 'an encrypted ClientHello without an outer name',
    attempts: hellos({ name: null, extensions: [0xfe0d] }),
    expect: cutFor(/names no server/),
  },
  {
    row: 'A12',
    title: 'browsers send one in every ClientHello: with the name of the CONNECT it passes',
    attempts: hellos({ extensions: [0xfe0d] }, { extensions: [0x0a0a, 0xfe0d, 0x1a1a] }),
    expect: passed(),
  },
  {
    row: 'A12',
    title: 'encrypted ClientHello, real or GREASE, where the document denies it',
    attempts: hellos(
      { extensions: [0xfe0d] },
      { extensions: [0xfe0d], pieces: [100] },
      { extensions: [0x0a0a, 0xfe0d, 0x1a1a] },
      { extensions: [0xffce] },
    ),
    world: { destination: { ech: 'deny' } },
    only: ['CONNECT, passthrough'],
    expect: cutFor(/encrypted ClientHello/),
  },
  {
    row: 'A13',
    title: 'pieces and records of any size are put together',
    attempts: hellos(
      { pieces: [1, 2, 3, 4, 5, 6, 7] },
      { pieces: [5] },
      { records: 200 },
      { records: 60, pieces: [1, 64, 66, 130] },
      { padding: 8000 },
    ),
    expect: passed(),
  },
  {
    row: 'A13',
    title: 'what is too long, or in too many records',
    attempts: hellos({ padding: 16_384 }, { padding: 40_000 }, { records: 1 }, { records: 8 }),
    expect: noHello,
  },
  {
    row: 'A13',
    title: 'an extension twice',
    attempts: hellos({ extensions: [0] }, { extensions: [0x1234, 0x1234] }),
    expect: noHello,
  },
  {
    row: 'T3',
    title: 'anything but TLS',
    world: { destination: { ports: [443] } },
    attempts: hellos(
      ...[
        'SSH-2.0-OpenSSH_9.6\r\n',
        'EHLO x\r\n',
        'GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n',
        'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n',
        '\r\n\r\n\0\r\nQUIT\n',
        '\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10',
        '\x15\x03\x01\x00\x02\x02\x28',
        '\x17\x03\x03\x00\x05hello',
        '\x16\x03\x01\x00\x04\x02\x00\x00\x00',
        '\x16\x03\x01\x00\x00',
        '\x16\x02\x01\x00\x05\x01\x00\x00\x01\x00',
        '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00',
        '\x00\x00\x00\x08\x04\xd2\x16\x2f',
        '\x05\x01\x00',
      ].map((bytes) => ({ bytes })),
    ).map((attempt) => ({ ...attempt, authority: 'crm.internal:443' })),
    expect: noHello,
  },
  {
    row: 'T1',
    title: 'CONNECT to a destination whose requests are judged',
    facet: 'authority',
    only: ['CONNECT, passthrough', 'CONNECT, tcp', 'CONNECT, intercepted', 'CONNECT, inspected'],
    world: {
      destination: {
        protocol: 'http',
        mode: 'mtls',
        intercept: false,
        ports: [443],
        rules: [rule('all', 'allow')],
      },
    },
    attempts: [{}, { hello: {} }, { hello: { bytes: 'GET / HTTP/1.1\r\n\r\n' } }].map(
      (attempt) => ({
        ...attempt,
        authority: 'crm.internal:443',
      }),
    ),
    expect: refused('wrong-entry', { reason: /judged one by one/ }),
  },
  {
    row: 'T4',
    title: 'a WebSocket that no rule allows as one',
    world: { destination: { rules: [rule('no-ws', 'allow')] } },
    attempts: [{}, { path: '/a' }],
    expect: refused('denied', { reason: /as WebSocket/ }),
  },
  {
    row: 'T4',
    title: 'a deny rule is about WebSockets too',
    world: {
      destination: {
        rules: [
          rule('no-admin', 'deny', { paths: ['/admin/**'] }),
          rule('all', 'allow', { websocket: true }),
        ],
      },
    },
    attempts: [{ path: '/admin' }, { path: '/admin/ws' }],
    expect: refused('denied', { reason: /no-admin/ }),
  },
  {
    row: 'T4',
    title: 'a handshake that is none',
    attempts: [
      { method: 'POST' },
      { fields: ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='] },
      { replace: ['dGhlIHNhbXBsZSBub25jZQ==', 'AAAA'] },
      { replace: ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n', ''] },
      { replace: ['Version: 13', 'Version: 8'] },
      { replace: ['Sec-WebSocket-Version: 13\r\n', ''] },
      { replace: ['Version: 13', 'Version: 13, 8'] },
    ],
    expect: refused('malformed'),
  },
  {
    row: 'T4',
    title: 'extensions are not offered on, and the key is ours',
    attempts: [
      { fields: ['Sec-WebSocket-Extensions: permessage-deflate'] },
      { fields: ['Sec-WebSocket-Accept: evil'] },
    ],
    expect: passed({ unsent: [/permessage/i, /evil/i, /dGhlIHNhbXBsZSBub25jZQ==/] }),
  },
  {
    row: 'T4',
    title: 'a switch that does not answer our handshake',
    attempts: [
      `${SWITCH}Upgrade: websocket\r\n\r\n`,
      `${SWITCH}Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n`,
      `${SWITCH}Upgrade: h2c\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n`,
      `${SWITCH}Upgrade: websocket\r\nSec-WebSocket-Accept: ` +
        `ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n`,
      `${SWITCH}Upgrade: websocket\r\nSec-WebSocket-Accept: ` +
        `ACCEPT\r\nSec-WebSocket-Protocol: evil\r\n\r\n`,
      `${SWITCH}Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\nContent-Length: 5\r\n\r\n`,
    ].map((answer) => ({ answer })),
    expect: refused('upstream-malformed', { upstream: 'asked' }),
  },
  {
    row: 'R2',
    title: 'more at one time than the destination allows',
    world: { destination: { limits: { concurrent: 1 } } },
    attempts: [{ after: 'a-busy-one' }, { after: 'a-busy-one' }],
    expect: refused('too-many'),
    // A tunnel that is looked into takes no place: the requests inside do.
    at: CARRIES_NOTHING,
  },
  {
    row: 'R5',
    title: 'what cannot be recorded is not sent',
    world: { audit: 'failing' },
    attempts: [{}, { path: '/a' }],
    expect: refused('audit-unavailable'),
  },
  {
    row: 'F10',
    title: 'what we repeat is quoted',
    attempts: [
      '"};alert(1)//',
      '<script>',
      "'",
      'a"b',
      '\\"',
      '{{7*7}}',
      '%0d%0aX-Evil: 1',
      '%22',
    ].map((authority) => ({ authority })),
    expect: refused('malformed'),
  },
  {
    row: 'R7',
    title: 'escape sequences and line breaks in what is recorded',
    attempts: [
      '\x1b[31mcrm',
      'crm\x9b31m',
      'crm\x85',
      'crm\x08\x08',
      '\xe2\x80\xa8crm',
      '\xe2\x80\xaecrm',
      'crm\x07',
    ].map((authority) => ({ authority })),
    expect: refused('malformed'),
  },
  {
    row: 'A2',
    title: 'another host inside than the tunnel goes to',
    attempts: OTHERS.map((authority) => ({ authority })),
    expect: refused('misdirected', { when: 'read' }),
  },
  {
    row: 'A2',
    title: 'another host inside than the tunnel goes to, in target or Host alone',
    only: ['intercepted'],
    attempts: OTHERS.flatMap((host) => [
      { host: [host], absolute: true },
      { target: `https://${host}/` },
    ]),
    expect: refused('misdirected', { when: 'read' }),
  },
  {
    row: 'T6',
    title: 'an upstream that cannot be verified is a 502 inside, never a tunnel',
    facet: 'inside',
    attempts: [{ peer: { id: '/other' } }, { peer: { leaf: { uris: [] } } }],
    expect: refused('upstream-identity', { upstream: 'silent' }),
  },
  {
    row: 'T7',
    title: 'a host that the authority does not cover is not stood in for',
    world: { destination: { hosts: ['uncovered.test'] } },
    attempts: [{}, { path: '/a' }],
    expect: refused('wrong-entry', { when: 'carried' }),
  },
  // Every refused row of the access matrix, for each protocol and mode it stands for, over the ways
  // in that can be spoken to there.
  ...MATRIX.filter(({ outcome }) => outcome === 'refused').flatMap((row) =>
    row.protocols.flatMap((protocol) =>
      row.modes.flatMap((mode) => refusedAt(row, protocol, mode)),
    ),
  ),
];

/**
 * What a destination's own listener speaks depends on the destination; where nothing is intercepted
 * there is no inside.
 */
function speaks({ door, passes }: Entry, protocol: Protocol): boolean {
  if (door === 'intercept' || door === 'cleartext') return false;
  if (door !== 'listener') return true;
  return protocol === 'tcp' ? passes === 0 : protocol === 'http' && passes !== 0;
}

function refusedAt(
  { entry: door, intercept = false, port }: MatrixRow,
  protocol: Protocol,
  mode: TlsMode,
): readonly Attack[] {
  const only = ENTRIES.filter((entry) => entry.door === door && speaks(entry, protocol)).map(
    ({ name }) => name,
  );
  const rules = protocol === 'tcp' || mode === 'passthrough' ? [] : [rule('all', 'allow')];
  const tls = port === 'https';
  const attack: Attack = {
    row: '3.1',
    title: `${door} to protocol ${protocol} in mode ${mode}`,
    only,
    world: {
      destination: {
        protocol,
        mode,
        intercept,
        insecure: mode === 'plaintext',
        rules,
        ...(tls && { ports: [443] }),
      },
    },
    attempts: [tls ? { authority: 'crm.internal:443' } : {}],
    expect: refused('wrong-entry'),
  };
  return only.length === 0 ? [] : [attack];
}
