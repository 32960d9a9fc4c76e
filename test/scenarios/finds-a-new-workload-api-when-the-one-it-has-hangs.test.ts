import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startChaperone, eventually } from '../support/program.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import { follow } from '../identity/fixture.ts';

t.setTimeout(240_000);

t.test(
  'a Workload API that hangs is given up for the one that listens on its path, before the SVID expires',
  async (t) => {
    const folder = shortFolder(t);
    const socket = join(folder, 'identity', 'w.sock');
    const serve = ['dev', '--socket', socket, '--trust-domain', 'example.org', '--ttl', '40s'];
    await using first = startChaperone(serve);
    await eventually('it serves', () => first.text().includes('unix://'));
    const source = follow(t, `unix://${socket}`);
    const { svid } = await source.ready();
    first.child.kill('SIGSTOP');
    rmSync(socket);
    await using second = startChaperone(serve);
    await eventually('the other serves', () => second.text().includes('unix://'));
    await until('its SVID is in use', () => source.current().svid.serial !== svid.serial, 60_000);
    t.ok(Date.now() < svid.notAfter, 'at no time without one');
    t.ok(
      source.notes.some(
        ({ level, text }) => level === 'warn' && /renewal of .* is overdue/.test(text),
      ),
    );
    t.ok(source.history.every(({ kind }) => kind === 'current'));
  },
);
