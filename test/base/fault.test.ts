import t from 'tap';
import { CODES, Fault } from '../../lib/base/fault.ts';

t.test('every code has an HTTP error status and a non-zero exit status', async (t) => {
  for (const [code, row] of Object.entries(CODES)) {
    t.ok(row.http >= 400 && row.http <= 599, `${code}: ${row.http}`);
    t.ok(row.exit >= 64 && row.exit <= 78, `${code}: ${row.exit}`);
  }
});

t.test('from keeps a Fault as it is and wraps anything else with its cause', async (t) => {
  const fault = new Fault('denied', 'no');
  t.equal(Fault.from(fault, 'internal'), fault);
  const cause = new Error('ECONNREFUSED');
  const wrapped = Fault.from(cause, 'upstream-refused', 'cannot reach crm');
  t.equal(wrapped.code, 'upstream-refused');
  t.equal(wrapped.message, 'cannot reach crm: ECONNREFUSED');
  t.equal(wrapped.cause, cause);
  t.equal(Fault.from('text', 'internal').message, 'text');
});

t.test('describe names the place, the problem and the fix', async (t) => {
  const fault = new Fault('config', 'unknown key "peer"', {
    at: 'a.yaml:4:11',
    hint: 'did you mean "peers"?',
  });
  t.equal(fault.describe(), 'a.yaml:4:11: unknown key "peer"; did you mean "peers"?');
});
