/**
 * Common HTTP clients with nothing but the variables that `chaperone env` prints: through to an
 * mTLS upstream, and refused where policy says so.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setStage } from '../../cmd/demo/setup.ts';
import { proxyVariables } from '../../cmd/environment.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { type Client, type Command, missing } from './clients.ts';
import t from 'tap';

const run = promisify(execFile);

const python = (library: string): string =>
  `import ${library},sys; r = ${library}.get(sys.argv[1]); print(r.status_code, r.text, end="")`;

const node = (before: string): ((url: string) => Command) => {
  const program =
    `${before}; const r = await fetch(process.argv[1]); process.stdout.write(r.status + ' ' ` +
    '+ (await r.text()))';
  return (url) => [process.execPath, '--input-type=module', '-e', program, url];
};

const dispatcher = (made: string): ((url: string) => Command) =>
  node(
    `import { ${made.split('(')[0]}, fetch, setGlobalDispatcher } from 'undici'; setGlobalDispatcher(new ${made})`,
  );

const CLIENTS: readonly Client[] = [
  {
    name: 'curl',
    needs: ['curl', '--version'],
    command: (url) => ['curl', '-sS', '-i', '--suppress-connect-headers', url],
  },
  {
    name: 'Node fetch with NODE_USE_ENV_PROXY',
    needs: [process.execPath, '--version'],
    command: node(''),
  },
  {
    name: 'undici EnvHttpProxyAgent',
    needs: [process.execPath, '--version'],
    command: dispatcher('EnvHttpProxyAgent()'),
  },
  {
    name: 'undici ProxyAgent',
    needs: [process.execPath, '--version'],
    command: dispatcher('ProxyAgent(process.env.HTTP_PROXY)'),
  },
  {
    name: 'Python requests',
    needs: ['python3', '-c', 'import requests'],
    command: (url) => ['python3', '-c', python('requests'), url],
  },
  {
    name: 'Python httpx',
    needs: ['python3', '-c', 'import httpx'],
    command: (url) => ['python3', '-c', python('httpx'), url],
  },
  {
    name: 'Go net/http',
    needs: ['go', 'version'],
    command: (url) => ['go', 'run', join(import.meta.dirname, 'fetch.go'), url],
  },
  {
    name: 'Java HttpClient',
    needs: ['java', '--version'],
    command: (url, roots) => [
      'java',
      join(import.meta.dirname, 'Fetch.java'),
      url,
      ...(roots === undefined ? [] : [roots]),
    ],
  },
];

/** Those of `chaperone env`, and in Java's words. */
function variables(proxy: string): Readonly<Record<string, string>> {
  const { hostname, port } = new URL(proxy);
  const java = ['http', 'https'].map(
    (scheme) => `-D${scheme}.proxyHost=${hostname} -D${scheme}.proxyPort=${port}`,
  );
  return { ...proxyVariables(proxy), JAVA_TOOL_OPTIONS: java.join(' ') };
}

t.test('clients that know nothing but HTTP_PROXY', async (t) => {
  await using stage = await setStage(undefined, () => {});
  const env = { ...process.env, ...variables(stage.proxyUrl) };
  const ask = async (client: Client, url: string): Promise<string> => {
    const [program, ...args] = client.command(url);
    return (await run(program, args, { env })).stdout.replace(/^HTTP\/1\.1 /, '');
  };
  while (!stage.sidecar.ready()) await new Promise((again) => setTimeout(again, 20));
  for (const client of CLIENTS) {
    await t.test(
      `${client.name} reads over mTLS and is refused where policy says so`,
      { skip: missing(client.needs) },
      async (t) => {
        const before = stage.crm.requests().length;
        const allowed = await ask(client, 'http://crm.internal/v1/customers/1001');
        t.match(allowed, /^200/);
        t.match(allowed, /Ada Engines/);
        t.equal(stage.crm.requests().at(-1)?.peer.spiffeId, 'spiffe://dev.local/agent');
        const denied = await ask(client, 'http://crm.internal/v1/export/customers');
        t.match(denied, /^403/);
        t.match(denied, /rule no-exports of destination crm denies/);
        t.match(await ask(client, 'http://unlisted.example/'), /^403/);
        t.equal(stage.crm.requests().length, before + 1, 'one request alone reached the upstream');
      },
    );
  }
});

