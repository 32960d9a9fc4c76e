/** ClientHellos for tunnels. */
import { duplexPair } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';

/** A ClientHello as node:tls writes it. */
export async function hello(servername: string | undefined): Promise<Buffer> {
  const [near, far] = duplexPair();
  const client = tlsConnect({ socket: near, ...(servername === undefined ? {} : { servername }) });
  client.on('error', () => {});
  const bytes = await new Promise<Buffer>((resolve) => far.once('data', resolve));
  client.destroy();
  far.destroy();
  return bytes;
}

/** The same ClientHello with one more, empty, extension at its end. */
export function withExtension(bytes: Buffer, type: number): Buffer {
  const out = Buffer.concat([bytes, Buffer.from([type >> 8, type & 255, 0, 0])]);
  let at = 5 + 4 + 2 + 32;
  at += 1 + (out[at] ?? 0);
  at += 2 + out.readUInt16BE(at);
  at += 1 + (out[at] ?? 0);
  out.writeUInt16BE(out.readUInt16BE(at) + 4, at);
  out.writeUIntBE(out.readUIntBE(6, 3) + 4, 6, 3);
  out.writeUInt16BE(out.readUInt16BE(3) + 4, 3);
  return out;
}
