/**
 * What the sidecar needs of the machine: ports to listen on, a place for evidence, a folder that is
 * the operator's alone.
 */
import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import type { Config } from '../../lib/config/load/load.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import type { ListenAddress } from '../../lib/policy/model/destination.ts';
import { codeOf, fail, ok, warn, type Patient, type Verdict } from './finding.ts';

/** Each listener's port is free, or taken by a sidecar that runs already. */
export async function checkPorts({ config, patience }: Patient): Promise<readonly Verdict[]> {
  if (config === undefined) return [];
  const listeners = listenersOf(config);
  if (listeners.length === 0) return [ok('nothing is to be listened on')];
  let running: Promise<boolean> | undefined;
  const verdicts: Verdict[] = [];
  for (const [name, address] of listeners) {
    const where = `${name}: ${formatAuthority(address.host, address.port)}`;
    const code = await bind(address);
    if (code === undefined) verdicts.push(ok(`${where} is free`));
    else if (code === 'EADDRINUSE' && (await (running ??= isRunning(config, patience)))) {
      verdicts.push(ok(`${where} is taken, and this sidecar is running`));
    } else
      verdicts.push(
        fail(`${where} cannot be listened on`, code, FIXES[code] ?? 'use another address'),
      );
  }
  return verdicts;
}

const FIXES: Readonly<Record<string, string>> = Object.freeze({
  EADDRINUSE: 'another process has it (`ss -ltnp` says which): stop it, or use another port',
  EACCES: 'use a port above 1023, or give the process CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine does not have that address',
});

export function listenersOf({
  sidecar,
  policy,
}: Config): readonly (readonly [string, ListenAddress])[] {
  const own: readonly (readonly [string, ListenAddress | undefined])[] = [
    ['forward', sidecar.forward],
    ['health', sidecar.health],
    ...policy.destinations.map(({ name, listen }) => [name, listen] as const),
  ];
  return own.flatMap(([name, address]) =>
    address === undefined ? [] : [[name, address] as const],
  );
}

function bind({ host, port }: ListenAddress): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (failure) => resolve(codeOf(failure)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/**
 * A sidecar of this configuration runs when what answers at the admin socket or the health address
 * speaks as one.
 */
async function isRunning(
  { sidecar: { adminApi, health } }: Config,
  patience: number,
): Promise<boolean> {
  const status =
    adminApi === undefined
      ? ''
      : await page({ socketPath: adminApi.socket, path: '/status' }, patience);
  if (status.includes('"policyDigest"')) return true;
  if (health === undefined) return false;
  const { host, port } = health;
  return (await page({ host, port, path: '/metrics' }, patience)).includes('chaperone_ready');
}

type Where = { readonly path: string } & ({ readonly socketPath: string } | ListenAddress);

const MAX_PAGE = 1 << 20;

/** Text of a page, or '' when there is none. */
function page(where: Where, timeout: number): Promise<string> {
  return new Promise((resolve) => {
    const asked = request({ ...where, agent: false, timeout }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.length > MAX_PAGE) asked.destroy();
      });
      answer.on('close', () => resolve(text));
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(''));
    asked.end();
  });
}

/** Less room than this is a warning: when it is used up, requests are refused. */
const LITTLE_BYTES = 100 << 20;

export async function checkAudit({ config }: Patient): Promise<readonly Verdict[]> {
  if (config === undefined) return [];
  const { sinks, onFailure } = config.sidecar.audit;
  const verdicts = await Promise.all(
    sinks.map(async (sink) =>
      sink.kind === 'file' ? auditFile(sink.value) : ok('records go to standard output'),
    ),
  );
  if (onFailure === 'deny') return verdicts;
  const relaxed = warn(
    'what cannot be recorded is let through',
    'audit.onFailure is continue',
    'leave it out: deny is the default',
  );
  return [...verdicts, relaxed];
}

async function auditFile(file: string): Promise<Verdict> {
  const fix = 'make the folder, and let the user that runs the sidecar write there';
  const folder = dirname(file);
  const there = await stat(file).catch(() => undefined);
  if (there?.isDirectory() === true)
    return fail(`${file} is a folder`, 'records go to a file', 'name a file in it');
  try {
    await access(folder, constants.X_OK);
    await access(there === undefined ? folder : file, constants.W_OK);
  } catch (failure) {
    return fail(
      `evidence cannot be written to ${file}: requests would be refused`,
      codeOf(failure),
      fix,
    );
  }
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= LITTLE_BYTES) return ok(`${file} can be written`);
  const room = `${Math.floor((bavail * bsize) / (1 << 20))} MiB are left for ${file}`;
  return warn(
    room,
    'requests are refused when records cannot be written',
    'make room, or rotate the file',
  );
}

/** The folder's mode is the guard of the admin socket. */
export async function checkAdmin({ config }: Patient): Promise<readonly Verdict[]> {
  const socket = config?.sidecar.adminApi?.socket;
  if (socket === undefined) return [];
  const folder = dirname(socket);
  try {
    const { mode, uid } = await stat(folder);
    const bits = (mode & 0o777).toString(8).padStart(4, '0');
    if ((mode & 0o077) !== 0) {
      return [
        fail(
          `${folder} has mode ${bits}`,
          'others could enter and open the admin socket',
          `chmod 700 ${folder}`,
        ),
      ];
    }
    if (uid !== process.geteuid?.() && uid !== 0) {
      const fix = 'give the socket a folder of its own, of the user that runs the sidecar';
      return [
        fail(`${folder} belongs to user ${uid}`, 'that user could open the admin socket', fix),
      ];
    }
    return [ok(`${folder} has mode ${bits}`)];
  } catch (failure) {
    if (codeOf(failure) !== 'ENOENT')
      return [fail(`${folder} cannot be seen`, codeOf(failure), 'use a folder that can')];
    return [await canBeMade(folder)];
  }
}

async function canBeMade(folder: string): Promise<Verdict> {
  for (let parent = dirname(folder); ; parent = dirname(parent)) {
    try {
      await access(parent, constants.W_OK | constants.X_OK);
      return ok(`${folder} will be made, with mode 0700`);
    } catch (failure) {
      if (codeOf(failure) === 'ENOENT' && parent !== dirname(parent)) continue;
      return fail(
        `${folder} cannot be made`,
        `${parent}: ${codeOf(failure)}`,
        'make it, mode 0700, for the user that runs the sidecar',
      );
    }
  }
}
