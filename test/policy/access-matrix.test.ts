import t from 'tap';
import type { Outcome } from '../../lib/policy/model/access-matrix.ts';
import { MATRIX } from '../../lib/policy/protocols/access-matrix.ts';
import { matrixRow } from '../../lib/policy/protocols/index.ts';
import type { EntryPoint } from '../../lib/policy/model/facts.ts';
import type { TlsMode } from '../../lib/policy/model/destination.ts';
import type { Protocol } from '../../lib/policy/protocols/index.ts';
import { destination } from './destination.ts';

const ENTRIES: readonly EntryPoint[] = ['forward', 'connect', 'intercept', 'cleartext', 'listener'];
const PROTOCOLS: readonly Protocol[] = ['http', 'mcp', 'grpc', 'tcp'];
const MODES: readonly TlsMode[] = ['mtls', 'web-mtls', 'web', 'plaintext', 'passthrough'];

/** In mode passthrough a destination is one of connections, whatever its protocol. */
const modesOf = (protocol: Protocol): readonly TlsMode[] =>
  protocol === 'tcp' ? MODES : MODES.filter((mode) => mode !== 'passthrough');

interface Combination {
  readonly entry: EntryPoint;
  readonly protocol: Protocol;
  readonly mode: TlsMode;
  readonly intercept: boolean;
  readonly port: number;
}

const COMBINATIONS: readonly Combination[] = ENTRIES.flatMap((entry) =>
  PROTOCOLS.flatMap((protocol) =>
    modesOf(protocol).flatMap((mode) =>
      [true, false].flatMap((intercept) =>
        [80, 443].map((port) => ({ entry, protocol, mode, intercept, port })),
      ),
    ),
  ),
);

function reached({
  entry,
  protocol,
  mode,
  intercept,
  port,
}: Combination): ReturnType<typeof matrixRow> {
  const one = destination('x', { protocol, tlsMode: mode });
  return matrixRow({ entry, port }, { ...one, tls: { ...one.tls, intercept } });
}

t.test(
  'every combination of entry, protocol, mode, interception and port is in exactly one row',
  async (t) => {
    for (const one of COMBINATIONS) {
      const { entry, protocol, mode, intercept, port } = one;
      const rows = MATRIX.filter(
        (row) =>
          row.entry === entry &&
          row.protocols.includes(protocol) &&
          row.modes.includes(mode) &&
          (row.intercept ?? intercept) === intercept &&
          (row.port === undefined || (row.port === 'https') === (port === 443)),
      );
      t.equal(rows.length, 1, JSON.stringify(one));
      const { protocols: _, ...row } = rows[0] ?? { protocols: [] };
      t.same(reached(one), row, JSON.stringify(one));
    }
  },
);

t.test('outcomes are those of the design (T1, T2)', async (t) => {
  const expected = ({ entry, protocol, mode, intercept, port }: Combination): Outcome => {
    if (mode === 'passthrough') return entry === 'connect' ? 'tunnel' : 'refused';
    const judged = protocol !== 'tcp';
    if (entry === 'connect' && !judged) return 'wrapped';
    if (entry === 'connect')
      return intercept ? 'intercepted' : port === 443 ? 'refused' : 'inspected';
    if (entry === 'cleartext') return judged ? 'request' : 'refused';
    if (entry === 'intercept') return judged && intercept ? 'request' : 'refused';
    if (entry === 'forward' && protocol === 'grpc') return 'refused';
    if (judged) return 'request';
    return entry === 'forward' ? 'refused' : 'wrapped';
  };
  for (const one of COMBINATIONS) t.equal(reached(one).outcome, expected(one), JSON.stringify(one));
});

t.test('every refusal says what to do instead', async (t) => {
  for (const row of MATRIX) t.equal(row.hint !== undefined, row.outcome === 'refused', row.why);
});
