/** HTTP/1.1 as bytes: how an attempt is written, and how an answer is read without trusting it. */
import type { TestConnection } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import type { Attempt } from '../case.ts';
import type { Seen } from './entry.ts';

export const CANARY = 'c4n4ry-5ecret';
/** Sent behind what must be refused; it must never be answered nor reach anybody. */
export const PROBE = 'GET http://crm.internal/smuggled HTTP/1.1\r\nHost: crm.internal\r\n\r\n';

export interface Rendered {
  readonly method: string;
  readonly target: string;
  /** Default values of Host. */
  readonly host: readonly string[];
  readonly fields?: readonly string[];
}

/** The bytes of one request. Every one carries a secret, which must never be found in a record. */
export function bytesOf({ method, target, host, fields = [] }: Rendered, attempt: Attempt): Buffer {
  const lines = [
    `${method} ${target} HTTP/${attempt.version ?? '1.1'}`,
    ...(attempt.host ?? host).map((value) => `Host: ${value}`),
    `X-Canary: ${CANARY}`,
    ...fields,
    ...(attempt.fields ?? []),
  ];
  const text = `${lines.join('\r\n')}\r\n\r\n${attempt.body ?? ''}`;
  const [from, to] = attempt.replace ?? ['', ''];
  if (!text.includes(from))
    throw new TypeError(`nothing to replace: ${JSON.stringify(from)} is not in the request`);
  return Buffer.from(
    text.replace(from, () => to),
    'latin1',
  );
}

/** Statuses of the answers in a text, interim ones left out. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)]
    .map((found) => Number(found[1]))
    .filter((n) => n >= 200 || n === 101);
}

/** Whether the first final answer in `text` is all there. */
export function answered(text: string): boolean {
  const start = /^HTTP\/1\.1 (?!1\d\d)\d{3}/m.exec(text)?.index;
  if (start === undefined) return false;
  const [head = '', ...rest] = text.slice(start).split('\r\n\r\n');
  if (rest.length === 0) return false;
  const body = rest.join('\r\n\r\n');
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (length !== undefined) return body.length >= Number(length);
  return /\r\ntransfer-encoding: chunked/i.test(head)
    ? body.includes('0\r\n\r\n')
    : / (204|304) /.test(head.slice(0, 13));
}

/**
 * Waits for a complete answer or the end of the connection. Where a close is announced, for that.
 */
export async function answerOf(line: TestConnection, from: number): Promise<Seen> {
  const fresh = (): string => line.text.slice(from);
  const over = (): boolean => line.reset || line.socket.destroyed || line.socket.readableEnded;
  await until(
    'there is an answer or an end',
    () => over() || (answered(fresh()) && !/\r\nconnection: close\r\n/i.test(fresh())),
    20_000,
  );
  const seen = { text: fresh(), statuses: statusesOf(fresh()), cut: line.reset || fresh() === '' };
  line.socket.destroy();
  return seen;
}

/** Whether the other side has cut or ended the connection. */
export function gone(line: TestConnection): Promise<unknown> {
  return until(
    'the connection is over',
    () => line.reset || line.socket.destroyed || line.socket.readableEnded,
    20_000,
  );
}