t.test('clients that know of no proxy reach a local listener, whatever they offer', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority });
  const at = { host: '127.0.0.1', port: upstream.port };
  await using proxy = await testProxy({
    authority,
    destinations: [testDestination({ listen: true, upstream: at })],
  });
  const { PATH, HOME } = process.env;
  for (const client of CLIENTS.filter(
    ({ name }) => !name.includes('Proxy') && !name.includes('PROXY'),
  )) {
    await t.test(client.name, { skip: missing(client.needs) }, async (t) => {
      const [program, ...args] = client.command(`http://127.0.0.1:${proxy.port('crm')}/x`);
      const variants = program === 'java' ? [args, ['-Dcontent=asked', ...args]] : [args];
      for (const given of variants) {
        const { stdout } = await run(program, given, { env: { PATH, HOME } });
        t.match(stdout, /200[^]*"url":"\/x"/);
        if (given !== args) t.match(stdout, /"body":"asked"/);
      }
    });
  }
  await proxy.quiet();
  for (const { plain } of upstream.connections)
    t.notMatch(plain.text, /upgrade|h2c|http2-settings/i);
});

t.test(
  'https:// of a passthrough destination goes through CONNECT, with the client’s own TLS',
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/web', { dns: ['web.example.com'] });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
    const hosts = ['web.example.com'];
    const at = { host: '127.0.0.1', port: upstream.port };
    const web = testDestination({
      name: 'web',
      hosts,
      ports: [443],
      mode: 'passthrough',
      upstream: at,
    });
    await using proxy = await testProxy({ authority, identity: 'none', destinations: [web] });
    const roots = join(shortFolder(t), 'roots.pem');
    writeFileSync(roots, authority.pem);
    const trust = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'];
    const env = {
      ...process.env,
      ...variables(`http://127.0.0.1:${proxy.port()}`),
      ...Object.fromEntries(trust.map((name) => [name, roots])),
    };
    for (const client of CLIENTS) {
      await t.test(client.name, { skip: missing(client.needs) }, async (t) => {
        const before = proxy.audit.records.length;
        const [program, ...args] = client.command('https://web.example.com/x', roots);
        const { stdout } = await run(program, args, { env });
        t.match(stdout, /200[\s\S]*"\/x"/);
        await proxy.quiet();
        t.match(proxy.audit.records.slice(before), [
          { kind: 'decided', entry: 'connect', effect: 'allow', destination: 'web' },
          { kind: 'ended', outcome: 'completed', peer: 'unverified' },
        ]);
        const [refused, ...rest] = client.command('https://unlisted.example.com/', roots);
        const denied = await run(refused, rest, { env }).then(
          ({ stdout: text }) => `answered: ${text}`,
          (failure: { readonly stderr: string }) => failure.stderr,
        );
        t.notMatch(denied, /answered/, 'a host that is not listed is no tunnel');
        await proxy.quiet();
        t.match(proxy.audit.records.at(-2), { kind: 'decided', effect: 'deny', code: 'unlisted' });
      });
    }
  },
);

t.test('curl through CONNECT', { skip: missing(['curl', '--version']) }, async (t) => {
  await using stage = await setStage(undefined, () => {});
  while (!stage.sidecar.ready()) await new Promise((again) => setTimeout(again, 20));
  const env = { ...process.env, ...proxyVariables(stage.proxyUrl) };
  await t.test('http:// inside is let through and refused by what it asks', async (t) => {
    const ask = async (path: string): Promise<string> =>
      (
        await run(
          'curl',
          ['-sS', '-i', '-p', '--suppress-connect-headers', `http://crm.internal${path}`],
          { env },
        )
      ).stdout;
    const before = stage.crm.requests().length;
    t.match(await ask('/v1/customers/1001'), /^HTTP\/1\.1 200[^]*Ada Engines/);
    t.match(
      await ask('/v1/export/customers'),
      /^HTTP\/1\.1 403[^]*rule no-exports of destination crm denies/,
    );
    t.equal(stage.crm.requests().length, before + 1, 'one request alone reached the upstream');
    t.match(await stage.audit(), /"entry":"cleartext"[^\n]*"effect":"allow"/);
    t.match(
      await stage.audit(),
      /"entry":"cleartext"[^\n]*"effect":"deny"[^\n]*"rule":"no-exports"/,
    );
  });
  await t.test(
    'TLS to a destination whose TLS starts at the sidecar gets an alert, and a record says why',
    async (t) => {
      const before = stage.crm.connections();
      const { stderr } = await run('curl', ['-sS', 'https://crm.internal:80/'], { env }).catch(
        (failure: { stderr: string }) => failure,
      );
      t.match(stderr, /access denied/i);
      await until('it is recorded', async () =>
        /"outcome":"wrong-entry"/.test(await stage.audit()),
      );
      t.match(await stage.audit(), /there is TLS in the tunnel to crm\.internal:80/);
      t.equal(stage.crm.connections(), before, 'nothing was dialled');
    },
  );
  await t.test('an https:// URL of an unlisted host is refused', async (t) => {
    const { stderr } = await run('curl', ['-sS', 'https://unlisted.example/'], { env }).catch(
      (failure: { stderr: string }) => failure,
    );
    t.match(stderr, /403/);
  });
});
