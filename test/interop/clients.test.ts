/** Common HTTP clients with nothing but the variables that `chaperone env` prints: through to an mTLS upstream, and refused where policy says so. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { proxyVariables } from '../../cmd/commands/env.ts';
import { setStage } from '../../cmd/demo/stage.ts';
import { type Client, missing } from './clients.ts';

const run = promisify(execFile);

const python = (library: string): string =>
  `import ${library},sys; r = ${library}.get(sys.argv[1]); print(r.status_code, r.text, end="")`;

const CLIENTS: readonly Client[] = [
  { name: 'curl', needs: ['curl', '--version'], command: (url) => ['curl', '-sS', '-i', url] },
  {
    name: 'Node fetch',
    needs: [process.execPath, '--version'],
    command: (url) => [
      process.execPath,
      '-e',
      'fetch(process.argv[1]).then(async (r) => process.stdout.write(`${r.status} ${await r.text()}`))',
      url,
    ],
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
];

t.test('clients that know nothing but HTTP_PROXY', async (t) => {
  await using stage = await setStage(undefined, () => {});
  const env = { ...process.env, ...proxyVariables(stage.proxyUrl) };
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

t.test('curl through CONNECT', { skip: missing(['curl', '--version']) }, async (t) => {
  await using stage = await setStage(undefined, () => {});
  while (!stage.sidecar.ready()) await new Promise((again) => setTimeout(again, 20));
  const env = { ...process.env, ...proxyVariables(stage.proxyUrl) };
  await t.test('an https:// URL of a destination with rules is refused with the hint to say http://', async (t) => {
    const { stdout, stderr } = await run('curl', ['-sS', '-v', 'https://crm.internal:80/'], { env }).catch(
      (failure: { stdout: string; stderr: string }) => failure,
    );
    t.match(stdout + stderr, /403/);
    t.equal(stage.crm.connections(), 0);
  });
  await t.test('an https:// URL of an unlisted host is refused', async (t) => {
    const { stderr } = await run('curl', ['-sS', 'https://unlisted.example/'], { env }).catch(
      (failure: { stderr: string }) => failure,
    );
    t.match(stderr, /403/);
  });
});
