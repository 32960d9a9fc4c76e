/** How an identity begins and how it ends: the socket, the entry, the withdrawal. */
import t from 'tap';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { follow } from './followed.ts';
import { startSpire } from './spire.ts';

t.setTimeout(120_000);

t.test(
  'there is no socket, then an agent, then an entry: waits, says for what, and has an SVID at last (C-41, C-42, S-11)',
  async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'spire-'));
    t.teardown(() => rm(dir, { recursive: true, force: true }));
    await using own = follow({ workloadApi: `unix://${join(dir, 'agent/api.sock')}` });
    const absent = await own.reaches(
      'it has noticed that there is no socket',
      ({ problem }) => problem !== undefined,
    );
    t.match(absent, {
      kind: 'waiting',
      problem: /UNAVAILABLE.*is the SPIRE agent running, and is this its socket\?/,
    });
    t.match(own.refusal(), { code: 'no-identity', http: 503, retriable: true });

    await using spire = await startSpire({ trustDomain: 'one.test', dir });
    const denied = await own.reaches(
      'it is told of no entry',
      ({ problem }) => problem?.includes('no identity issued') === true,
    );
    t.match(denied, {
      kind: 'waiting',
      problem: /PERMISSION_DENIED.*no registration entry matches this process/,
    });
    t.match(own.refusal()?.message, /no X\.509-SVID yet: .*no identity issued/);

    await spire.createEntry({ spiffeId: '/agent', hint: 'first' });
    const { generation, svid, bundles } = await own.identity('the first SVID', undefined, 60_000);
    t.match(
      { generation, svid },
      { generation: 1, svid: { id: 'spiffe://one.test/agent', hint: 'first' } },
    );
    t.strictSame([...bundles.keys()], ['one.test']);
    t.equal(own.refusal(), undefined);
    t.strictSame(new Set(own.states.map(({ kind }) => kind)), new Set(['waiting', 'current']));
    t.ok((own.source.metrics().errorsByCode.get('UNAVAILABLE') ?? 0) > 0);
    t.ok((own.source.metrics().errorsByCode.get('PERMISSION_DENIED') ?? 0) > 0);
  },
);

t.test(
  'the SVID that was selected is used; when its entry is deleted nothing takes its place (C-25, C-27, S-17)',
  async (t) => {
    await using spire = await startSpire({ trustDomain: 'one.test' });
    const oldest = await spire.createEntry({ spiffeId: '/oldest', hint: 'a' });
    const chosen = await spire.createEntry({ spiffeId: '/chosen', hint: 'b' });
    await spire.waitForSync();
    await using any = follow(spire);
    await using one = follow(spire, { hint: 'b' });
    const both = await any.identity('two SVIDs', ({ svids }) => svids.length === 2);
    t.equal(both.svid, both.svids[0], 'nothing selected is the first');
    const identity = await one.identity('the selected one');
    t.equal(identity.svid.id, 'spiffe://one.test/chosen');

    await spire.deleteEntry(chosen);
    const gone = await one.reaches(
      'the selected one is withdrawn',
      ({ kind }) => kind === 'withdrawn',
    );
    t.match(
      gone.problem,
      /no X\.509-SVID was issued for hint "b"; issued were spiffe:\/\/one\.test\/oldest/,
    );
    t.match(one.refusal(), { code: 'no-identity', http: 503 });
    t.ok(identity.svid.notAfter > Date.now(), 'although it would have been valid for long');
    const left = await any.identity('the other stays', ({ svids }) => svids.length === 1);
    t.equal(left.svid.id, 'spiffe://one.test/oldest');
    t.ok(left.generation > both.generation);

    await spire.deleteEntry(oldest);
    const none = await any.reaches('the last one is withdrawn', ({ kind }) => kind === 'withdrawn');
    t.match(none.problem, /PERMISSION_DENIED.*no identity issued/);
    t.match(any.refusal(), { code: 'no-identity' });

    await spire.createEntry({ spiffeId: '/chosen', hint: 'b' });
    const back = await one.identity('it is issued anew', undefined, 60_000);
    t.ok(back.generation > identity.generation);
    t.not(back.svid.serial, identity.svid.serial);
  },
);
