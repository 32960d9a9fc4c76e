/** The resolver against a DNS server of the test's on loopback, and files of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { candidates, parseHosts, parseResolvConf } from '../../lib/upstream/name-files.ts';
import { dnsResolver, type Resolver, sharing } from '../../lib/upstream/resolver.ts';
import { dnsServer, type Answer, type DnsServer } from '../support/dns.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';

interface Room {
  readonly dns: DnsServer;
  readonly resolver: Resolver;
  readonly hosts: string;
  readonly resolvConf: string;
  readonly ask: (
    name: string,
    options?: { absolute?: boolean; of?: string; signal?: AbortSignal },
  ) => Promise<readonly string[]>;
}

async function room(t: Test, answer: (name: string, kind: 'A' | 'AAAA') => Answer): Promise<Room> {
  const folder = shortFolder(t);
  const [hosts, resolvConf] = [join(folder, 'hosts'), join(folder, 'resolv.conf')];
  writeFileSync(
    hosts,
    '127.0.0.1 localhost\n10.1.2.3  Billing billing.corp.test # ours\n10.1.2.4 billing\n',
  );
  writeFileSync(
    resolvConf,
    'nameserver 127.0.0.1\nsearch corp.test other.test\noptions timeout:1 attempts:1\n',
  );
  const dns = await dnsServer('127.0.0.1', answer, 0);
  const resolver = dnsResolver({ clock: systemClock, hosts, resolvConf, port: dns.port });
  t.teardown(async () => {
    resolver.close?.();
    await dns[Symbol.asyncDispose]();
  });
  const { signal: never } = new AbortController();
  return {
    dns,
    resolver,
    hosts,
    resolvConf,
    ask: (name, { absolute = true, of = 'web', signal = never } = {}) =>
      resolver.resolve(name, { absolute, signal, of }),
  };
}

const KNOWN: Readonly<Record<string, Answer>> = {
  'db.corp.test.': ['192.0.2.7'],
  'a.b.': ['192.0.2.8'],
  'both.test.': ['192.0.2.1', '2001:db8::1'],
  'six.test.': ['2001:db8::2'],
};
const known = (name: string): Answer => KNOWN[name] ?? 'NXDOMAIN';

t.test(
  'a name of the agent is asked for as it stands; one of the operator by hosts file and search list',
  async (t) => {
    const { ask, dns } = await room(t, known);
    t.same([...(await ask('both.test'))].sort(), ['192.0.2.1', '2001:db8::1']);
    t.same(await ask('six.test'), ['2001:db8::2']);
    await t.rejects(ask('db'), {
      code: 'upstream-unresolved',
      message: 'db cannot be resolved (ENOTFOUND)',
    });
    await t.rejects(ask('billing'), { code: 'upstream-unresolved' });
    t.notOk(
      dns.asked.some((name) => name.endsWith('corp.test.') || name.endsWith('other.test.')),
      'no search list',
    );
    const before = dns.asked.length;
    t.same(await ask('billing', { absolute: false }), ['10.1.2.3', '10.1.2.4']);
    t.same(await ask('localhost', { absolute: false }), ['127.0.0.1']);
    t.same(await ask('localhost'), ['127.0.0.1', '::1']);
    t.same(await ask('x.localhost'), ['127.0.0.1', '::1']);
    t.equal(dns.asked.length, before, 'DNS was not asked for them');
    t.same(await ask('db', { absolute: false }), ['192.0.2.7']);
    t.same(
      [...new Set(dns.asked.slice(before))],
      ['db.corp.test.'],
      'without a dot the search list is first',
    );
    t.same(await ask('a.b', { absolute: false }), ['192.0.2.8'], 'with one it is last');
    await t.rejects(ask('nobody', { absolute: false }), { code: 'upstream-unresolved' });
    t.same(
      [...new Set(dns.asked.filter((name) => name.startsWith('nobody')))],
      ['nobody.corp.test.', 'nobody.other.test.', 'nobody.'],
    );
  },
);

t.test('both files are read again when they change', async (t) => {
  const { ask, hosts, resolvConf, dns } = await room(t, (name) =>
    name === 'db.new.test.' ? ['192.0.2.9'] : 'NXDOMAIN',
  );
  await t.rejects(ask('db', { absolute: false }));
  writeFileSync(resolvConf, 'nameserver 127.0.0.1\nsearch new.test\n');
  t.same(await ask('db', { absolute: false }), ['192.0.2.9']);
  writeFileSync(hosts, '10.9.9.9 db\n');
  const before = dns.asked.length;
  t.same(await ask('db', { absolute: false }), ['10.9.9.9']);
  t.equal(dns.asked.length, before);
});

t.test('one kind of address is enough where the other fails, or is late', async (t) => {
  const { ask } = await room(t, (name, kind) => {
    const odd: Answer = name.startsWith('silent') ? 'silence' : 'SERVFAIL';
    if (name.endsWith('four.test.')) return kind === 'A' ? ['192.0.2.1'] : odd;
    if (name.endsWith('six.test.')) return kind === 'AAAA' ? ['2001:db8::1'] : odd;
    return odd;
  });
  t.same(await ask('broken-four.test'), ['192.0.2.1']);
  t.same(await ask('broken-six.test'), ['2001:db8::1']);
  const began = performance.now();
  t.same(await ask('silent-four.test'), ['192.0.2.1']);
  t.same(await ask('silent-six.test'), ['2001:db8::1']);
  t.ok(performance.now() - began < 1900, 'sooner than the server is given up');
  await t.rejects(ask('broken.test'), { message: /ESERVFAIL/ });
  await t.rejects(ask('silent.test'), { message: /ETIMEOUT/ });
});

t.test(
  'names that are looked up at one time have a most; one name is one lookup, whoever asks (R3)',
  async (t) => {
    const { ask, dns } = await room(t, (name) =>
      name.startsWith('slow') ? 'silence' : ['192.0.2.1'],
    );
    const settled = Array.from({ length: 64 }, (_, i) =>
      ask(`slow${i}.test`).catch((failure: unknown) => failure),
    );
    await t.rejects(ask('good.test'), { code: 'too-many', hint: /DNS is slow or silent/ });
    const again = ask('slow0.test').catch((failure: unknown) => failure);
    const began = performance.now();
    t.same(
      await ask('good.test', { of: 'other' }),
      ['192.0.2.1'],
      'another destination has its own share',
    );
    t.ok(performance.now() - began < 900, 'and waits for nobody');
    for (const failure of await Promise.all([...settled, again]))
      t.match(failure, { code: 'upstream-unresolved' });
    t.equal(dns.asked.filter((name) => name === 'slow0.test.').length, 2, 'A and AAAA, once');
    t.same(await ask('good.test'), ['192.0.2.1'], 'and then there is room again');
  },
);

t.test('all destinations together have a most of names, too', async (t) => {
  const never = sharing(() => new Promise(() => {}));
  const gone = new AbortController();
  const ask = (i: number): Promise<unknown> =>
    never.resolve(`n${i}.test`, { absolute: true, signal: gone.signal, of: `d${i % 32}` });
  const asked = Array.from({ length: 1024 }, (_, i) => ask(i).catch((failure: unknown) => failure));
  await t.rejects(never.resolve('x.test', { absolute: true, signal: gone.signal, of: 'e' }), {
    message: /^1024 names/,
  });
  gone.abort(new Fault('client-gone', 'left'));
  await Promise.all(asked);
  const again = new AbortController();
  const one = never.resolve('x.test', { absolute: true, signal: again.signal, of: 'e' });
  again.abort(new Fault('client-gone', 'left'));
  await t.rejects(one, { code: 'client-gone' }, 'and then there is room again');
});

t.test(
  'a lookup that nobody waits for any more is given up; one that somebody waits for goes on',
  async (t) => {
    let answer: Answer = 'silence';
    const { ask, resolver } = await room(t, () => answer);
    const fault = new Fault('client-gone', 'left');
    const [one, two] = [new AbortController(), new AbortController()];
    const first = ask('slow.test', { signal: one.signal });
    const second = ask('slow.test', { signal: two.signal });
    one.abort(fault);
    await t.rejects(first, { code: 'client-gone' });
    two.abort(fault);
    await t.rejects(second, { code: 'client-gone' });
    answer = ['192.0.2.1'];
    t.same(await ask('slow.test'), ['192.0.2.1'], 'it is asked for anew');
    answer = 'silence';
    const last = ask('last.test');
    resolver.close?.();
    await t.rejects(last, { code: 'upstream-unresolved' });
  },
);

t.test('nothing that is being resolved keeps a process from ending', async (t) => {
  const { dns } = await room(t, () => 'silence');
  const { spawn } = await import('node:child_process');
  const program = `
    const { dnsResolver } = await import('${join(import.meta.dirname, '../../lib/upstream/resolver.ts')}');
    const { systemClock } = await import('${join(import.meta.dirname, '../../lib/base/clock.ts')}');
    const resolver = dnsResolver({ clock: systemClock, resolvConf: '/nowhere', port: ${dns.port} });
    const { signal } = new AbortController();
    resolver.resolve('slow.test', { absolute: true, of: 'web', signal })
      .catch((e) => console.log(e.code));
    setTimeout(() => resolver.close(), 200);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const began = performance.now();
  await until('it ended', () => child.exitCode !== null, 60_000);
  t.equal(said, 'upstream-unresolved\n');
  t.ok(
    performance.now() - began < 9000,
    'before the server was given up: two tries of five seconds',
  );
});

t.test('resolv.conf and hosts are read as the C library reads them', async (t) => {
  t.same(parseResolvConf(''), {
    servers: ['127.0.0.1'],
    search: [],
    ndots: 1,
    timeout: 5000,
    attempts: 2,
  });
  t.same(
    parseResolvConf(
      '# nameserver 1.1.1.1\n;nameserver 1.1.1.2\nnameserver  10.0.0.1 \nnameserver ' +
        'nonsense\nnameserver fd00::1\nnameserver 10.0.0.3\nnameserver 10.0.0.4\ndomain ' +
        'a.test\nsearch B.test. .c.test\noptions ndots:5 timeout:99 attempts:0 rotate\n',
    ),
    {
      servers: ['10.0.0.1', 'fd00::1', '10.0.0.3'],
      search: ['b.test', 'c.test'],
      ndots: 5,
      timeout: 30_000,
      attempts: 1,
    },
  );
  t.same(
    [
      ...parseHosts(
        '::1 localhost ip6-localhost\n127.0.0.1 LOCALHOST\n#1.1.1.1 x\nbad y\n1.2.3.4\n',
      ),
    ],
    [
      ['localhost', ['::1', '127.0.0.1']],
      ['ip6-localhost', ['::1']],
    ],
  );
  t.same(candidates('a.b', { search: ['s.test'], ndots: 2 }), ['a.b.s.test', 'a.b']);
  t.same(candidates('a.b', { search: ['s.test', ''], ndots: 1 }), ['a.b', 'a.b.s.test']);
});

t.test('names that are looked up for one agent leave another its own share', async (t) => {
  const never = sharing(() => new Promise(() => {}));
  const gone = new AbortController();
  const ask = (name: string, agent?: string): Promise<unknown> =>
    never.resolve(name, { absolute: true, signal: gone.signal, of: 'web', agent });
  const asked = Array.from({ length: 64 }, (_, i) =>
    ask(`n${i}.test`, 'a').catch((failure: unknown) => failure),
  );
  await t.rejects(ask('x.test', 'a'), { code: 'too-many' });
  const others = [ask('x.test', 'b'), ask('y.test')].map((one) =>
    one.catch((failure: unknown) => failure),
  );
  gone.abort(new Fault('client-gone', 'left'));
  for (const failure of await Promise.all([...asked, ...others]))
    t.match(failure, { code: 'client-gone' });
});
