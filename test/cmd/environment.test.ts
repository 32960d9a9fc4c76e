/**
 * `env`, `trust` and `task run` where an environment has something already: what programs trusted
 * and reached stays.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { environment } from '../../cmd/environment.ts';
import { noProxy } from '../../cmd/no-proxy.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { parseHostPattern } from '../../lib/net/host.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import { certificatesIn } from '../../lib/interception/named-roots.ts';
import { TRUST_VARIABLES, writeTrust } from '../../lib/interception/trust.ts';
import { testAuthority } from '../support/authority.ts';
import { document, documents, sidecarDocument } from '../support/documents.ts';
import { shortFolder } from '../support/folder.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { chaperone } from '../support/program.ts';

t.setTimeout(240_000);

const run = promisify(execFile);
const BUNDLES = TRUST_VARIABLES.filter(({ file }) => file === 'bundle.pem').map(({ name }) => name);

type Tap = Parameters<typeof shortFolder>[0];

interface Company extends AsyncDisposable {
  readonly pem: string;
  readonly folder: string;
  /** A file with the CA, with a comment and CRLF. */
  readonly named: string;
  readonly url: string;
}

/** A company's server, with a certificate of the company's own CA. */
async function company(t: Tap): Promise<Company> {
  const authority = await testAuthority();
  const svid = await authority.svid('/corp', { dns: ['localhost'] });
  const upstream = await mtlsUpstream({ authority, svid, client: 'none' });
  const folder = shortFolder(t);
  const named = join(folder, 'corp.pem');
  writeFileSync(named, `# of the company\r\n${authority.pem.replaceAll(/\r?\n/g, '\r\n')}`);
  const pem = certificatesIn(authority.pem)[0] ?? '';
  return {
    pem,
    folder,
    named,
    url: `https://localhost:${upstream.port}/`,
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

async function configured(
  folder: string,
): Promise<{ readonly config: string; readonly trust: string }> {
  const trust = join(folder, 'trust');
  using authority = await openInterception({
    domains: ['crm.internal'],
    folder: undefined,
    clock: systemClock,
  });
  await writeTrust(trust, authority.authority());
  const config = join(folder, 'c.yaml');
  writeFileSync(
    config,
    documents(
      sidecarDocument({
        endpoint: 'unix:///tmp/none.sock',
        forward: '127.0.0.1:15001',
        more: `  defaults: { task: optional }
  intercept: { domains: [crm.internal], trust: { folder: ${trust} } }`,
      }),
      document(
        'Destination',
        'crm',
        `  hosts: [crm.internal]
  ports: [443]
  tls: { mode: web, intercept: true }
  rules: [{ name: all, effect: allow, action: read, http: { methods: [GET], paths: [/**] } }]`,
      ),
      document(
        'Destination',
        'cache',
        `  hosts: [cache.internal]
  ports: [6379]
  protocol: tcp
  listen: 127.0.0.1:16379
  upstream: { address: 'cache.internal:6379' }
  tls: { mode: web }`,
      ),
    ),
  );
  return { config, trust };
}

const FETCH =
  'fetch(process.argv[1]).then((r) => console.log(r.status), (e) => console.log(e.cause?.code))';

t.test(
  'a company CA that was named stays trusted by Node and curl after env, also when it is called twice',
  async (t) => {
    await using c = await company(t);
    const { config, trust } = await configured(c.folder);
    const before: Record<string, string> = {
      HOME: c.folder,
      NODE_EXTRA_CA_CERTS: c.named,
      CURL_CA_BUNDLE: c.named,
    };
    const bad = join(c.folder, 'bad.pem');
    writeFileSync(bad, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const first = await chaperone(['env', '--json', '-c', config], { ...before, PIP_CERT: bad });
    t.equal(first.status, 0, first.err);
    t.match(first.err, /PIP_CERT: .*bad\.pem holds a block that is no certificate/);
    const variables = JSON.parse(first.out) as Record<string, string>;
    const again = await chaperone(['env', '--json', '-c', config], { ...before, ...variables });
    t.same(JSON.parse(again.out), variables);
    t.equal(again.err, '');

    const env = { PATH: process.env['PATH'] ?? '', ...before, ...variables };
    t.match((await run(process.execPath, ['-e', FETCH, c.url], { env })).stdout, /^200$/m, 'Node');
    t.match(
      (await run('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', c.url], { env })).stdout,
      /^200$/,
      'curl',
    );
    const own = readFileSync(join(trust, 'ca.pem'), 'utf8').trim();
    for (const name of ['NODE_EXTRA_CA_CERTS', ...BUNDLES]) {
      const text = readFileSync(variables[name] ?? '', 'utf8');
      t.ok(text.includes(c.pem) && text.includes(own), name);
    }
    t.ok(
      certificatesIn(readFileSync(variables['SSL_CERT_FILE'] ?? '', 'utf8')).length > 50,
      'and the roots of the system',
    );
    t.match(
      readFileSync(variables['APT_CONFIG'] ?? '', 'utf8'),
      `"${trust}/bundle.pem"`,
      'which its own user may read',
    );
  },
);

t.test('each variable that holds one file is joined, by trust --dir as by env', async (t) => {
  await using c = await company(t);
  const { config, trust } = await configured(c.folder);
  for (const name of BUNDLES) {
    const before = { HOME: c.folder, [name]: c.named };
    const dir = join(c.folder, `dir-${name}`);
    for (const args of [
      ['env', '--json'],
      ['trust', '--format', 'json', '--dir', dir, '--ca', join(trust, 'ca.pem')],
    ]) {
      const ended = await chaperone([...args, '-c', config], before);
      t.equal(ended.status, 0, ended.err);
      const { [name]: file = '' } = JSON.parse(ended.out) as Record<string, string>;
      const pems = certificatesIn(readFileSync(file, 'utf8'));
      t.ok(pems.includes(c.pem), `${args[0]}: ${name}`);
      t.ok(pems.length > 50, `${args[0]}: ${name}: roots`);
    }
  }
  const missing = await chaperone(['env', '-c', config], {
    HOME: c.folder,
    AWS_CA_BUNDLE: '/nowhere.pem',
  });
  t.match(missing.err, /AWS_CA_BUNDLE: \/nowhere\.pem cannot be read and is left out: ENOENT/);
  t.match(
    missing.out,
    `export AWS_CA_BUNDLE='${trust}/bundle.pem'`,
    'nothing to join: the files of the sidecar',
  );
});

t.test(
  'env tells what is left out of NO_PROXY, and a tcp listener is no http:// URL',
  async (t) => {
    const folder = shortFolder(t);
    const { config } = await configured(folder);
    const NO_PROXY = '127.0.0.0/8, .corp.example,internal';
    const { out, err } = await chaperone(['env', '-c', config], {
      HOME: folder,
      NO_PROXY,
      no_proxy: 'crm.internal:443',
    });
    t.match(out, /^export NO_PROXY='localhost,127\.0\.0\.1,::1,127\.0\.0\.0\/8,\.corp\.example'$/m);
    t.match(out, /^export no_proxy='localhost,127\.0\.0\.1,::1,127\.0\.0\.0\/8,\.corp\.example'$/m);
    t.match(err, /NO_PROXY: left out internal, crm\.internal:443: destinations have such hosts/);
    t.match(out, /^# cache also listens on 127\.0\.0\.1:16379 \(tcp\)$/m);
    t.match(out, /^export WSS_PROXY='http:\/\/127\.0\.0\.1:15001'$/m);
    t.match(out, /-Dhttps\.proxyHost=127\.0\.0\.1 -Dhttps\.proxyPort=15001/);
    t.match(out, /^# Node reads these from 22\.21 and 24\.5/m);
  },
);

t.test('an entry of NO_PROXY that any reader may take for a destination is left out', async (t) => {
  const hosts = ['crm.internal', '*.example.com', '10.1.2.3', '[fd00::7]', 'db'].map(
    parseHostPattern,
  );
  const dropped =
    '* . crm.internal .internal INTERNAL crm.internal. crm.internal:443 *.internal ' +
    'm.internal crm.* api.example.com ' +
    '.a.b.example.com example.com com api.* 10.0.0.0/8 10.1.2.3 10.* 10. 0.0.0.0/0 ' +
    '[fd00::7] fd00:0::7 fd00::/8 ' +
    'fd00::/zz <local> db';
  t.same(noProxy([dropped], hosts).dropped, dropped.split(' '));
  const kept =
    'localhost 127.0.0.1 ::1 127.* 127.0.0.0/8 [::1]:80 localhost:8080 other.internal ' +
    'crm.internal.corp ' +
    'example.org 10.2.0.0/16 192.168.* fe80::/10 169.254.169.254';
  t.same(noProxy([kept], hosts).dropped, []);
  t.same(noProxy([kept], hosts).kept, kept.split(' '));
  t.same(noProxy(['127.0.0.0/1 127.0.0.1.example.com'], hosts).kept, [
    'localhost',
    '127.0.0.1',
    '::1',
  ]);
  t.same(
    noProxy(['localhost other.corp'], undefined).dropped,
    ['other.corp'],
    'unknown destinations may be anything',
  );
});

t.test(
  'options of Java are joined: its own come first, a trust store of its own stays',
  async (t) => {
    const wanted = {
      proxy: 'http://t-1:secret@127.0.0.1:15001',
      trust: '/t',
      hosts: [],
      exists: () => false,
    };
    const java = (JAVA_TOOL_OPTIONS: string): ReturnType<typeof environment> =>
      environment({ ...wanted, before: { JAVA_TOOL_OPTIONS, NODE_OPTIONS: '--trace-warnings' } });
    const first = java('-Xmx1g -Dhttp.nonProxyHosts=*.corp|localhost -Dhttps.proxyHost=old');
    const options = first.variables['JAVA_TOOL_OPTIONS'] ?? '';
    t.match(options, /^-Xmx1g -Dhttp\.proxyHost=127\.0\.0\.1 /);
    t.match(options, /-Dhttp\.nonProxyHosts=\S*\*\.corp/);
    t.match(
      options,
      /-Djdk\.http\.auth\.tunneling\.disabledSchemes= .*trustStore=\/t\/truststore\.p12/,
    );
    t.notMatch(options, /=old|secret/);
    t.equal(java(options).variables['JAVA_TOOL_OPTIONS'], options, 'joined twice it is the same');
    t.notOk('NODE_OPTIONS' in first.variables, 'what programs of Node are told stays as it is');
    const other = java('-Djavax.net.ssl.trustStore=/corp.jks');
    t.notMatch(other.variables['JAVA_TOOL_OPTIONS'], /truststore\.p12/);
    t.match(
      other.notes.join(),
      /trust store \/corp\.jks, which is kept; add the CA to it: keytool -importcert/,
    );
  },
);

t.test('settings of wget and apt stay, and what to add to them is said', async (t) => {
  const wanted = { proxy: undefined, trust: '/t', hosts: [] };
  const exists = (path: string): boolean => path === '/home/a/.wgetrc';
  const none = environment({ ...wanted, before: { HOME: '/home/b' }, exists });
  t.match(none.variables, { WGETRC: '/t/chaperone.wgetrc', APT_CONFIG: '/t/chaperone.apt.conf' });
  const some = environment({
    ...wanted,
    before: { HOME: '/home/a', APT_CONFIG: '/etc/mine' },
    exists,
  });
  t.notOk('WGETRC' in some.variables || 'APT_CONFIG' in some.variables);
  t.match(
    some.notes.join('\n'),
    /\/home\/a\/\.wgetrc stays; add to it: ca_certificate = \/t\/bundle\.pem/,
  );
  t.match(
    some.notes.join('\n'),
    /\/etc\/mine stays; add to it: #include "\/t\/chaperone\.apt\.conf"/,
  );
});
