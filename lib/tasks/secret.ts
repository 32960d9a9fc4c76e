/**
 * What proves that a request belongs to a task: `task:secret` in Proxy-Authorization, as the user
 * and password of a proxy URL (RFC 7617). A task has two secrets of 256 random bits, one to use it
 * and one to extend, derive from and complete it; of each its SHA-256 alone is kept, and compared
 * in constant time.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { Fault } from '../base/fault.ts';

export interface Credentials {
  readonly task: string;
  readonly secret: string;
}

export interface Secret {
  /** To be handed out once and kept nowhere. */
  readonly text: string;
  readonly digest: Buffer;
}

const BITS = 256;
const SECRET = /^[A-Za-z0-9_-]{43}$/;
const TASK = /^t-[a-z0-9]{20}$/;

/** 100 random bits in an alphabet that is the same in every part of a URL. */
export function newTaskId(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  return `t-${Array.from(randomBytes(20), (byte) => alphabet[byte & 31]).join('')}`;
}

export function newSecret(): Secret {
  const text = randomBytes(BITS / 8).toString('base64url');
  return { text, digest: digestOf(text) };
}

export function proves(secret: string, digest: Buffer): boolean {
  return timingSafeEqual(digestOf(secret), digest);
}

function digestOf(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/**
 * `Basic` credentials as task and secret (RFC 7617 section 2).
 * @throws Fault `task-unknown` for any other form: a reference that is there and cannot be read is
 *         never "no task"
 */
export function parseCredentials(value: string, at: string): Credentials {
  const encoded = /^basic +([A-Za-z0-9+/]{1,256}={0,2})$/i.exec(value)?.[1];
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('latin1');
  const colon = text.indexOf(':');
  const [task, secret] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon > 0 && TASK.test(task) && SECRET.test(secret)) return { task, secret };
  throw new Fault('task-unknown', 'the credentials are not those of a task', {
    hint: 'use the proxyUrl that opening the task gave, whole, or none',
    at,
  });
}
