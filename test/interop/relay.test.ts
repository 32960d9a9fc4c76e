/**
 * Programs that send no credentials to a proxy, in a task: Java by its properties alone, and
 * Debian's Chromium.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { clientFixture, WEB_HOST } from '../clients/fixture.ts';
import { chaperone } from '../support/program.ts';
import { shortFolder } from '../support/folder.ts';
import { missing } from './clients.ts';

t.setTimeout(400_000);

const INTENT =
  '{"purpose":"answer-ticket","owner":"a","targets":["crm","web"],"actions":["read"],"lifetime":"10m"}';

type Tap = Parameters<typeof shortFolder>[0];

/** What a script of a shell prints inside a task. */
async function inTask(t: Tap, folder: string, script: string): Promise<string> {
  const home = shortFolder(t);
  const intent = join(home, 'intent.json');
  writeFileSync(intent, INTENT);
  const config = ['-c', join(folder, 'c.yaml'), '--intent', intent];
  const done = await chaperone(['task', 'run', ...config, '--', 'sh', '-c', script], {
    HOME: home,
  });
  return `${done.out}${done.err}`;
}

t.test(
  'Java HttpClient without an Authenticator',
  { skip: missing(['java', '--version']) },
  async (t) => {
    await using p = await clientFixture();
    const ask = (url: string): string =>
      `java ${join(import.meta.dirname, 'Fetch.java')} ${url}; echo`;
    const urls = [
      'http://crm.internal/v1/customers',
      'http://crm.internal/v1/export/x',
      `https://${WEB_HOST}/v1/models`,
    ];
    const said = await inTask(t, p.folder, urls.map(ask).join('\n'));
    t.match(
      said,
      /200 .*Ada Engines[^]*403 rule no-exports of destination crm denies[^]*200 .*"path":"\/v1\/models"/,
    );
    t.same(
      p.upstream.requests().map(({ target }) => target),
      ['/v1/customers'],
    );
  },
);

const CHROMIUM = missing(['chromium', '--version']) || missing(['sh', '-c', 'command -v certutil']);

t.test('Chromium with the relay as its proxy', { skip: CHROMIUM }, async (t) => {
  await using p = await clientFixture();
  const flags = '--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom';
  const page = (url: string): string =>
    `chromium ${flags} --proxy-server="$CHAPERONE_RELAY" ${url}`;
  const trust =
    `bin/chaperone trust -c ${p.folder}/c.yaml --ca ${p.folder}/trust/ca.pem --nss ` +
    '"$HOME/.pki/nssdb"';
  const urls = [
    'http://crm.internal/v1/customers',
    'http://crm.internal/v1/export/x',
    `https://${WEB_HOST}/v1/models`,
  ];
  const said = await inTask(t, p.folder, [`${trust} >/dev/null`, ...urls.map(page)].join('\n'));
  t.match(
    said,
    /Ada Engines[^]*rule no-exports of destination crm denies[^]*"path":"\/v1\/models"/,
  );
  t.match(p.audit(), /"effect":"deny"[^\n]*"rule":"no-exports"/);
});
