/**
 * One runner for the whole corpus: every attack over every way in that has what it bends. After
 * each attempt it holds what the agent saw, what the upstream saw, what DNS was asked and what was
 * recorded against what is expected, and against what is always so: one opening and one closing
 * record, no secret and no control character in a record, no second answer, nobody talked to by way
 * of the environment, no socket left.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { AuditRecord } from '../../lib/audit/record.ts';
import { CODES } from '../../lib/base/fault.ts';
import { endsConnection } from '../../lib/exchange/fault-response.ts';
import { refusal } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import type { Attack, Attempt, Passed, Refused, World } from './case.ts';
import { ENTRIES } from './entries/all.ts';
import type { Entry, Manner, Seen } from './entries/entry.ts';
import { CANARY } from './entries/http1.ts';
import { appliesTo } from './rows.ts';
import { HOST, type Stage, stage } from './stage.ts';

/** Of one section of the corpus, on a machine that has other things to do. */
const MAX_MS = 300_000;
const USUAL: World = Object.freeze({});
const HONEST: Manner = Object.freeze({ probing: false, begins: () => {} });

/** Tests of these attacks over every entry point, one stage for each entry point and world. */
export function attacks(t: Test, given: readonly Attack[]): void {
  t.setTimeout(MAX_MS);
  for (const entry of ENTRIES) {
    const mine = given.filter((attack) => appliesTo(attack, entry));
    if (mine.length === 0) continue;
    t.test(entry.name, async (t) => {
      await using trap = await environment(t);
      for (const [world, group] of Map.groupBy(mine, (attack) => attack.world ?? USUAL)) {
        await using at = await stage(entry.setting, world);
        for (const attack of group) {
          await t.test(`${attack.row} ${attack.title}`, async (t) => {
            for (const attempt of attack.attempts)
              await strike(t, { entry, at, attack, attempt: at.dressed(attempt) });
          });
        }
        await at.proxy.server[Symbol.asyncDispose]();
        await at.upstream.quiet();
        t.same(
          unpaired(at.proxy.audit.records),
          [],
          'one opening and one closing record for each exchange',
        );
      }
      t.equal(
        trap.connections.length,
        0,
        'nobody follows the proxy variables of the environment (S14)',
      );
    });
  }
}

/** A proxy that the environment names while the attempts are made. */
async function environment(t: Test): ReturnType<typeof rawUpstream> {
  const trap = await rawUpstream();
  for (const name of [
    'HTTP_PROXY',
    'http_proxy',
    'HTTPS_PROXY',
    'https_proxy',
    'ALL_PROXY',
    'all_proxy',
  ]) {
    const before = process.env[name];
    process.env[name] = `http://${trap.address}`;
    t.teardown(() =>
      before === undefined ? delete process.env[name] : (process.env[name] = before),
    );
  }
  return trap;
}

interface Strike {
  readonly entry: Entry;
  readonly at: Stage;
  readonly attack: Attack;
  readonly attempt: Attempt;
}

async function strike(t: Test, { entry, at, attack, attempt }: Strike): Promise<void> {
  const { at: other = {} } = attack;
  const ofStreams = entry.streams === true ? other['streams'] : undefined;
  const expect = other[entry.name] ?? ofStreams ?? other[entry.door] ?? attack.expect;
  const probing =
    'refused' in expect &&
    stepOf(expect.refused) !== 'carried' &&
    attempt.unfinished !== true &&
    closes(entry, expect.refused);
  if (attempt.after === 'rotation') {
    await at.set({});
    await entry.strike(at, {}, HONEST);
    await at.proxy.quiet();
    await at.rotate();
  }
  const busy = attempt.after === 'a-busy-one' ? await occupy(entry, at) : undefined;
  const live = at.proxy.server.live();
  await at.set(attempt);
  let before = mark(at);
  const made = (): readonly AuditRecord[] =>
    recordsOf(entry, at.proxy.audit.records.slice(before.records));
  const seen = await entry.strike(at, attempt, { probing, begins: () => (before = mark(at)) });
  await until('it has ended', () => at.proxy.server.live() === live);
  // An end alone would be half of a close: it may still want its answer.
  if (busy instanceof TLSSocket) busy.destroy();
  else busy?.resetAndDestroy();
  await until('it is recorded', () => at.proxy.audit.fail !== undefined || made().length > 1);
  const after: After = {
    seen,
    entry,
    at,
    before,
    attempt,
    records: recordsOf(entry, at.proxy.audit.records.slice(before.records)),
  };
  const what = titleOf(attempt);
  always(t, after, what);
  if ('refused' in expect) heldBack(t, expect.refused, after, what);
  else letThrough(t, expect.passed, after, what);
}

