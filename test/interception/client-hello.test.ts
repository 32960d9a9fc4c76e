/** Real ClientHellos, split at every byte; and everything that is not one. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect as dial, createServer, type AddressInfo } from 'node:net';
import { connect, type ConnectionOptions } from 'node:tls';
import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import {
  MAX_CLIENT_HELLO_BYTES,
  MAX_HANDSHAKE,
  MAX_RECORDS,
  readClientHello,
  type ClientHello,
} from '../../lib/interception/client-hello.ts';

/** The first bytes that a client sends to a server that never answers. */
async function captured(client: (port: number) => () => void): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = client((server.address() as AddressInfo).port);
  const [socket] = await once(server, 'connection');
  const [bytes]: unknown[] = await once(socket, 'data');
  socket.destroy();
  end();
  server.close();
  await once(server, 'close');
  if (!Buffer.isBuffer(bytes)) throw new TypeError('no bytes');
  return bytes;
}

const byNode = (options: ConnectionOptions): Promise<Buffer> =>
  captured((port) => {
    const socket = connect({
      socket: dial({ host: '127.0.0.1', port }),
      rejectUnauthorized: false,
      ...options,
    });
    socket.on('error', () => 'nobody answers');
    return () => socket.destroy();
  });

const openssl =
  spawnSync('openssl', ['version']).status === 0 ? false : 'the openssl command is not installed';
const curl = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed';

const byCommand = (command: string, args: (port: number) => string[]): Promise<Buffer> =>
  captured((port) => {
    const child = spawn(command, args(port), { stdio: ['pipe', 'ignore', 'ignore'] });
    return () => void child.kill('SIGKILL');
  });

/** The same handshake bytes in records of the given sizes, the last taking what is left. */
function inRecords(hello: Buffer, sizes: readonly number[]): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0, n = 0; at < message.length; n += 1) {
    const size = Math.min(sizes[n] ?? message.length, message.length - at);
    records.push(Buffer.from([22, 3, 1, size >> 8, size & 255]), message.subarray(at, at + size));
    at += size;
  }
  return Buffer.concat(records);
}

const vector = (width: 1 | 2, bytes: Buffer): Buffer => {
  const length = Buffer.alloc(width);
  length.writeUIntBE(bytes.length, 0, width);
  return Buffer.concat([length, bytes]);
};
const extension = (type: number, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, bytes)]);
const hostName = (name: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name))]);
const sni = (...entries: readonly Buffer[]): Buffer =>
  extension(0, vector(2, Buffer.concat(entries)));

interface Parts {
  readonly version?: number;
  readonly session?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  readonly extensions?: Buffer | 'absent';
  readonly after?: Buffer;
}

/** A ClientHello in one record, right unless a part says otherwise. */
function hello(parts: Parts = {}): Buffer {
  const {
    version = 0x0303,
    session = Buffer.alloc(32, 7),
    suites = Buffer.from([0x13, 1]),
    compression = Buffer.from([0]),
  } = parts;
  const { extensions = sni(hostName('crm.internal')), after = Buffer.alloc(0) } = parts;
  const body = Buffer.concat([
    Buffer.from([version >> 8, version & 255]),
    Buffer.alloc(32, 1),
    vector(1, session),
    vector(2, suites),
    vector(1, compression),
    ...(extensions === 'absent' ? [] : [vector(2, extensions)]),
    after,
  ]);
  const message = Buffer.concat([Buffer.from([1, 0, body.length >> 8, body.length & 255]), body]);
  return Buffer.concat([
    Buffer.from([22, 3, 1, message.length >> 8, message.length & 255]),
    message,
  ]);
}

function read(bytes: Buffer): ClientHello {
  const found = readClientHello(bytes);
  if (found === 'more') throw new Error('it asks for more');
  return found;
}

const CRM = { serverName: 'crm.internal', ech: false, alpn: [] };

t.test('reads the ClientHellos of node:tls (A1)', async (t) => {
  t.same(read(await byNode({ servername: 'CRM.internal' })), CRM);
  t.same(read(await byNode({ servername: 'crm.internal', ALPNProtocols: ['h2', 'http/1.1'] })), {
    ...CRM,
    alpn: ['h2', 'http/1.1'],
  });
  t.same(read(await byNode({ servername: 'crm.internal', maxVersion: 'TLSv1.2' })), CRM);
  t.same(read(await byNode({})), { serverName: undefined, ech: false, alpn: [] }, 'no server name');
});

t.test('reads the ClientHello of the openssl command (A1)', { skip: openssl }, async (t) => {
  const bytes = await byCommand('openssl', (port) => [
    's_client',
    '-connect',
    `127.0.0.1:${port}`,
    '-servername',
    'crm.internal',
    '-alpn',
    'h2',
  ]);
  t.same(read(bytes), { ...CRM, alpn: ['h2'] });
});

