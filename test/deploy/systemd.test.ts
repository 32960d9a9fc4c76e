/**
 * The units of deploy/systemd: systemd takes them, and they say what the program and the document
 * say.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../lib/config/load/load.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import { forwardSocket } from '../../lib/api/agent-folder.ts';
import { processIo } from '../../cmd/io.ts';
import { program } from '../../cmd/program.ts';
import { shortFolder } from '../support/folder.ts';

const UNITS = ['chaperone.socket', 'chaperone-agent.socket', 'chaperone@.service'];
const FOLDER = 'deploy/systemd';

/** Values by key, of all sections. */
function unit(name: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of readFileSync(join(FOLDER, name), 'utf8').split('\n')) {
    const [, key, value] = /^([A-Z]\w+)=(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

const config = loadConfig([join(FOLDER, 'sidecar.yaml')], { generation: 1 });
const service = unit('chaperone@.service');

const verify = spawnSync('systemd-analyze', ['--version']).status === 0;
t.test(
  'systemd finds nothing wrong with the units',
  { skip: verify ? false : 'systemd-analyze' },
  (t) => {
    const folder = shortFolder(t);
    for (const name of UNITS) {
      // The program need not be installed here.
      const text = readFileSync(join(FOLDER, name), 'utf8').replace(
        '/usr/bin/chaperone',
        process.execPath,
      );
      writeFileSync(join(folder, name), text);
    }
    const paths = UNITS.map((name) => join(folder, name.replace('@.', '@a.')));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...paths], {
      encoding: 'utf8',
    });
    t.equal(status, 0, stderr);
    t.notMatch(stderr, /chaperone.*(Unknown|Failed|invalid)/i);
    t.end();
  },
);

t.test('what systemd listens on is what the document names', async (t) => {
  const { sidecar } = await config;
  const { forward, health, adminApi, agents } = sidecar;
  const ports = [forward, health].map((at) => at && formatAuthority(at.host, at.port));
  const homes = agents.flatMap(({ home }) =>
    home === undefined ? [] : [home.socket, forwardSocket(home)],
  );
  const wanted = [...ports, adminApi?.socket, ...homes].map(String);
  const listened = UNITS.flatMap((name) => unit(name).get('ListenStream') ?? []);
  t.same(listened.toSorted(), wanted.toSorted());
  t.same(service.get('Sockets')?.[0]?.split(' '), ['chaperone.socket', 'chaperone-agent.socket']);
});

t.test(
  'the service runs a command that there is, waits for it, and leaves it the time it takes',
  async (t) => {
    const { sidecar } = await config;
    const [, name, option, folder] = service.get('ExecStart')?.[0]?.split(' ') ?? [];
    const command = program(processIo()).commands.find((one) => one.name() === name);
    t.equal(command?.name(), 'run');
    t.ok(
      command?.options.some(({ short }) => short === option),
      'its option is there',
    );
    t.equal(folder, '/etc/chaperone');
    t.same(
      ['Type', 'NotifyAccess'].map((key) => service.get(key)?.[0]),
      ['notify', 'all'],
    );
    const seconds = (key: string): number => Number(service.get(key)?.[0]);
    t.ok(seconds('TimeoutStopSec') * 1000 > sidecar.drain + 1000);
    t.ok(seconds('TimeoutStartSec') * 1000 > sidecar.identity.initialSync);
  },
);

t.test(
  'folders are there before their sockets, closed to others, and evidence is a file of each process',
  async (t) => {
    const { sidecar } = await config;
    const lines = readFileSync(join(FOLDER, 'tmpfiles.conf'), 'utf8').split('\n');
    const modes = new Map(
      lines.flatMap((line) => {
        const [kind, path, mode] = line.split(' ');
        return kind === 'd' && path !== undefined && mode !== undefined
          ? [[path, mode] as const]
          : [];
      }),
    );
    t.equal(modes.get(join(sidecar.adminApi?.socket ?? '', '..')), '0700');
    t.equal(modes.get(sidecar.agents[0]?.home?.folder ?? ''), '2750');
    t.match(JSON.stringify(sidecar.audit.sinks), /\{pid\}/);
  },
);
