/**
 * Users and groups of the pod, tried out: a folder as the kubelet makes an emptyDir with an
 * fsGroup, the sidecar and the agent as two users of that group, and a third who is not in it.
 * Needs root, to become them.
 */
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { parseAllDocuments, stringify } from 'yaml';
import { type ProgramEnd, eventually, startChaperone } from '../support/program.ts';
import { manifest, sidecarOf, workloads } from './manifests.ts';

t.setTimeout(600_000);

const INTENT = { purpose: 'research', owner: 'agent', targets: ['crm'], actions: ['read'] };
const AS_WELL = 20_002;
const [workload] = workloads();
if (workload === undefined) throw new Error('there is no workload');
const { pod } = workload;
const group = pod.securityContext.fsGroup ?? 0;

/** Runs a command as the user of a container. */
function as(user: number, groups: number): readonly [string, ...string[]] {
  return ['setpriv', `--reuid=${user}`, `--regid=${user}`, `--groups=${groups}`];
}

const program = resolve(import.meta.dirname, '../../cmd/chaperone.ts');
const sidecarUser = sidecarOf(pod).securityContext.runAsUser ?? 0;
const agentUser = pod.containers[0]?.securityContext.runAsUser ?? 0;

function impossible(): string | false {
  try {
    const [command, ...args] = [
      ...as(sidecarUser, group),
      process.execPath,
      program,
      '--version',
    ] as const;
    execFileSync(command, args, { stdio: 'ignore' });
    return false;
  } catch {
    return 'this user cannot become others, or others cannot read this folder';
  }
}

/** The documents of the ConfigMap, with the folders of the pod below one of ours. */
function documents(folder: string): string {
  const texts = Object.values(manifest('ConfigMap').data ?? {}).join('\n---\n');
  const values = parseAllDocuments(texts).map((one) => one.toJS() as Record<string, unknown>);
  return values
    .map((one) => stringify(one))
    .join('---\n')
    .replaceAll('/run/chaperone', folder)
    .replaceAll('/spiffe-workload-api', folder)
    .replace('127.0.0.1:15001', '127.0.0.1:0')
    .replace('hosts:', 'listen: 127.0.0.1:0\n  hosts:')
    .replace('0.0.0.0:15021', '127.0.0.1:0');
}

/** What becomes of a connection of that user. */
async function reached(user: number, groups: number, socket: string): Promise<string> {
  const script =
    `require('node:net').connect(process.argv[1]).on('connect', function () { ` +
    `console.log('connected'); this.destroy(); }).on('error', (e) => console.log(e.code))`;
  const [command, ...args] = [...as(user, groups), process.execPath, '-e', script, socket] as const;
  return (await promisify(execFile)(command, args)).stdout.trim();
}

t.test(
  'the agent reaches its door through the group they share; nobody else does, and it does not reach the other',
  {
    skip: impossible(),
  },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'pod-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    chmodSync(folder, 0o755);
    for (const name of ['agent', 'admin']) {
      mkdirSync(join(folder, name));
      chownSync(join(folder, name), 0, group);
      chmodSync(join(folder, name), 0o2777);
    }
    writeFileSync(join(folder, 'c.yaml'), documents(folder));
    writeFileSync(join(folder, 'intent.yaml'), stringify(INTENT));
    await using sidecar = startChaperone(
      ['run', '-c', join(folder, 'c.yaml')],
      {},
      as(sidecarUser, group),
    );
    await eventually(
      `it listens: ${sidecar.text()}`,
      () => /listening: /.test(sidecar.text()) || undefined,
    );
    const open = (user: number, groups: number): Promise<ProgramEnd> => {
      const socket = join(folder, 'agent', 'api.sock');
      const args = [
        'task',
        'open',
        '--api',
        socket,
        '--intent',
        join(folder, 'intent.yaml'),
        '--json',
      ];
      return startChaperone(args, {}, as(user, groups)).ended;
    };
    const opened = await open(agentUser, group);
    t.equal(opened.status, 0, opened.err);
    t.match(JSON.parse(opened.out), { state: 'open', grant: { destinations: ['crm'] } });
    t.match((await open(AS_WELL, AS_WELL)).err, /does not answer: .*EACCES/);
    const door = String(Object(JSON.parse(opened.out)).sockets.crm);
    t.match(door, folder, 'the destination has a socket of the task');
    t.equal(await reached(agentUser, group, door), 'connected', 'it is for the agent too');
    t.equal(await reached(AS_WELL, AS_WELL, door), 'EACCES');
    const admin = join(folder, 'admin', 'own', 'api.sock');
    const list = (user: number, groups: number): Promise<ProgramEnd> =>
      startChaperone(['task', 'list', '--api', admin], {}, as(user, groups)).ended;
    t.match(
      (await list(agentUser, group)).err,
      /does not answer: .*EACCES/,
      'even where its folder were mounted',
    );
    t.match((await list(sidecarUser, group)).out, /research +agent/);
  },
);