t.test('reads the ClientHello of curl (A1)', { skip: curl }, async (t) => {
  const bytes = await byCommand('curl', (port) => [
    '-sk',
    '--connect-to',
    `crm.internal:443:127.0.0.1:${port}`,
    'https://crm.internal/',
  ]);
  t.match(read(bytes), { serverName: 'crm.internal', ech: false });
});

t.test('asks for more at every byte but the last, in one record and in many (A13)', async (t) => {
  const whole = await byNode({ servername: 'crm.internal', ALPNProtocols: ['http/1.1'] });
  const size = Math.ceil((whole.length - 5) / MAX_RECORDS);
  for (const bytes of [
    whole,
    inRecords(whole, [1, 1, 1, 1, 1, 3]),
    inRecords(whole, Array<number>(MAX_RECORDS).fill(size)),
  ]) {
    for (let length = 0; length < bytes.length; length += 1) {
      if (readClientHello(bytes.subarray(0, length)) !== 'more')
        t.fail(`an answer after ${length} of ${bytes.length} bytes`);
    }
    t.same(read(bytes), { ...CRM, alpn: ['http/1.1'] });
    const early = Buffer.concat([bytes, Buffer.from([20, 3, 3, 0, 1, 1, 23, 3, 3])]);
    t.same(read(early), { ...CRM, alpn: ['http/1.1'] }, 'records that follow are not looked at');
  }
});

t.test(
  'steps over GREASE (RFC 8701) and flags encrypted_client_hello, GREASE or not (A12)',
  async (t) => {
    const grease = [extension(0x0a0a, Buffer.alloc(0)), extension(0x8a8a, Buffer.from([0]))];
    const named = sni(hostName('crm.internal'));
    t.same(
      read(
        hello({
          suites: Buffer.from('0a0a1301', 'hex'),
          extensions: Buffer.concat([...grease, named]),
        }),
      ),
      CRM,
    );
    t.same(
      read(hello({ extensions: Buffer.concat([named, extension(0xfe0d, Buffer.alloc(40))]) })),
      {
        ...CRM,
        ech: true,
      },
    );
    t.same(read(hello({ extensions: 'absent' })), { serverName: undefined, ech: false, alpn: [] });
  },
);

const MALFORMED: readonly (readonly [string, Buffer, RegExp])[] = [
  ['plain HTTP (T3)', Buffer.from('G'), /first byte is 71/],
  ['SSH (T3)', Buffer.from('SSH-2.0-x'), /first byte/],
  ['an SSLv2 hello', Buffer.from('802e010002', 'hex'), /first byte/],
  ['a record of another version', Buffer.from([22, 2]), /version 2/],
  ['another kind of record', Buffer.from([23, 3, 3]), /first byte is 23/],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0]), /record of 0 bytes/],
  ['a record of more than 16 KiB (A13)', Buffer.from([22, 3, 1, 0x40, 1]), /record of 16385/],
  ['another handshake message', Buffer.from([22, 3, 1, 0, 9, 2]), /type 2/],
  [
    'a message of more than 16 KiB (A13)',
    Buffer.from([22, 3, 1, 0, 9, 1, 0, 0x40, 1]),
    new RegExp(`at most ${MAX_HANDSHAKE}`),
  ],
  [
    'more records than are read (A13)',
    inRecords(hello(), Array<number>(MAX_RECORDS + 1).fill(1)),
    /more than 32 records/,
  ],
  [
    'two names',
    hello({ extensions: sni(hostName('a.test'), hostName('b.test')) }),
    /more than one/,
  ],
  [
    'a name of another type',
    hello({ extensions: sni(Buffer.from([1, 0, 1, 97])) }),
    /unknown type/,
  ],
  [
    'an empty list of names',
    hello({ extensions: extension(0, Buffer.from([0, 0])) }),
    /ends early/,
  ],
  ['an empty server_name', hello({ extensions: extension(0, Buffer.alloc(0)) }), /ends early/],
  ['an empty name', hello({ extensions: sni(hostName('')) }), /not a host name/],
  [
    'a name with a dot at its end',
    hello({ extensions: sni(hostName('crm.internal.')) }),
    /not a host name/,
  ],
  [
    'a name with a NUL (A8)',
    hello({ extensions: sni(hostName('crm.internal\0.evil.test')) }),
    /not a host name/,
  ],
  [
    'a name that is not ASCII (A7)',
    hello({ extensions: sni(hostName('crm。internal')) }),
    /not a host name/,
  ],
  ['an address as a name', hello({ extensions: sni(hostName('127.0.0.1')) }), /not a host name/],
  ['a label of 64 bytes', hello({ extensions: sni(hostName('a'.repeat(64))) }), /not a host name/],
  [
    'a name of 254 bytes',
    hello({ extensions: sni(hostName(`${'a.'.repeat(126)}bc`)) }),
    /not a host name/,
  ],
  [
    'bytes after the names',
    hello({
      extensions: extension(0, Buffer.concat([vector(2, hostName('a.test')), Buffer.from([0])])),
    }),
    /more than one/,
  ],
  [
    'an extension twice',
    hello({ extensions: Buffer.concat([sni(hostName('a.test')), sni(hostName('b.test'))]) }),
    /extension 0 is there twice/,
  ],
  [
    'an extension after pre_shared_key',
    hello({ extensions: Buffer.concat([extension(41, Buffer.alloc(4)), sni(hostName('a.test'))]) }),
    /must be last/,
  ],
  ['an extension that is cut', hello({ extensions: Buffer.from([0, 0, 0, 9, 0]) }), /ends early/],
  ['half an extension head', hello({ extensions: Buffer.from([0, 0, 0]) }), /ends early/],
  ['bytes after the extensions', hello({ after: Buffer.from([0]) }), /bytes follow its extensions/],
  ['version 3.0', hello({ version: 0x0300 }), /version 0x300/],
  ['version 3.4', hello({ version: 0x0304 }), /version 0x304/],
  ['a session id of 33 bytes', hello({ session: Buffer.alloc(33) }), /session id/],
  ['no cipher suites', hello({ suites: Buffer.alloc(0) }), /cipher suites/],
  ['half a cipher suite', hello({ suites: Buffer.alloc(3) }), /cipher suites/],
  ['no compression', hello({ compression: Buffer.alloc(0) }), /null compression/],
  ['only a real compression', hello({ compression: Buffer.from([1]) }), /null compression/],
  ['an empty ALPN list', hello({ extensions: extension(16, Buffer.from([0, 0])) }), /ALPN/],
  [
    'an empty ALPN name',
    hello({ extensions: extension(16, Buffer.from([0, 1, 0])) }),
    /protocol name is empty/,
  ],
  [
    'an ALPN list with bytes after it',
    hello({ extensions: extension(16, Buffer.from([0, 2, 1, 104, 0])) }),
    /ALPN/,
  ],
];

