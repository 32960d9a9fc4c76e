/**
 * Path validation (RFC 5280 section 6) of a chain that somebody presented, against the anchors of one context alone, by OpenSSL. Where peers of
 * several trust domains may answer or call, the handshake is made with the anchors of all of them, because the peer is not known before it;
 * what it presented is then validated again with the anchors of its own trust domain and no other. The engine's only door to its validator
 * without the peer's key is the handshake itself, so a client in memory is shown the first two messages of a TLS 1.2 handshake that carry the
 * chain in the clear (RFC 5246 sections 7.4.1.3 and 7.4.2) and asked for its verdict. Nothing is sent anywhere, no key is involved, and the handshake goes no further.
 */
import type { X509Certificate } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { Fault } from '../base/fault.ts';

const TURNS = 100;
const LARGEST_RECORD = 16_384;

/**
 * The engine's code of why the chain (leaf first) does not lead to an anchor of the context (`TlsContexts.anchors`), such as `CERT_HAS_EXPIRED`; undefined when it is valid.
 * Throws a Fault `upstream-tls` when the engine cannot read the chain at all.
 */
export async function pathProblem(
  chain: readonly X509Certificate[],
  context: SecureContext,
): Promise<string | undefined> {
  const [near, far] = duplexPair();
  const client = connect({ socket: near, secureContext: context });
  let failure: Error | undefined;
  client.on('error', (error) => (failure = error));
  far.on('error', (error) => (failure ??= error));
  try {
    far.resume();
    far.write(serverFlight(chain));
    for (let turn = 0; turn < TURNS && failure === undefined; turn += 1) {
      await nextTurn();
      if (client.getPeerX509Certificate() !== undefined) return verdictOf(client);
    }
    throw new Fault('upstream-tls', 'the chain that the peer presented cannot be read', { cause: failure });
  } finally {
    client.destroy();
    far.destroy();
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * OpenSSL's verdict on the peer's certificate, whoever asked for it: undefined when its path is valid. The engine publishes it as `authorizationError`
 * only for sockets made by tls.connect and tls.Server, and only after the whole handshake; the handle has it in every case.
 */
export function verdictOf(socket: TLSSocket): string | undefined {
  const error = handleOf(socket).verifyError();
  return error === null || error === undefined ? undefined : verdictText(error);
}

/** The engine's code, with OpenSSL's words where it has no code of its own for them (name constraints, key usage of a CA). */
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
  throw new Fault('upstream-tls', 'the connection closed before its peer was verified');
}

function isHandle(value: unknown): value is Handle {
  return (
    typeof value === 'object' && value !== null && 'verifyError' in value && typeof value.verifyError === 'function'
  );
}

/** ServerHello (TLS 1.2, secure renegotiation, a suite that fits the leaf's key) and Certificate, in records. */
function serverFlight(chain: readonly X509Certificate[]): Buffer {
  const rsa = chain[0]?.publicKey.asymmetricKeyType?.startsWith('rsa') ?? false;
  const hello = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 1),
    Buffer.from([0, 0xc0, rsa ? 0x2f : 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0]),
  ]);
  const list = Buffer.concat(chain.map(({ raw }) => vector24(raw)));
  const messages = Buffer.concat([message(2, hello), message(11, vector24(list))]);
  const records: Buffer[] = [];
  for (let at = 0; at < messages.length; at += LARGEST_RECORD) {
    const part = messages.subarray(at, at + LARGEST_RECORD);
    records.push(Buffer.from([22, 3, 3, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

function vector24(bytes: Buffer): Buffer {
  const length = Buffer.alloc(3);
  length.writeUIntBE(bytes.length, 0, 3);
  return Buffer.concat([length, bytes]);
}

function message(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), vector24(body)]);
}
