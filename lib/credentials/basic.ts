/** User and password of an HTTP proxy (RFC 7617), from a file that is read for each use: a rotated one needs no reload, and nothing keeps the secret. */
import { open } from 'node:fs/promises';
import { Fault } from '../base/fault.ts';

/** Bytes of the file. */
export const LONGEST = 1024;

/** The value of Proxy-Authorization. Throws a Fault `credential-unavailable`, which never tells of what the file holds. */
export async function basicFrom(file: string): Promise<string> {
  const line = (await begin(file)).replace(/\r?\n$/, '');
  if (Buffer.byteLength(line) > LONGEST || !/^[^:\p{Cc}]+:\P{Cc}*$/u.test(line)) {
    throw unavailable(file, 'it does not hold one line user:password');
  }
  return `Basic ${Buffer.from(line).toString('base64')}`;
}

async function begin(file: string): Promise<string> {
  try {
    await using handle = await open(file);
    const bytes = Buffer.alloc(LONGEST + 3);
    const { bytesRead } = await handle.read(bytes);
    return bytes.toString('utf8', 0, bytesRead);
  } catch (failure) {
    throw unavailable(file, failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure));
  }
}

function unavailable(file: string, why: string): Fault {
  const hint = 'look at via.basic of the destination, or of the defaults of the Sidecar';
  return new Fault('credential-unavailable', `the credentials for the proxy cannot be read from ${file}: ${why}`, {
    hint,
  });
}
