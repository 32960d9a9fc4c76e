/**
 * Debian's Chromium, alone and driven by Playwright: what `chaperone trust --nss` writes is all it
 * needs, and a denial is the page that is shown.
 */
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeNss } from '../../cmd/nss.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testInterception } from '../support/interception.ts';
import { testProxy } from '../support/proxy.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import { missing } from './clients.ts';
import t from 'tap';

t.setTimeout(400_000);

const run = promisify(execFile);
const NEEDS = missing(['chromium', '--version']) || missing(['sh', '-c', 'command -v certutil']);

/** The page as the browser has it after loading. */
async function page(home: string, port: number, url: string): Promise<string> {
  const args = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--dump-dom',
  ];
  const own = [
    `--user-data-dir=${join(home, 'profile')}`,
    `--proxy-server=http://127.0.0.1:${port}`,
    url,
  ];
  const env = { PATH: process.env['PATH'] ?? '', HOME: home };
  return (await run('chromium', [...args, ...own], { env, timeout: 120_000 })).stdout;
}

const PLAYWRIGHT = join(import.meta.dirname, 'nodes/browse.mjs');
const NEEDS_PLAYWRIGHT =
  NEEDS ||
  (existsSync(join(import.meta.dirname, 'nodes/node_modules/playwright-core'))
    ? false
    : 'playwright-core is not installed: make test-interop does it');

/** Status and text of a page as Playwright reports it, or why there is none. */
async function visit(home: string, port: number, url: string): Promise<unknown> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: home };
  const args = [PLAYWRIGHT, `http://127.0.0.1:${port}`, url];
  return JSON.parse((await run(process.execPath, args, { env, timeout: 120_000 })).stdout);
}

t.test(
  'Playwright reads a page of an intercepted host, and the words of a denial',
  { skip: NEEDS_PLAYWRIGHT },
  async (t) => {
    await using w = await testInterception(t);
    const home = shortFolder(t);
    writeNss(join(home, '.pki', 'nssdb'), w.interception.authority());
    t.match(await visit(home, w.proxy.port(), 'https://api.example.com/hello'), {
      status: 200,
      text: /"url":"\/hello"/,
    });
    t.match(await visit(home, w.proxy.port(), 'https://api.example.com/export/all'), {
      status: 403,
      text: /rule no-exports of destination \w+ denies/,
    });
    t.notMatch(
      w.upstream.connections.map(({ plain }) => plain.text).join('\n'),
      /GET \/export/,
      'not one byte of it',
    );
  },
);

t.test(
  'Chromium shows a page of an intercepted host, and the words of a denial',
  { skip: NEEDS },
  async (t) => {
    await using w = await testInterception(t);
    const home = shortFolder(t);
    writeNss(join(home, '.pki', 'nssdb'), w.interception.authority());
    t.match(await page(home, w.proxy.port(), 'https://api.example.com/hello'), /"url":"\/hello"/);
    t.match(
      await page(home, w.proxy.port(), 'https://api.example.com/export/all'),
      /rule no-exports of destination \w+ denies/,
    );
    t.notMatch(
      w.upstream.connections.map(({ plain }) => plain.text).join('\n'),
      /GET \/export/,
      'not one byte of it',
    );
  },
);

t.test(
  'Chromium without the CA gets nothing of an intercepted host',
  { skip: NEEDS },
  async (t) => {
    await using w = await testInterception(t);
    t.notMatch(
      await page(shortFolder(t), w.proxy.port(), 'https://api.example.com/hello'),
      /"url":"\/hello"/,
    );
    t.notMatch(w.upstream.connections.map(({ plain }) => plain.text).join('\n'), /\/hello/);
  },
);

t.test(
  'Chromium shows a page of a passthrough host, with its own TLS to the end',
  { skip: NEEDS },
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/web', { dns: ['web.example.com'] });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
    const at = { host: '127.0.0.1', port: upstream.port };
    const web = testDestination({
      name: 'web',
      hosts: ['web.example.com'],
      ports: [443],
      mode: 'passthrough',
      upstream: at,
    });
    await using proxy = await testProxy({ authority, identity: 'none', destinations: [web] });
    const home = shortFolder(t);
    writeNss(join(home, '.pki', 'nssdb'), new X509Certificate(authority.pem));
    t.match(await page(home, proxy.port(), 'https://web.example.com/through'), /"url":"\/through"/);
    t.match(proxy.audit.of('decided').at(-1), { effect: 'allow', destination: 'web' });
    if (NEEDS_PLAYWRIGHT !== false) return;
    t.match(await visit(home, proxy.port(), 'https://web.example.com/played'), {
      status: 200,
      text: /"url":"\/played"/,
    });
  },
);