/** The records of the attempt; those of the tunnel it was made in are the tunnel's. */
function recordsOf({ inside, door }: Entry, all: readonly AuditRecord[]): readonly AuditRecord[] {
  const records = all.filter((one) => !isOwn(one, all));
  const opened = records.flatMap((one) =>
    'entry' in one && one.entry === door ? [one.exchange] : [],
  );
  if (inside !== true || opened.length === 0) return records;
  return records.filter((one) => 'exchange' in one && opened.includes(one.exchange));
}

/** What the sidecar itself asked of the upstream, before it judged. */
function isOwn(record: AuditRecord, all: readonly AuditRecord[]): boolean {
  if (!('exchange' in record)) return false;
  return all.some(
    (one) => one.kind === 'decided' && one.exchange === record.exchange && one.asker !== undefined,
  );
}

/** An honest exchange that does not end. */
async function occupy(entry: Entry, at: Stage): Promise<Socket> {
  await at.proxy.quiet();
  await at.set({ answer: '' });
  return entry.hold(at);
}

interface Before {
  readonly connections: number;
  readonly received: readonly number[];
  readonly asked: number;
  readonly records: number;
}

function mark({ upstream, asked, proxy }: Stage): Before {
  return {
    connections: upstream.connections.length,
    received: upstream.connections.map(({ plain }) => plain.text.length),
    asked: asked.length,
    records: proxy.audit.records.length,
  };
}

interface After {
  readonly seen: Seen;
  readonly entry: Entry;
  readonly at: Stage;
  readonly before: Before;
  readonly attempt: Attempt;
  readonly records: readonly AuditRecord[];
}

function titleOf(attempt: Attempt): string {
  const text = JSON.stringify(attempt);
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}

/** What the upstream received of this attempt, behind TLS. */
function receivedBy({ at, before }: After): string {
  return at.upstream.connections
    .map(({ plain }, i) => plain.text.slice(before.received[i] ?? 0))
    .join('');
}

