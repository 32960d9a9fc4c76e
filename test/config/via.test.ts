/** `via` in documents: whose it is, what it defaults to, and what is refused. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../lib/config/load/load.ts';
import { testAuthority } from '../support/authority.ts';
import { destination, folder, load, problemsIn, problemsOf, SIDECAR } from './documents.ts';

const DEFAULT = SIDECAR.replace(
  '{ task: optional }',
  "{ task: optional, via: { proxy: 'http://proxy.corp:3128' } }",
);
const written = (text: string): string =>
  destination(`  upstream: { address: 'crm.example:443' }\n  via: ${text}`);

t.test('a destination has the proxy that it writes, else the default, else none', async (t) => {
  const of = async (...texts: readonly string[]) =>
    (await load(t, ...texts)).policy.destinations[0]?.via;
  t.match(await of(SIDECAR, written("{ proxy: 'https://10.0.0.1:8080' }")), {
    secure: true,
    host: '10.0.0.1',
    port: 8080,
    text: 'https://10.0.0.1:8080',
  });
  t.match(await of(DEFAULT, written("{ proxy: 'http://other.corp:80' }")), {
    host: 'other.corp',
    secure: false,
  });
  t.match(await of(DEFAULT, destination('')), {
    host: 'proxy.corp',
    port: 3128,
    basic: undefined,
    roots: undefined,
  });
  t.equal(await of(DEFAULT, written('{ direct: true }')), undefined);
  t.equal(await of(SIDECAR, destination('')), undefined);
});

t.test(
  'the default is not for loopback upstreams, nor for those whose private addresses we judge',
  async (t) => {
    for (const upstream of [
      "{ address: '127.0.0.1:8443' }",
      "{ address: '[::1]:8443' }",
      '{ cidrs: [10.0.0.0/8] }',
    ]) {
      const { policy } = await load(t, DEFAULT, destination(`  upstream: ${upstream}`));
      t.equal(policy.destinations[0]?.via, undefined, upstream);
    }
  },
);

t.test('what is no proxy, or goes together with it wrongly, is refused at its place', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["{ proxy: 'proxy.corp:3128' }", /via\.proxy: .*is not the URL of an HTTP proxy/],
    ["{ proxy: 'http://proxy.corp' }", /via\.proxy/],
    ["{ proxy: 'http://proxy.corp:3128/' }", /via\.proxy/],
    ["{ proxy: 'socks5://proxy.corp:1080' }", /via\.proxy/],
    ["{ proxy: 'http://me:secret@proxy.corp:3128' }", /via\.proxy: .*go to via\.basic/],
    ['{}', /via: it is one proxy or none/],
    ['{ direct: false }', /via: it is one proxy or none/],
    ["{ direct: true, proxy: 'http://proxy.corp:3128' }", /one proxy or none/],
    ["{ proxy: 'http://proxy.corp:3128', roots: [a.pem] }", /via: roots are of no use/],
    [
      "{ proxy: 'http://proxy.corp:3128', basic: none }",
      /via\.basic: .*none cannot be read; .*user:password/,
    ],
    [
      "{ proxy: 'https://proxy.corp:3128', roots: [none.pem] }",
      /via\.roots\[0\]: .*none\.pem cannot be read/,
    ],
  ];
  for (const [text, problem] of cases) {
    const found = await problemsOf(t, SIDECAR, written(text));
    t.match(found, [problem], text);
    t.match(found, [/^c\.yaml:\d+:\d+ /], text);
  }
  const inDefaults = DEFAULT.replace("3128' }", "3128', basic: none }");
  t.match(await problemsOf(t, inDefaults, destination('')), [/spec\.defaults\.via\.basic: /]);
});

t.test(
  'its roots are read when loaded, watched, and part of the digest; its credentials are not',
  async (t) => {
    const path = folder(t);
    const file = join(path, 'c.yaml');
    const digest = async (pem: string): Promise<string> => {
      writeFileSync(join(path, 'roots.pem'), pem);
      writeFileSync(join(path, 'proxy-user'), 'me:secret');
      writeFileSync(
        file,
        [
          SIDECAR,
          written("{ proxy: 'https://p.corp:1', roots: [roots.pem], basic: proxy-user }"),
        ].join('---\n'),
      );
      const { policy, sources } = await loadConfig([file], { generation: 1 });
      t.ok(sources.includes(join(path, 'roots.pem')));
      t.match(policy.destinations[0]?.via, {
        roots: [/BEGIN CERTIFICATE/],
        basic: join(path, 'proxy-user'),
      });
      t.notMatch(JSON.stringify(policy.destinations[0]), /secret/);
      return policy.digest;
    };
    const [one, other] = [await testAuthority(), await testAuthority()];
    const first = await digest(one.pem);
    t.equal(await digest(one.pem), first);
    t.not(await digest(other.pem), first);
    t.same(await problemsIn(path, [file]), []);
  },
);
