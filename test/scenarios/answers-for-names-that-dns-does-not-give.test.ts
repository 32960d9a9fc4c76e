import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/program.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { type Answer, dnsServer } from '../support/dns.ts';
import { shortFolder } from '../support/folder.ts';
import { type SidecarProcess, testSidecarProcess, noProc } from '../support/sidecar-process.ts';
import { crm } from '../support/sidecar.ts';
import t from 'tap';

/** Of the machine's loopback, and nobody's resolver. */
const SERVER = '127.0.0.77';

const ANSWERS: Readonly<Record<string, Answer>> = {
  'gone.dns.test.': 'NXDOMAIN',
  'broken.dns.test.': 'SERVFAIL',
  'silent.dns.test.': 'silence',
  'metadata.dns.test.': ['169.254.169.254'],
  'mixed.dns.test.': ['192.0.2.1', '93.184.216.34', '127.0.0.1'],
  'rebound.dns.test.': ['127.0.0.1'],
  'none.dns.test.': [],
};

const DESTINATION = `---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: named }
spec:
  hosts: ['*.dns.test']
  ports: [80]
  tls: { mode: mtls, peers: ['spiffe://example.org/crm'] }
  dataClass: internal
  timeouts: { connect: 2s }
  limits: { concurrent: 1000 }
  rules: [{ name: read, effect: allow, action: read, http: { methods: [GET], paths: [/**] } }]
`;

const noNamespace =
  noProc ||
  (spawnSync('unshare', ['-m', 'true']).status !== 0 &&
    'needs unshare with the right to make mount namespaces');

/** Port 53 is for the privileged. */
async function noPort(): Promise<string | false> {
  try {
    await (await dnsServer(SERVER, () => 'silence'))[Symbol.asyncDispose]();
    return false;
  } catch {
    return `nobody may listen on ${SERVER}:53 here`;
  }
}

/** A process that has a resolv.conf of its own. */
function under(t: Parameters<typeof shortFolder>[0]): readonly string[] {
  const file = join(shortFolder(t), 'resolv.conf');
  writeFileSync(file, `nameserver ${SERVER}\noptions timeout:1 attempts:1\nsearch example.org\n`);
  const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  return ['unshare', '-m', 'sh', '-c', script, file];
}

async function get(s: SidecarProcess, name: string): Promise<string> {
  const line = await s.open();
  line.write(`GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
  return line.ended();
}

t.test(
  'a name that DNS does not give is 502, silence ends in time, addresses not to be dialled are 403 (S2-S7)',
  { skip: noNamespace || (await noPort()) },
  async (t) => {
    await using dns = await dnsServer(SERVER, (name) =>
      name.startsWith('hang-') ? 'silence' : (ANSWERS[name] ?? 'NXDOMAIN'),
    );
    await using s = await testSidecarProcess({
      under: under(t),
      destinations: (api) => crm(api) + DESTINATION,
    });
    for (const [name, status, code] of [
      ['gone.dns.test', 502, 'upstream-unresolved'],
      ['broken.dns.test', 502, 'upstream-unresolved'],
      ['none.dns.test', 502, 'upstream-unresolved'],
      ['metadata.dns.test', 403, 'address-refused'],
      ['mixed.dns.test', 403, 'address-refused'],
      ['rebound.dns.test', 403, 'address-refused'],
    ] as const) {
      const answer = await get(s, name);
      t.equal(statusOf(answer), status, answer);
      t.match(refusal(answer), {
        code,
        message: new RegExp(`${name.replaceAll('.', '\\.')}.*; .`),
      });
    }
    const silent = Array.from({ length: 12 }, () => get(s, 'silent.dns.test'));
    t.equal(
      await s.get('/v1/customers'),
      200,
      'others are served while lookups hang: evidence is written beside them',
    );
    for (const answer of await Promise.all(silent)) t.match(statusOf(answer), /^50[24]$/, answer);
    const asked = dns.asked.filter((name) => name === 'silent.dns.test.').length;
    t.ok(asked > 0 && asked < 12, `${asked} questions: at one time a name is asked for once`);
    let slow = 20;
    const slower = Array.from({ length: slow }, (_, i) =>
      get(s, `hang-first-${i}.dns.test`).finally(() => (slow -= 1)),
    );
    t.equal(statusOf(await get(s, 'rebound.dns.test')), 403);
    t.equal(slow, 20, 'a name that is there is found while twenty others are waited for');
    await Promise.all(slower);
    const hanging = Array.from({ length: 100 }, (_, i) => get(s, `hang-${i}.dns.test`));
    const codes = (await Promise.all(hanging)).map((answer) => refusal(answer).code);
    t.ok(
      codes.filter((code) => code === 'too-many').length >= 36,
      'names that hang are no queue without end (R3)',
    );
    t.ok(
      dns.asked.includes('gone.dns.test.') &&
        dns.asked.every((name) => !name.endsWith('.example.org.')),
      'no search list',
    );
    t.equal(s.api.connections(), 1, 'nothing else was dialled');
    const last = get(s, 'hang-last.dns.test');
    await eventually('it is asked for', () => dns.asked.includes('hang-last.dns.test.'));
    s.sidecar.child.kill('SIGTERM');
    t.equal((await s.sidecar.ended).status, 0, 'and the process ends, whatever is not answered');
    await last;
  },
);
