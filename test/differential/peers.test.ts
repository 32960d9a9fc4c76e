/** A slice of `make fuzz` with a fixed seed against the readers that npm does not bring. */
import t from 'tap';

import { seeded } from '../http1/generator.ts';
import { fuzzed } from '../http1/mutate.ts';
import { sentAnswer, sentRequest } from '../http1/outgoing.ts';
import { goMissing, goPeer } from './go.ts';
import { nginxMissing, nginxPeer } from './nginx.ts';
import { judgeAll, judgeMeant, noCounts } from './peer.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const CASES = Number(process.env['FUZZ_CASES'] ?? 20_000);
const BATCH = 1000;

const PEERS = [
  { name: 'Go net/http', roles: ['request', 'response'], missing: goMissing(), make: goPeer },
  { name: 'nginx', roles: ['request'], missing: nginxMissing(), make: nginxPeer },
] as const;

for (const { name, roles, missing, make } of PEERS) {
  for (const role of roles) {
    t.test(
      `every ${role} that we accept, ${name} accepts and reads the same (F1, F2, F4, F9)`,
      { skip: missing },
      async (t) => {
        await using peer = await make();
        const random = seeded(SEED);
        const counts = noCounts();
        for (let done = 0; done < CASES; done += BATCH) {
          const texts = Array.from({ length: BATCH }, () => fuzzed(random, role));
          t.same(await judgeAll(peer, role, texts, counts), [], `seed ${SEED}, from case ${done}`);
        }
        t.comment(`${role}s: ${JSON.stringify(counts)}`);
        t.ok(counts.same > CASES / 10, 'the generator makes good ones');
      },
    );

    t.test(
      `every ${role} that we send, ${name} reads as we meant it (F10)`,
      { skip: missing },
      async (t) => {
        await using peer = await make();
        const random = seeded(SEED + 1);
        const cases = [];
        for (let done = 0; done < CASES / 10; done++) {
          const meant = await (role === 'request' ? sentRequest(random) : sentAnswer(random));
          cases.push({ text: meant.text, meant });
        }
        const counts = noCounts();
        t.same(await judgeMeant(peer, role, cases, counts), []);
        t.equal(counts.same, cases.length);
      },
    );
  }
}
