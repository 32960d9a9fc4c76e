/**
 * The whole of the fuzzing: the codec alone, and against node:http, Go's net/http and nginx, each
 * over FUZZ_CASES messages (a million), half of them requests. The seed is printed; FUZZ_SEED
 * repeats a run. A failure is printed as the fewest bytes that still fail, and the exit status is
 * 1. A run of full length without one rewrites the table in docs/assurance.md.
 */
import { randomInt } from 'node:crypto';

import { seeded, type Random } from '../http1/generator.ts';
import { fuzzed, shrunk } from '../http1/mutate.ts';
import { sentAnswer, sentRequest } from '../http1/outgoing.ts';
import { weMean, type Role } from '../http1/reading.ts';
import { codecProblem } from '../http1/resend.ts';
import { goMissing, goPeer } from './go.ts';
import { nginxMissing, nginxPeer } from './nginx.ts';
import { nodePeer } from './node.ts';
import { judgeAll, judgeMeant, noCounts, type Counts, type Difference, type Peer } from './peer.ts';
import { writeFindings, type Read, type Row } from './report.ts';
import { readOne, READERS, type Reader } from '../readers.ts';

const FULL = 1_000_000;
const SEED = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31));
const CASES = Number(process.env['FUZZ_CASES'] ?? FULL);
/** Every boundary is tried on one message of so many. */
const EVERY = 100;
const BATCH = 1000;
/** Failures printed of one kind. */
const MOST = 5;

const ROLES: readonly Role[] = ['request', 'response'];
const rows: Row[] = [];
const read: Read[] = [];
let failures = 0;

function failed(where: string, text: string, problem: string): void {
  failures++;
  if (failures <= MOST) console.log(`FAILED ${where}: ${JSON.stringify(text)}\n  ${problem}`);
}

async function codec(role: Role): Promise<void> {
  const random = seeded(SEED);
  for (let at = 0; at < CASES / 2; at++) {
    const text = fuzzed(random, role);
    const every = at % EVERY === 0;
    const problem = codecProblem(role, text, random, every);
    if (problem !== undefined)
      failed(
        'the codec',
        await shrunk(text, async (less) => codecProblem(role, less, seeded(0), true) !== undefined),
        problem,
      );
  }
  rows.push({
    peer: 'the codec alone',
    role,
    direction: 'received',
    cases: Math.ceil(CASES / 2),
    counts: undefined,
  });
}

async function against(peer: Peer, role: Role): Promise<void> {
  const random = seeded(SEED + 1);
  const counts = noCounts();
  for (let left = Math.ceil(CASES / 2); left > 0; left -= BATCH) {
    const texts = Array.from({ length: Math.min(BATCH, left) }, () => fuzzed(random, role));
    for (const difference of await judgeAll(peer, role, texts, counts))
      await report(peer, role, difference);
  }
  rows.push({ peer: peer.name, role, direction: 'received', cases: Math.ceil(CASES / 2), counts });
}

async function report(peer: Peer, role: Role, { text, wanted, got }: Difference): Promise<void> {
  const differs = async (less: string): Promise<boolean> =>
    weMean(role, less) !== undefined && (await judgeAll(peer, role, [less], noCounts())).length > 0;
  const small = failures < MOST ? await shrunk(text, differs) : text;
  failed(
    `${peer.name}, ${role}`,
    small,
    `the whole: ${JSON.stringify(text)}\n  meant ${wanted}\n  read  ${got}`,
  );
}

/** What our connections write is read as it was meant, and nothing may be excused. */
async function sent(peer: Peer, role: Role, count: number): Promise<void> {
  const random: Random = seeded(SEED + 2);
  const counts: Counts = noCounts();
  for (let left = count; left > 0; left -= BATCH) {
    const cases = [];
    for (let more = Math.min(BATCH, left); more > 0; more--) {
      const meant = await (role === 'request' ? sentRequest(random) : sentAnswer(random));
      cases.push({ text: meant.text, meant });
    }
    for (const { text, wanted, got } of await judgeMeant(peer, role, cases, counts))
      failed(`${peer.name}, ${role} sent`, text, `meant ${wanted}\n  read  ${got}`);
  }
  rows.push({ peer: peer.name, role, direction: 'sent', cases: count, counts });
}

/** Everything else that reads foreign bytes: a value or a Fault, and soon. */
async function readAll(reader: Reader): Promise<void> {
  const random = seeded(SEED + 3);
  const outcomes = { taken: 0, refused: 0 };
  const cases = Math.ceil(CASES / 20 / (reader.slow ?? 1));
  for (let left = cases; left > 0; left--) {
    try {
      await readOne(reader, random, outcomes);
    } catch (failure) {
      failed(reader.name, '', String(failure));
    }
  }
  read.push({ reader: reader.name, cases, ...outcomes });
}

console.log(`FUZZ_SEED=${SEED} FUZZ_CASES=${CASES}`);
const started = performance.now();
for (const role of ROLES) await codec(role);
console.log(`the codec alone: ${failures} failures`);
const missing: string[] = [];
for (const [name, why, make] of [
  ['node:http', false, nodePeer],
  ['Go net/http', goMissing(), goPeer],
  ['nginx', nginxMissing(), nginxPeer],
] as const) {
  if (why !== false) {
    console.log(`skipped: ${name}: ${why}`);
    missing.push(name);
    continue;
  }
  await using peer = await make();
  for (const role of peer.roles) {
    await against(peer, role);
    await sent(peer, role, Math.ceil(CASES / 20));
  }
  console.log(
    `${name}: ${failures} failures so far, ${Math.round((performance.now() - started) / 1000)} s`,
  );
}
for (const reader of READERS) await readAll(reader);
console.log(`readers of other things: ${failures} failures so far`);
console.table(rows.map(({ counts, ...row }) => ({ ...row, ...counts })));
console.log(failures === 0 ? 'no failure' : `${failures} failures; repeat with FUZZ_SEED=${SEED}`);
process.exitCode = failures === 0 ? 0 : 1;
if (failures === 0 && missing.length === 0 && CASES >= FULL)
  writeFindings(rows, read, {
    seed: SEED,
    seconds: Math.round((performance.now() - started) / 1000),
  });
