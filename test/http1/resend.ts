/**
 * Properties of the codec alone: how bytes arrive changes nothing, and what is read and written
 * again is read the same. Faults are the only errors.
 */
import type { Fields, Framing } from '../../lib/http/message.ts';
import { requestText, responseText, trailerText } from '../../lib/http1/serialise.ts';
import type { Random } from './generator.ts';
import { pieces } from './mutate.ts';
import { withoutInterim, type Role } from './reading.ts';
import { read, splits, type Outcome, type Reading } from './wire.ts';

/** What only the serialiser writes. */
const RESERVED: ReadonlySet<string> = new Set([
  'upgrade',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
]);

type Accepted = Extract<Outcome, { readonly head: unknown }>;

export function accepted(outcome: Outcome): outcome is Accepted {
  return typeof outcome === 'object' && 'head' in outcome;
}

/**
 * What is wrong with the codec by these bytes, or undefined. With `every` they are cut at each
 * position, otherwise at random ones.
 */
export function codecProblem(
  role: Role,
  text: string,
  random: Random,
  every: boolean,
): string | undefined {
  const bytes = Buffer.from(role === 'response' ? withoutInterim(text).rest : text, 'latin1');
  const reading: Reading = role === 'response' ? { to: 'GET', end: true } : {};
  const outcome = read([bytes], reading);
  const wanted = JSON.stringify(outcome);
  for (const way of every ? splits(bytes) : [pieces(random, bytes)]) {
    const other = JSON.stringify(read(way, reading));
    // What is wrong is told at the latest when its line ends; before that it may be told as
    // something that is not complete.
    if (other !== wanted && !accepted(outcome) && sameAtLineEnd(bytes, way, reading)) continue;
    if (other !== wanted)
      return `in pieces ${JSON.stringify(way.map(String))} it is ${other}, whole it is ${wanted}`;
  }
  if (!accepted(outcome)) return undefined;
  const sent = written(outcome);
  const again = read([Buffer.from(sent, 'latin1')], reading);
  const got = accepted(again) ? JSON.stringify(meaning(again)) : JSON.stringify(again);
  const meant = JSON.stringify(meaning(outcome));
  return got === meant
    ? undefined
    : `written again as ${JSON.stringify(sent)} it is ${got}, not ${meant}`;
}

function sameAtLineEnd(bytes: Buffer, way: readonly Buffer[], reading: Reading): boolean {
  const end = Buffer.from('\r\n');
  return (
    JSON.stringify(read([...way, end], reading)) ===
    JSON.stringify(read([Buffer.concat([bytes, end])], reading))
  );
}

function meaning({ head, body, trailers }: Accepted): unknown {
  const start = 'method' in head ? [head.method, head.target] : [head.status];
  return { start, fields: kept(head), body, trailers };
}

/**
 * The fields to send: without those of the connection, and with a Host, which HTTP/1.0 may lack and
 * we always send.
 */
function kept(head: Accepted['head']): string[] {
  const { fields } = head;
  const some = 'method' in head && !fields.includes('host') ? ['host', 'a'] : [];
  for (let i = 0; i < fields.length; i += 2) {
    if (!RESERVED.has(fields[i] ?? '')) some.push(fields[i] ?? '', fields[i + 1] ?? '');
  }
  return some;
}

function written({ head, body, trailers }: Accepted): string {
  const { framing } = head;
  const fields = kept(head);
  const tail = framing.kind === 'chunked' ? chunked(body, trailers) : body;
  if ('method' in head)
    return requestText({ method: head.method, target: head.target, fields, framing }) + tail;
  const close = framing.kind === 'until-close';
  return (
    responseText({ status: head.status, fields, length: undefined }, sending(framing), close) + tail
  );
}

function sending(framing: Framing): 'none' | number | 'chunked' | 'until-close' {
  return framing.kind === 'length' ? framing.length : framing.kind;
}

function chunked(body: string, trailers: Fields): string {
  return `${body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n${trailerText(trailers)}`;
}
