import t from 'tap';
import { MATRIX, matrixRow, type Outcome } from '../../lib/policy/matrix.ts';
import type { EntryPoint } from '../../lib/policy/facts.ts';
import type { Protocol, TlsMode } from '../../lib/policy/model.ts';
import { destination } from './destination.ts';

const ENTRIES: readonly EntryPoint[] = ['forward', 'connect', 'listener'];
const PROTOCOLS: readonly Protocol[] = ['http', 'tcp'];
const MODES: readonly TlsMode[] = ['mtls', 'web-mtls', 'web', 'plaintext', 'passthrough'];

t.test('every combination of entry, protocol and mode is in exactly one row', async (t) => {
  for (const entry of ENTRIES) {
    for (const protocol of PROTOCOLS) {
      for (const mode of MODES) {
        const rows = MATRIX.filter(
          (row) => row.entry === entry && row.protocols.includes(protocol) && row.modes.includes(mode),
        );
        t.equal(rows.length, 1, `${entry} ${protocol} ${mode}`);
        t.equal(matrixRow(entry, destination('x', { protocol, tlsMode: mode })), rows[0]);
      }
    }
  }
});

t.test('outcomes are those of the design (T1, T2)', async (t) => {
  const expected = (entry: EntryPoint, protocol: Protocol, mode: TlsMode): Outcome => {
    if (mode === 'passthrough') return entry === 'connect' ? 'tunnel' : 'refused';
    if (protocol === 'http') return entry === 'connect' ? 'refused' : 'request';
    return entry === 'forward' ? 'refused' : 'wrapped';
  };
  for (const entry of ENTRIES)
    for (const protocol of PROTOCOLS)
      for (const mode of MODES) {
        const { outcome } = matrixRow(entry, destination('x', { protocol, tlsMode: mode }));
        t.equal(outcome, expected(entry, protocol, mode), `${entry} ${protocol} ${mode}`);
      }
});

t.test('every refusal says what to do instead', async (t) => {
  for (const row of MATRIX) t.equal(row.hint !== undefined, row.outcome === 'refused', row.why);
});
