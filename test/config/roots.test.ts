import { X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import t from 'tap';
import { loadConfig } from '../../lib/config/load/load.ts';
import { destination, folder, problemsIn, SIDECAR } from './documents.ts';

const [one = '', two = ''] = rootCertificates;
const WEB = (roots: string): string => destination(`  tls: { mode: web, roots: [${roots}] }`);

t.test('roots are read beside their document, one text for each certificate', async (t) => {
  const path = folder(t);
  mkdirSync(join(path, 'pki'));
  writeFileSync(join(path, 'pki', 'both.pem'), `# ours\n${one}\n${two}\n`);
  writeFileSync(join(path, 'c.yaml'), `${SIDECAR}---\n${WEB('pki/both.pem')}`);
  const { policy, sources } = await loadConfig([path], { generation: 1 });
  const { roots = [] } = policy.byName.get('crm')?.tls ?? {};
  t.same(
    roots.map((pem) => new X509Certificate(pem).fingerprint256),
    [one, two].map((pem) => new X509Certificate(pem).fingerprint256),
  );
  t.ok(Object.isFrozen(roots));
  t.same(sources, [join(path, 'c.yaml'), join(path, 'pki', 'both.pem')]);
  writeFileSync(join(path, 'pki', 'both.pem'), one);
  t.not(
    (await loadConfig([path], { generation: 2 })).policy.digest,
    policy.digest,
    'other roots, other digest',
  );
});

t.test(
  'roots that are not there, or not certificates of authorities, are problems of the document',
  async (t) => {
    const path = folder(t);
    writeFileSync(join(path, 'empty.pem'), 'nothing\n');
    writeFileSync(
      join(path, 'key.pem'),
      `${one}\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`,
    );
    writeFileSync(
      join(path, 'broken.pem'),
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    );
    writeFileSync(
      join(path, 'c.yaml'),
      `${SIDECAR}---\n${WEB('nope.pem, empty.pem, key.pem, broken.pem')}`,
    );
    const problems = await problemsIn(path, [join(path, 'c.yaml')]);
    t.match(problems, [
      /^c\.yaml:13:29 spec\.tls\.roots\[0\]: nope\.pem cannot be read \(ENOENT\)/,
      /roots\[1\]: empty\.pem holds no PEM certificate/,
      /roots\[2\]: key\.pem holds a PRIVATE KEY; roots are certificates alone/,
      /roots\[3\]: broken\.pem holds a block that is no certificate/,
    ]);
    t.notMatch(problems.join(), /AAAA/, 'no content of the files is shown');
  },
);
