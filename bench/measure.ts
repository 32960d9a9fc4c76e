/**
 * What is measured of one program: a round of short loads, and its sizes from start to a million
 * requests.
 */
import type { Round } from './bars.ts';
import { cpuPerGigabyte, cpuPerRequest, wrk, type LoadOptions } from './load.ts';
import { type Running, residentMegabytes, untilOk } from './machine.ts';
import type { Program } from './programs.ts';

/** A program and its process. */
export interface Subject {
  readonly program: Program;
  readonly running: Running;
}

export interface Lengths {
  /** Of one load at 64 connections; the others take half of it. */
  readonly seconds: number;
  /** Of 100 MB. */
  readonly bodies: number;
}

/** Just-in-time compilers and pools get their time: every kind of load once. */
export async function warmUp({ program }: Subject, folder: string, seconds: number): Promise<void> {
  await wrk(program, folder, { connections: 64, seconds });
  await wrk(program, folder, { connections: 1, seconds: 1 });
  await wrk(program, folder, { connections: 64, seconds: 1, kind: 'closing' });
  if (program.name === 'chaperone')
    await wrk(program, folder, { connections: 64, seconds: 2, kind: 'tool' });
  if (program.tcp !== undefined)
    await wrk(program, folder, { connections: 64, seconds: 1, kind: 'tcp' });
}

export async function measureRound(
  subject: Subject,
  folder: string,
  { seconds, bodies }: Lengths,
): Promise<Round> {
  const { program, running } = subject;
  const half = Math.max(1, Math.round(seconds / 2));
  const under = (options: LoadOptions) =>
    cpuPerRequest(program, running, () => wrk(program, folder, options));
  const [cpu64, many] = await under({ connections: 64, seconds });
  const [cpu1, one] = await under({ connections: 1, seconds: half });
  const [cpuClosing, closing] = await under({ connections: 64, seconds: half, kind: 'closing' });
  const tcp =
    program.tcp === undefined
      ? undefined
      : await under({ connections: 64, seconds: half, kind: 'tcp' });
  const judges = program.name === 'chaperone' || program.name === 'envoy';
  const tool = judges ? await under({ connections: 64, seconds: half, kind: 'tool' }) : undefined;
  return {
    cpu64,
    cpu1,
    p50of1: one.p50,
    p99of1: one.p99,
    p50of64: many.p50,
    p99of64: many.p99,
    rate: many.perSecond,
    cpuClosing,
    rateClosing: closing.perSecond,
    ...(tcp && { cpuTcp: tcp[0] }),
    ...(tool && { cpuTool: tool[0] }),
    bulk: await cpuPerGigabyte(program, running, bodies),
  };
}

/** ms from start to the first good answer, and the MB it then has. */
export async function start(program: Program): Promise<readonly [number, number]> {
  const began = performance.now();
  await using running = program.launch();
  await untilOk(program.ready, running);
  return [performance.now() - began, await residentMegabytes(running.pid)];
}

/**
 * Requests at 64 connections until there were so many or the time is over; how many there were, and
 * the MB after them.
 */
export async function loadUp(
  { program, running }: Subject,
  folder: string,
  { requests, seconds }: { readonly requests: number; readonly seconds: number },
): Promise<readonly [number, number]> {
  let done = 0;
  for (let left = seconds; left > 0 && done < requests; left -= 5)
    done += (await wrk(program, folder, { connections: 64, seconds: Math.min(5, left) })).requests;
  return [done, await residentMegabytes(running.pid)];
}