for (const [title, bytes, message] of MALFORMED) {
  t.test(`refuses ${title}`, async (t) => {
    t.throws(() => readClientHello(bytes), { code: 'malformed', message, hint: /must speak TLS/ });
  });
}

t.test('refuses a second message in the same record', async (t) => {
  const one = hello();
  const message = Buffer.concat([one.subarray(5), Buffer.from([1, 0, 0, 0])]);
  const bytes = Buffer.concat([
    Buffer.from([22, 3, 1, message.length >> 8, message.length & 255]),
    message,
  ]);
  t.throws(() => readClientHello(bytes), { code: 'malformed', message: /bytes follow it/ });
});

t.test(
  'the longest ClientHello is read and needs no more than the stated number of bytes',
  async (t) => {
    const room =
      MAX_HANDSHAKE - (hello({ extensions: sni(hostName('crm.internal')) }).length - 9) - 4;
    const named = Buffer.concat([sni(hostName('crm.internal')), extension(21, Buffer.alloc(room))]);
    const body = hello({ extensions: named }).subarray(5);
    t.equal(body.length, MAX_HANDSHAKE + 4);
    const bytes = inRecords(
      Buffer.concat([Buffer.alloc(5), body]),
      Array<number>(MAX_RECORDS - 1).fill(520),
    );
    t.same(read(bytes), CRM);
    t.ok(bytes.length <= MAX_CLIENT_HELLO_BYTES);
  },
);

t.test(
  'never throws anything but a Fault, and more bytes never change an answer (property)',
  async (t) => {
    const real = await byNode({ servername: 'crm.internal', ALPNProtocols: ['h2'] });
    const outcome = (bytes: Buffer): string => {
      try {
        const found = readClientHello(bytes);
        return found === 'more' ? found : JSON.stringify(found);
      } catch (failure) {
        if (!(failure instanceof Fault) || failure.code !== 'malformed') throw failure;
        return 'malformed';
      }
    };
    const mutated = fc
      .array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((changes) => {
        const bytes = Buffer.from(real);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const noise = fc
      .uint8Array({ maxLength: 400 })
      .map((bytes) => Buffer.concat([Buffer.from([22, 3, 1]), bytes]));
    fc.assert(
      fc.property(fc.oneof(mutated, noise), fc.nat(2000), (bytes, cut) => {
        const early = outcome(bytes.subarray(0, cut % bytes.length));
        const late = outcome(bytes);
        return early === 'more' || early === late;
      }),
      { numRuns: 5000 },
    );
    t.pass();
  },
);
