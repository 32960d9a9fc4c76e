import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../../support/until.ts';
import { noProc } from '../../support/sidecar-process.ts';
import { sidecarAgent, sidecarSetup } from '../../support/sidecar.ts';

const FIRST = 60;
const ROTATIONS = 200;
const MEBIBYTE = 1024 * 1024;
/**
 * One connection and its contexts that were kept for each rotation would be more than twice as
 * much.
 */
const REACHABLE = 4;
/** The engine and the allocator keep some of what is freed. */
const RESIDENT = 64;

t.setTimeout(240_000);

t.test(
  `keeps its memory and its descriptors through ${ROTATIONS} rotations of its identity (3.6)`,
  { skip: noProc },
  async (t) => {
    await using w = await sidecarSetup();
    const child = fork(join(import.meta.dirname, 'collected.ts'), [w.folder], {
      execArgv: ['--expose-gc'],
    });
    t.teardown(() => void child.kill('SIGKILL'));
    const said = async (): Promise<Readonly<Record<string, number>>> =>
      (await once(child, 'message'))[0];
    const { port = 0 } = await said();
    const agent = sidecarAgent(() => port);
    await until('it serves', async () => (await agent.get('/v1/customers')) === 200, 20_000);
    const held = (): Promise<Readonly<Record<string, number>>> => {
      const answer = said();
      child.send('collect');
      return answer;
    };
    const descriptors = (): number => readdirSync(`/proc/${child.pid}/fd`).length;
    const statuses = new Set<number>();
    const serials = new Set<string | undefined>();
    const rotate = async (times: number): Promise<void> => {
      for (let left = times; left > 0; left--) {
        await w.workload.rotate();
        statuses.add(await agent.get('/v1/customers'));
        serials.add(w.api.requests().at(-1)?.peer.serial);
      }
    };
    await rotate(FIRST);
    const before = await held();
    const opened = descriptors();
    await rotate(ROTATIONS - FIRST);
    const after = await held();
    t.same([...statuses], [200]);
    for (const [kind, most] of Object.entries({ reachable: REACHABLE, resident: RESIDENT })) {
      const grown = ((after[kind] ?? NaN) - (before[kind] ?? NaN)) / MEBIBYTE;
      t.ok(
        grown < most,
        `${grown.toFixed(1)} MiB more ${kind} after ${ROTATIONS - FIRST} rotations`,
      );
    }
    t.ok(serials.size > ROTATIONS / 2, `${serials.size} serials were seen by the upstream`);
    await until('no descriptor is left of them', () => descriptors() <= opened + 4, 20_000);
  },
);
