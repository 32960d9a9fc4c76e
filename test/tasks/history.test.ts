import t from 'tap';
import { history } from '../../lib/tasks/history.ts';

const mark = (action: string, destination: string, dataClass: string) => ({
  action,
  destination,
  dataClass,
});

t.test('reading marks what was read, writing what was written, everything else both', async (t) => {
  const h = history();
  h.mark('a', mark('read', 'crm', 'confidential'));
  h.mark('b', mark('write', 'wiki', 'internal'));
  h.mark('c', mark('execute', 'shell', 'restricted'));
  const { read, wrote, actions, destinations } = h.before(undefined);
  t.same([...read], ['confidential', 'restricted']);
  t.same([...wrote], ['internal', 'restricted']);
  t.same([...actions], ['read', 'write', 'execute']);
  t.same([...destinations], ['crm', 'wiki', 'shell']);
});

t.test(
  'an exchange does not see its own marks, and sees them once another has made them too',
  async (t) => {
    const h = history();
    t.ok(h.mark('a', mark('read', 'crm', 'confidential')));
    t.same([...h.before('a').read], []);
    t.same([...h.before('b').read], ['confidential']);
    t.ok(h.mark('b', mark('read', 'crm', 'confidential')), 'a sees it now');
    t.same([...h.before('a').read], ['confidential']);
    t.notOk(h.mark('c', mark('read', 'crm', 'confidential')), 'nobody sees more than before');
    t.notOk(h.mark('a', mark('read', 'crm', 'confidential')));
  },
);

t.test('a past that is not known counts as having read and written every class', async (t) => {
  const h = history(['public', 'restricted']);
  t.same([...h.before(undefined).read], ['public', 'restricted']);
  t.same([...h.before('any').wrote], ['public', 'restricted']);
});

t.test('a snapshot stays what it was', async (t) => {
  const h = history();
  const before = h.before(undefined);
  h.mark('a', mark('read', 'crm', 'confidential'));
  t.same([...before.read], []);
  t.equal(h.before(undefined), h.before(undefined), 'and is made once while nothing changes');
});
