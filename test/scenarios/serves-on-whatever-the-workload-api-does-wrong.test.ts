import t from 'tap';
import type { DevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

interface Trouble {
  readonly title: string;
  readonly begin: (api: DevWorkloadApi) => unknown;
  readonly end: (api: DevWorkloadApi) => unknown;
}

const STREAM = 'FetchX509SVID';
const mend = (api: DevWorkloadApi): Promise<void> =>
  api.breakResponses({ blank: undefined, foreignKey: false, foreignId: undefined, raw: {} });
const failing = (
  code: 'UNAVAILABLE' | 'INTERNAL' | 'RESOURCE_EXHAUSTED' | 'DEADLINE_EXCEEDED' | 'UNKNOWN',
): Trouble => ({
  title: `ends its streams with ${code} and goes on to`,
  begin(api) {
    api.failNext({ code, calls: Infinity });
    api.endCalls({ code, details: 'as told' });
  },
  end: (api) => api.heal(),
});
const broken = (
  title: string,
  faults: Parameters<DevWorkloadApi['breakResponses']>[0],
): Trouble => ({
  title,
  begin: (api) => api.breakResponses(faults),
  end: mend,
});

const TROUBLES: readonly Trouble[] = [
  failing('UNAVAILABLE'),
  failing('INTERNAL'),
  failing('RESOURCE_EXHAUSTED'),
  failing('DEADLINE_EXCEEDED'),
  failing('UNKNOWN'),
  {
    title: 'ends its streams cleanly',
    begin: (api) => api.endCalls({ code: 'OK', details: '' }, STREAM),
    end: () => {},
  },
  {
    title: 'cancels its streams',
    begin: (api) => api.endCalls({ code: 'CANCELLED', details: 'context canceled' }, STREAM),
    end: () => {},
  },
  {
    title: 'is slow with its first response',
    begin: (api) => {
      api.slowFirst(1000);
      api.endCalls({ code: 'OK', details: '' });
    },
    end: (api) => api.heal(),
  },
  { title: 'goes away and comes back', begin: (api) => api.stop(), end: (api) => api.start() },
  broken('leaves out the SVIDs', { blank: 'svids' }),
  broken('leaves out the ID', { blank: 'spiffe_id' }),
  broken('leaves out the certificates', { blank: 'x509_svid' }),
  broken('leaves out the key', { blank: 'x509_svid_key' }),
  broken('leaves out the bundle', { blank: 'bundle' }),
  broken('sends the key of another', { foreignKey: true }),
  broken('sends another ID than the certificate has', { foreignId: 'spiffe://example.org/other' }),
  broken('sends no protobuf', { raw: { FetchX509SVID: new Uint8Array([0xff, 0xff, 0xff]) } }),
];

for (const { title, begin, end } of TROUBLES) {
  t.test(
    `serves on with the SVID it has while the Workload API ${title}, and takes the next good one (1.1, 3.1, 3.3, 3.5)`,
    async (t) => {
      await using s = await testSidecar();
      t.equal(await s.get('/v1/customers'), 200);
      const before = s.api.requests().at(-1)?.peer.serial;
      const tunnel = await s.tunnel();
      const calls = s.workload.calls(STREAM);
      await begin(s.workload);
      for (let left = 5; left > 0; left--) t.equal(await s.get('/v1/customers'), 200);
      t.ok(s.sidecar.ready());
      t.equal(s.api.requests().at(-1)?.peer.serial, before, 'with what it had');
      await end(s.workload);
      await s.workload.rotate();
      await until(
        'the next SVID is in use',
        async () => {
          t.equal(await s.get('/v1/customers'), 200);
          return s.api.requests().at(-1)?.peer.serial !== before;
        },
        20_000,
      );
      t.ok(
        s.workload.calls(STREAM) - calls < 60,
        `${s.workload.calls(STREAM) - calls} calls: no hot loop`,
      );
      tunnel.write('pong');
      await tunnel.sees('pong');
    },
  );
}

t.test(
  'serves on with its SVID when the Workload API says INVALID_ARGUMENT, is not ready, and does not ask again (C-40)',
  async (t) => {
    await using s = await testSidecar();
    t.equal(await s.get('/v1/customers'), 200);
    s.workload.failNext({ code: 'INVALID_ARGUMENT', calls: Infinity });
    const calls = s.workload.calls(STREAM);
    s.workload.endCalls({ code: 'UNAVAILABLE', details: 'as told' }, STREAM);
    t.match(await s.sidecar.failed, { code: 'workload-api-refused', exit: 78 });
    await until('it is not ready', () => !s.sidecar.ready());
    t.ok(s.log.some((line) => /error identity .*not asked again/.test(line)));
    t.equal(await s.get('/v1/customers'), 200);
    t.ok(
      s.workload.calls(STREAM) - calls < 8,
      `${s.workload.calls(STREAM) - calls} calls, of sidecar and upstreams`,
    );
  },
);

t.test(
  'asks again when the Workload API says UNIMPLEMENTED, and takes the next SVID (C-43)',
  async (t) => {
    await using s = await testSidecar();
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.api.requests().at(-1)?.peer.serial;
    s.workload.failNext({ code: 'UNIMPLEMENTED', calls: 3 });
    s.workload.endCalls({ code: 'UNIMPLEMENTED', details: 'unknown service' }, STREAM);
    await s.workload.rotate();
    await until(
      'the next SVID is in use',
      async () => {
        t.equal(await s.get('/v1/customers'), 200);
        return s.api.requests().at(-1)?.peer.serial !== before;
      },
      30_000,
    );
    t.ok(s.sidecar.ready());
  },
);
