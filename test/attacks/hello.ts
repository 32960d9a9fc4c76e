/**
 * What an agent may say in a tunnel: a ClientHello as node:tls writes it, bent in the ways that are
 * said, or anything else.
 */
import { connect } from 'node:tls';
import { duplexPair } from 'node:stream';

export interface HelloSpec {
  /** Default the canonical host of the CONNECT; null for none. */
  readonly name?: string | null;
  /** The newest version that it offers, as it stands on the wire. */
  readonly version?: number;
  /** Types of extensions added at the end, empty. */
  readonly extensions?: readonly number[];
  /** Sent in pieces that end at these bytes. */
  readonly pieces?: readonly number[];
  /** Its handshake message in TLS records of this many bytes each. */
  readonly records?: number;
  /** Bytes of padding (extension 21) in it. */
  readonly padding?: number;
  /** Said instead. */
  readonly bytes?: string;
}

/** The pieces in which it is sent, through a tunnel to `host`. */
export async function helloPieces(spec: HelloSpec, host: string): Promise<readonly Buffer[]> {
  if (spec.bytes !== undefined) return [Buffer.from(spec.bytes, 'latin1')];
  let bytes = await plainHello(
    spec.name === undefined ? host : (spec.name ?? undefined),
    spec.version,
  );
  for (const type of spec.extensions ?? []) bytes = withExtension(bytes, type, 0);
  if (spec.padding !== undefined) bytes = withExtension(bytes, 21, spec.padding);
  if (spec.records !== undefined) bytes = inRecords(bytes, spec.records);
  const ends = [...(spec.pieces ?? []), bytes.length];
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

const RECORD_HEAD = 5;
const MESSAGE_HEAD = 4;

async function plainHello(servername: string | undefined, version?: number): Promise<Buffer> {
  const [near, far] = duplexPair();
  const client = connect({
    socket: near,
    ...(servername === undefined ? {} : { servername }),
    // Without supported_versions, which would count instead.
    ...(version === undefined ? {} : { maxVersion: 'TLSv1.2' }),
  });
  client.on('error', () => 'nobody answers');
  const bytes = await new Promise<Buffer>((resolve) => far.once('data', resolve));
  client.destroy();
  far.destroy();
  if (version !== undefined) bytes.writeUInt16BE(version, RECORD_HEAD + MESSAGE_HEAD);
  return bytes;
}

function withExtension(bytes: Buffer, type: number, size: number): Buffer {
  const out = Buffer.concat([
    bytes,
    Buffer.from([type >> 8, type & 255, size >> 8, size & 255]),
    Buffer.alloc(size),
  ]);
  let at = 5 + 4 + 2 + 32;
  at += 1 + (out[at] ?? 0);
  at += 2 + out.readUInt16BE(at);
  at += 1 + (out[at] ?? 0);
  out.writeUInt16BE(out.readUInt16BE(at) + 4 + size, at);
  out.writeUIntBE(out.readUIntBE(6, 3) + 4 + size, 6, 3);
  out.writeUInt16BE(out.readUInt16BE(3) + 4 + size, 3);
  return out;
}

/** RFC 8446 section 5.1: a handshake message may lie in several records. */
function inRecords(bytes: Buffer, size: number): Buffer {
  const message = bytes.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 255]), piece);
  }
  return Buffer.concat(records);
}
