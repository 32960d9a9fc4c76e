/**
 * Other makers' readers of HTTP/1.1, one at a time against ours. What we accept they must accept
 * and read the same; what we send they must read as we meant it. A refusal of theirs of what we
 * accept counts as a difference, unless a rule of the peer's own, named here, or our own proxy
 * (lib/proxy, which judges targets after the codec) refuses it too.
 */
import { Fault } from '../../lib/base/fault.ts';
import { describeForward, describeListener } from '../../lib/exchange/describe.ts';
import { fieldRules } from '../../lib/exchange/headers.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import { parseRequestHead } from '../../lib/http1/head.ts';
import { type Meant, type Role, weMean } from '../http1/reading.ts';
import { testDestination } from '../support/destination.ts';

export interface Peer extends AsyncDisposable {
  readonly name: string;
  readonly roles: readonly Role[];
  /** It is shown what we accept and no more: what is incomplete it would wait for. */
  readonly acceptedOnly: boolean;
  /** What it makes of each message, in order. */
  read(role: Role, messages: readonly string[]): Promise<readonly PeerReading[]>;
  /** What it shows of a message when it reads it as it was meant. */
  shows(role: Role, meant: Meant): unknown;
  /** Why it may refuse what we accept, where that is a rule of its own that changes no meaning. */
  excuse(role: Role, meant: Meant): string | undefined;
}

export interface PeerReading {
  /** In the form of `shows`; undefined when nothing was read. */
  readonly shown: unknown;
  /** Why it was refused; undefined when it was not. */
  readonly refused: string | undefined;
}

export interface Counts {
  /** Accepted by us, and read the same. */
  same: number;
  /** Accepted by us and refused by the peer by a rule of its own. */
  excused: number;
  /** Refused by us, accepted by the peer. */
  stricter: number;
  /** Refused by both. */
  neither: number;
}

export const noCounts = (): Counts => ({ same: 0, excused: 0, stricter: 0, neither: 0 });

export interface Difference {
  readonly text: string;
  readonly wanted: string;
  readonly got: string;
}

const LIMITS = httpLimits();
const READING = {
  policy: { find: () => undefined },
  fields: fieldRules({ pseudonym: 'fuzz' }),
  time: 0,
};
const DESTINATION = testDestination({ hosts: ['a.example', 'a', 'b.example'] });

/**
 * Whether the proxy refuses a request that the codec accepts: its target, its Host or its fields
 * are none that we serve.
 */
function proxyRefuses({ text, target }: Meant): boolean {
  const head = parseRequestHead(text, LIMITS);
  if (head === undefined) return true;
  try {
    if (target.startsWith('/'))
      describeListener(
        head,
        { destination: DESTINATION, local: { host: '127.0.0.1', port: 1 } },
        READING,
      );
    else describeForward(head, READING);
    return false;
  } catch (failure) {
    if (failure instanceof Fault) return true;
    throw failure;
  }
}

/** Undefined where peer and we agree, or where it may refuse; counts what it was. */
export function judge(
  peer: Peer,
  role: Role,
  { text, meant, reading }: { text: string; meant: Meant | undefined; reading: PeerReading },
  counts: Counts,
): Difference | undefined {
  if (meant === undefined) {
    counts[reading.refused === undefined && reading.shown !== undefined ? 'stricter' : 'neither']++;
    return undefined;
  }
  const wanted = JSON.stringify(peer.shows(role, meant));
  const shown = JSON.stringify(reading.shown);
  if (reading.refused === undefined && shown === wanted) {
    counts.same++;
    return undefined;
  }
  const mayRefuse =
    reading.shown === undefined &&
    (peer.excuse(role, meant) !== undefined || (role === 'request' && proxyRefuses(meant)));
  if (mayRefuse) {
    counts.excused++;
    return undefined;
  }
  return {
    text,
    wanted,
    got: reading.refused === undefined ? shown : `refused: ${reading.refused} ${shown}`,
  };
}

/**
 * Judges messages by what we make of them; messages that we refuse are sent whole, others without
 * what comes after them.
 */
export async function judgeAll(
  peer: Peer,
  role: Role,
  texts: readonly string[],
  counts: Counts,
): Promise<Difference[]> {
  const all = texts.map((text) => ({ text, meant: weMean(role, text) }));
  const cases = peer.acceptedOnly ? all.filter(({ meant }) => meant !== undefined) : all;
  return judgeMeant(peer, role, cases, counts);
}

export async function judgeMeant(
  peer: Peer,
  role: Role,
  cases: readonly { readonly text: string; readonly meant: Meant | undefined }[],
  counts: Counts,
): Promise<Difference[]> {
  const readings = await peer.read(
    role,
    cases.map(({ text, meant }) => meant?.text ?? text),
  );
  return cases.flatMap(({ text, meant }, at) => {
    const reading = readings[at] ?? { shown: undefined, refused: 'the peer said nothing' };
    return judge(peer, role, { text, meant, reading }, counts) ?? [];
  });
}
