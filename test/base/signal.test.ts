import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { link, onAbort, reasonOf } from '../../lib/base/signal.ts';

const gone = new Fault('client-gone', 'the client went away');

t.test('a link aborts with the first parent and carries its reason', async (t) => {
  const [a, b] = [new AbortController(), new AbortController()];
  using linked = link(a.signal, b.signal);
  t.notOk(linked.signal.aborted);
  b.abort(gone);
  a.abort(new Fault('shutting-down', 'later'));
  t.equal(linked.signal.reason, gone);
});

t.test('a link over an aborted parent is born aborted', async (t) => {
  using linked = link(AbortSignal.abort(gone));
  t.equal(reasonOf(linked.signal), gone);
});

t.test('aborting a link leaves its parents alone', async (t) => {
  const parent = new AbortController();
  using linked = link(parent.signal);
  linked.abort(gone);
  t.ok(linked.signal.aborted);
  t.notOk(parent.signal.aborted);
});

t.test('a disposed link keeps no listener on its parents', async (t) => {
  const parent = new AbortController();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 20_000; i += 1) link(parent.signal)[Symbol.dispose]();
  global.gc?.();
  const linked = link(parent.signal);
  linked[Symbol.dispose]();
  parent.abort(gone);
  t.notOk(linked.signal.aborted, 'the parent no longer reaches it');
  t.ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024);
});

t.test(
  'onAbort runs once, at once when already aborted, and not after it was taken off',
  async (t) => {
    const seen: string[] = [];
    onAbort(AbortSignal.abort(gone), (reason) => seen.push(reason.code));
    t.same(seen, ['client-gone']);
    const controller = new AbortController();
    const off = onAbort(controller.signal, () => seen.push('never'));
    off();
    controller.abort(gone);
    t.same(seen, ['client-gone']);
  },
);

t.test('a foreign abort reason becomes a Fault', async (t) => {
  t.equal(reasonOf(AbortSignal.abort()).code, 'aborted');
});