/** Whatever stood in Proxy-Authorization that could open something. */
function secretsOf({ fields = [] }: Attempt): readonly string[] {
  const values = fields.flatMap((line) => /^proxy-authorization: (.*)$/i.exec(line)?.[1] ?? []);
  const tokens = values
    .flatMap((value) => value.split(/[ ,"]+/))
    .filter((token) => token.length > 20);
  return tokens
    .flatMap((token) => [
      token,
      Buffer.from(token, 'base64').toString('latin1').split(':')[1] ?? token,
    ])
    .filter((secret) => secret.length > 20);
}

function always(t: Test, { records, seen, at, attempt }: After, what: string): void {
  if (at.proxy.audit.fail === undefined) {
    t.equal(records.length, 2, `two records: ${what}`);
    const [opening, closing] = records;
    t.ok(opening?.kind === 'decided' || opening?.kind === 'refused', `an opening record: ${what}`);
    t.ok(closing?.kind === 'ended' && 'exchange' in closing, `a closing record: ${what}`);
  }
  const text = JSON.stringify(records);
  for (const secret of secretsOf(attempt)) {
    t.notOk(text.includes(secret), `no secret of a task in a record (C5): ${what}`);
    t.notOk(seen.text.includes(secret), `none in an answer (C5): ${what}`);
  }
  t.notMatch(text, CANARY, `no secret in a record: ${what}`);
  const said = records
    .flatMap((record) => Object.values(record))
    .filter((value) => typeof value === 'string');
  t.notOk(
    said.find((value) => CONTROL.test(value)),
    `no control character in a record: ${what}`,
  );
  const [head = ''] = seen.text.split('\r\n\r\n');
  t.match(head, /^[\t\r\n\x20-\x7e]*$/, `our head is visible ASCII: ${what}`);
  if (seen.statuses[0] !== 200 && seen.statuses[0] !== 101)
    t.notMatch(seen.text, CANARY, `no secret in a refusal: ${what}`);
}

function heldBack(t: Test, expected: Refused, after: After, what: string): void {
  const { seen, entry, at, before, records } = after;
  const { code, upstream = 'unreached' } = expected;
  const when = stepOf(expected);
  const status = entry.passes === 0 ? 'cut' : (expected.status ?? CODES[code].http);
  const reset = entry.streams === true && when === 'read' && seen.statuses.length === 0;
  if (status === 'cut' || reset) {
    t.ok(seen.cut, `cut: ${what}: ${seen.text}`);
  } else {
    t.same(seen.statuses, [status], `one answer: ${what}: ${seen.text}`);
    const told =
      seen.statuses.length === 1
        ? toldBy(seen.text.slice(seen.text.indexOf(`HTTP/1.1 ${status}`)))
        : undefined;
    t.equal(told?.code, code, what);
    if (at.proxy.audit.fail === undefined)
      t.equal(
        told?.decision,
        records.find(ofExchange)?.exchange,
        `the answer names its records: ${what}`,
      );
    if (status < 500 && when !== 'carried' && closes(entry, expected))
      t.match(seen.text, /\r\nconnection: close\r\n/, `and the connection closes: ${what}`);
  }
  recorded(t, records, { code, when, what, reason: expected.reason });
  const received = receivedBy(after);
  if (upstream === 'unreached')
    t.equal(
      at.upstream.connections.length,
      before.connections,
      `no TCP connection was opened: ${what}`,
    );
  if (upstream !== 'asked') t.equal(received, '', `not one byte reached the upstream: ${what}`);
  t.notMatch(seen.text, /^HTTP\/1\.1 100/m, `no invitation to send a body: ${what}`);
  t.notMatch(received, /smuggled/, `what came behind reached nobody: ${what}`);
  const asked = at.asked.slice(before.asked);
  t.same(
    asked,
    when === 'carried' && after.attempt.dns !== undefined
      ? [`${(after.attempt.authority ?? HOST).replace(/:.*/, '')}.`]
      : [],
    `what was resolved (S10): ${what}`,
  );
}

/**
 * Whether nothing that comes behind a refusal is read. What was understood may be followed by more.
 */
function closes({ door, streams, setting }: Entry, { code }: Refused): boolean {
  return (
    streams !== true &&
    (door === 'connect' || setting.serve === 'websocket' || endsConnection(code))
  );
}

/** Of JSON-RPC the reason is in the data of the error. */
function toldBy(answer: string): { readonly code: unknown; readonly decision: unknown } {
  const error: { code: unknown; decision: unknown; data?: { reason: unknown; decision: unknown } } =
    refusal(answer);
  return error.data === undefined
    ? error
    : { code: error.data.reason, decision: error.data.decision };
}

/** What could break a line or steer a terminal. */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const JUDGED = new Set<string>([
  'denied',
  'wrong-entry',
  'misdirected',
  'task-required',
  'step-up-required',
]);
const CARRIED = /^(upstream-|address-|no-|identity-|audit-|body-|too-many|credential-)/;

function stepOf({ code, when }: Refused): NonNullable<Refused['when']> {
  if (when !== undefined) return when;
  if (JUDGED.has(code)) return 'judged';
  return CARRIED.test(code) ? 'carried' : 'read';
}

function ofExchange(record: AuditRecord): record is Extract<AuditRecord, { exchange: string }> {
  return 'exchange' in record;
}

interface Recorded {
  readonly code: string;
  readonly when: NonNullable<Refused['when']>;
  readonly what: string;
  readonly reason: RegExp | undefined;
}

function recorded(
  t: Test,
  records: readonly AuditRecord[],
  { code, when, what, reason }: Recorded,
): void {
  if (records.length === 0) return;
  const [opening, closing] = records;
  if (when === 'read') t.match(opening, { kind: 'refused', code }, what);
  else t.match(opening, { kind: 'decided', effect: when === 'judged' ? 'deny' : 'allow' }, what);
  t.match(closing, { kind: 'ended', outcome: code }, what);
  if (reason !== undefined) t.match(closing, { reason }, what);
}

function letThrough(t: Test, expected: Passed, after: After, what: string): void {
  const { seen, entry, at, before, attempt, records } = after;
  t.same(
    seen.statuses,
    entry.passes === 0 ? [] : [expected.status ?? entry.passes],
    `${what}: ${seen.text}`,
  );
  t.notOk(seen.cut, `not cut: ${what}`);
  const [opening] = records;
  const { host = HOST } = expected;
  t.match(opening, { kind: 'decided', effect: 'allow', host }, what);
  const received = receivedBy(after);
  if (entry.requests) {
    const [line = ''] = received.split('\r\n');
    t.match(
      received,
      new RegExp(`\r\nhost: ${host.replaceAll('.', '\\.')}(:\\d+)?\r\n`),
      `Host is the judged one: ${what}`,
    );
    t.equal(received.match(/^host:/gim)?.length, 1, `one Host: ${what}`);
    if (expected.path !== undefined) {
      t.equal(line.split(' ')[1], expected.path, `what is canonical is what is sent (P7): ${what}`);
      t.match(opening, { path: expected.path.split('?')[0] }, what);
    }
    for (const wanted of expected.sent ?? []) t.match(received, wanted, what);
  }
  for (const unwanted of expected.unsent ?? []) t.notMatch(received, unwanted, what);
  for (const unwanted of expected.unanswered ?? []) t.notMatch(seen.text, unwanted, what);
  if (expected.fresh === true) {
    t.equal(at.upstream.connections.length, before.connections + 1, `a new connection: ${what}`);
    const state = at.proxy.identity.get();
    const serial = state?.kind === 'current' ? state.identity.svid.serial : 'none';
    t.equal(at.upstream.connections.at(-1)?.serial, serial, `with the newest SVID: ${what}`);
  }
  if (attempt.dns === undefined)
    t.equal(at.asked.length, before.asked, `nothing was resolved: ${what}`);
}
