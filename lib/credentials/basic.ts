/**
 * User and password of an HTTP proxy (RFC 7617), from a file that is read for each use: a rotated
 * one needs no reload, and nothing keeps the secret.
 */
import { Fault } from '../base/fault.ts';
import { readBounded, whyUnread } from '../base/read-file.ts';
import type { Fields } from '../http/message.ts';
import type { Credential } from './provider.ts';

/** Bytes of the file. */
const LONGEST = 1024;

/**
 * Proxy-Authorization from the file.
 * @throws Fault `credential-unavailable`, which never tells of what the file holds
 */
export async function basicFrom(file: string): Promise<Credential> {
  const line = (await content(file)).replace(/\r?\n$/, '');
  if (Buffer.byteLength(line) > LONGEST || !/^[^:\p{Cc}]+:\P{Cc}*$/u.test(line)) {
    throw unavailable(file, 'it does not hold one line user:password');
  }
  const value = `Basic ${Buffer.from(line).toString('base64')}`;
  const apply = (fields: Fields): string[] => [...fields, 'proxy-authorization', value];
  return { kind: 'basic', expiresAt: undefined, apply };
}

async function content(file: string): Promise<string> {
  try {
    return (await readBounded(file, { most: LONGEST + 2 })).toString('utf8');
  } catch (failure) {
    throw unavailable(file, whyUnread(failure));
  }
}

function unavailable(file: string, why: string): Fault {
  const hint = 'look at via.basic of the destination, or of the defaults of the Sidecar';
  return new Fault(
    'credential-unavailable',
    `the credentials for the proxy cannot be read from ${file}: ${why}`,
    {
      hint,
    },
  );
}
