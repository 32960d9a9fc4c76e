/**
 * Path validation (RFC 5280 section 6) of a chain that somebody presented, against the anchors of
 * one context alone, by OpenSSL. Where peers of several trust domains may answer or call, the
 * handshake is made with the anchors of all of them, because the peer is not known before it; what
 * it presented is then validated again with the anchors of its own trust domain and no other.
 * The engine validates only what a handshake brings, so a server in memory is shown the first two
 * messages of a caller in TLS 1.2, in which certificates travel in the clear (RFC 5246 sections
 * 7.4.1.2 and 7.4.6), and is asked for its verdict. It is a server because that one judges a chain
 * whatever the key of its leaf is for (ML-DSA, Ed25519, KEMs), while a client of TLS 1.2 gives up
 * on keys that none of its suites has. Nothing is sent anywhere, the peer's key is not needed, and
 * the handshake goes no further.
 */
import { generateKeyPairSync, sign, type X509Certificate } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { type SecureContext, type SecureContextOptions, TLSSocket } from 'node:tls';
import { Fault } from '../base/fault.ts';
import { sequence, tlv } from './der.ts';

const TURNS = 100;
const MAX_RECORD = 16_384;

/**
 * The engine's code of why the chain (leaf first) does not lead to an anchor of the context
 * (`TlsContexts.anchors`), such as `CERT_HAS_EXPIRED`; undefined when it is valid.
 * Throws a Fault `upstream-tls` when the engine cannot read the chain at all.
 */
export async function pathProblem(
  chain: readonly X509Certificate[],
  context: SecureContext,
): Promise<string | undefined> {
  const [near, far] = duplexPair();
  const judge = new TLSSocket(near, {
    isServer: true,
    secureContext: context,
    requestCert: true,
    rejectUnauthorized: true,
  });
  let failure: Error | undefined;
  judge.on('error', (error) => (failure = error));
  far.on('error', (error) => (failure ??= error));
  try {
    far.resume();
    far.write(callerFlight(chain));
    for (let turn = 0; turn < TURNS && failure === undefined; turn += 1) {
      await nextTurn();
      // In this order: a handshake that failed has no state left that could be asked for a verdict.
      if (failure !== undefined) break;
      // A server keeps chain and verdict in one step, and only of a chain that it has judged.
      if (judge.getPeerX509Certificate() !== undefined) return askedOf(handleOf(judge));
    }
    throw new Fault('upstream-tls', 'the chain that the peer presented cannot be read', {
      cause: failure,
    });
  } finally {
    judge.destroy();
    far.destroy();
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * OpenSSL's verdict on the peer's certificate after the whole handshake, whoever asked for it:
 * undefined when its path is valid. The engine publishes it as `authorizationError` only for
 * sockets made by tls.connect and tls.Server; the handle has it in every case.
 * Throws a Fault `upstream-tls` for a connection that has no cipher or no peer: the engine reads
 * both without a look whether they are there.
 */
export function verdictOf(socket: TLSSocket): string | undefined {
  const handle = handleOf(socket);
  if (isNegotiated(socket) && socket.getPeerX509Certificate() !== undefined) return askedOf(handle);
  throw unverified();
}

function askedOf(handle: Handle): string | undefined {
  const error = handle.verifyError();
  return error === null || error === undefined ? undefined : verdictText(error);
}

/** Whether a cipher was agreed on; the type of the engine says that there is always one. */
function isNegotiated(socket: TLSSocket): boolean {
  const cipher: Partial<ReturnType<TLSSocket['getCipher']>> | undefined = socket.getCipher();
  return cipher?.name !== undefined;
}

/**
 * The engine's code, with OpenSSL's words where it has no code of its own for them (name
 * constraints, key usage of a CA).
 */
export function verdictText(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'UNSPECIFIED';
  return code === 'UNSPECIFIED' ? `${code}: ${error.message}` : code;
}

interface Handle {
  verifyError(): Error | null | undefined;
}

function handleOf(socket: TLSSocket): Handle {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (isHandle(handle)) return handle;
  throw unverified();
}

function unverified(): Fault {
  return new Fault('upstream-tls', 'the connection closed before its peer was verified');
}

function isHandle(value: unknown): value is Handle {
  return (
    typeof value === 'object' &&
    value !== null &&
    'verifyError' in value &&
    typeof value.verifyError === 'function'
  );
}

/**
 * ClientHello (TLS 1.2: secure renegotiation, the one suite, curve and signature scheme of
 * `judgeOptions`) and Certificate, in records.
 */
function callerFlight(chain: readonly X509Certificate[]): Buffer {
  const extensions = Buffer.concat([
    extension(10, [0, 2, 0, 0x17]),
    extension(11, [1, 0]),
    extension(13, [0, 2, 4, 3]),
    extension(0xff01, [0]),
  ]);
  const hello = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 1),
    Buffer.from([0, 0, 2, 0xc0, 0x2b, 1, 0]),
    Buffer.from([extensions.length >> 8, extensions.length & 255]),
    extensions,
  ]);
  const list = Buffer.concat(chain.map(({ raw }) => vector24(raw)));
  const messages = Buffer.concat([message(1, hello), message(11, vector24(list))]);
  const records: Buffer[] = [];
  for (let at = 0; at < messages.length; at += MAX_RECORD) {
    const part = messages.subarray(at, at + MAX_RECORD);
    records.push(Buffer.from([22, 3, 3, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

function extension(type: number, body: readonly number[]): Buffer {
  return Buffer.from([type >> 8, type & 255, body.length >> 8, body.length & 255, ...body]);
}

function vector24(bytes: Buffer): Buffer {
  const length = Buffer.alloc(3);
  length.writeUIntBE(bytes.length, 0, 3);
  return Buffer.concat([length, bytes]);
}

function message(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), vector24(body)]);
}

/**
 * Options of a context for `pathProblem` that trusts `anchors` (PEM) alone. A server asks for
 * certificates only when it has one itself: this one is nobody's, is shown to nobody, and its key
 * is forgotten with the context.
 */
export function judgeOptions(anchors: readonly string[]): SecureContextOptions {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signing = sequence(Buffer.from('06082a8648ce3d040302', 'hex'));
  const body = sequence(
    tlv(0x02, Buffer.from([1])),
    signing,
    sequence(),
    sequence(tlv(0x17, Buffer.from('700101000000Z')), tlv(0x17, Buffer.from('491231235959Z'))),
    sequence(),
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = tlv(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, privateKey)]));
  const certificate = sequence(body, signing, signature).toString('base64');
  return {
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256',
    cert: `-----BEGIN CERTIFICATE-----\n${certificate}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    // Always an array: an empty text would mean the system's roots.
    ca: [...anchors],
    allowPartialTrustChain: true,
  };
}
