/**
 * `chaperone paths`: every access path that the policy can ever permit, for review; `--diff OLD
 * NEW` what a change opens and closes. Opening a path is exit status 1, so that a pipeline asks a
 * person; closing one is no error.
 */
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import {
  diffPaths,
  type PathChange,
  type Side,
} from '../../lib/policy/review/access-paths-diff.ts';
import { pathsOf, purposeText, type AccessPath } from '../../lib/policy/review/access-paths.ts';
import { done, type Io, type Style } from '../io.ts';
import { table } from '../table.ts';

export interface PathsOptions {
  readonly config: readonly string[];
  readonly diff?: boolean;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  readonly json?: boolean;
}

export async function paths(options: PathsOptions, io: Io): Promise<void> {
  if (options.diff === true) return diff(options, io);
  if (options.before !== undefined)
    throw new Fault('usage', 'paths takes files with --diff alone', { hint: 'name them by -c' });
  const { policy, setting } = await sideOf(options.config);
  const all = pathsOf(policy, setting);
  if (options.json === true) {
    io.out(JSON.stringify({ identity: setting.identity, digest: policy.digest, paths: all }));
    return;
  }
  io.out(`${setting.identity} can ever take ${all.length} ${all.length === 1 ? 'path' : 'paths'}`);
  if (io.detail === 'verbose') for (const path of all) io.out(asText(path, io.style));
  else if (all.length > 0) {
    for (const line of table(HEAD, all.map(cells), io)) io.out(line);
    done(io, 'how each is protected, and what narrows it: chaperone paths --verbose');
  }
}

async function diff({ before, after, json }: PathsOptions, io: Io): Promise<void> {
  if (before === undefined || after === undefined)
    throw new Fault('usage', '--diff needs two policies', { hint: 'write --diff OLD NEW' });
  const { opened, closed } = diffPaths(await sideOf([before]), await sideOf([after]));
  if (json === true) io.out(JSON.stringify({ opened, closed }));
  else {
    for (const change of opened)
      io.out(`${io.style.bad('opens')} ${changeText(change)}: ${change.why}`);
    for (const change of closed) io.out(`${io.style.good('closes')} ${changeText(change)}`);
    io.out(`this change opens ${counted(opened)} and closes ${counted(closed)}`);
  }
  if (opened.length > 0) process.exitCode = OPENED;
}

/** Exit status of a change that opens a path. */
const OPENED = 1;

/** One policy to be compared. */
export async function sideOf(config: readonly string[]): Promise<Side> {
  const { policy, sidecar } = await loadConfig(config, { generation: 1 });
  const { spiffeId, hint } = sidecar.identity.select;
  const identity =
    spiffeId ?? (hint === undefined ? 'the first SVID' : `the SVID with the hint ${hint}`);
  return { policy, setting: { identity, forward: sidecar.forward !== undefined } };
}

function counted({ length }: readonly PathChange[]): string {
  return `${length === 0 ? 'no' : length} ${length === 1 ? 'path' : 'paths'}`;
}

function changeText({ destination, hosts, ports, what, action, dataClass }: PathChange): string {
  return (
    `${destination}: ${action}, ${what} at ${hosts.join(', ')} port ${ports.join(', ')} ` +
    `(${dataClass})`
  );
}

const HEAD = ['destination', 'action', 'what', 'at', 'data', 'tasks', 'rule', 'narrowed'] as const;

/** What narrows a path stands in the blocks of `--verbose`. */
function cells(path: AccessPath): readonly string[] {
  const { destination, action, what, hosts, ports, dataClass, purposes, rule, when, except } = path;
  const at = `${hosts.join(' ')}:${ports.join(',')}`;
  const tasks = purposes === undefined ? '-' : purposes.map(purposeText).join(', ');
  const narrowed = [
    ...(when === undefined ? [] : ['when']),
    ...(except.length > 0 ? ['deny rules'] : []),
  ].join(', ');
  return [destination, action, what.join('; '), at, dataClass, tasks, rule ?? '-', narrowed || '-'];
}

function asText(path: AccessPath, style: Style): string {
  const {
    destination,
    hosts,
    ports,
    entries,
    protection,
    peers,
    upstream,
    what,
    action,
    dataClass,
  } = path;
  const { credential, rule, when, except, purposes } = path;
  const lines = [
    `${style.bold(destination)}: ${action}, ${what.join('; ')}`,
    `  at ${hosts.join(', ')} port ${ports.join(', ')}, by ${entries.join(', ')}`,
    `  over ${protection}${upstream === undefined ? '' : ` to ${upstream}`}` +
      (peers.length === 0 ? '' : `, answered by ${peers.join(' or ')}`),
    `  data ${dataClass}, credential ${credential ?? 'none'}, ` +
      `${purposes === undefined ? 'no task needed' : `for tasks: ${purposes.map(purposeText).join(', ')}`}`,
  ];
  if (rule === undefined && when !== undefined)
    lines.push(`  when ${when.trim().replaceAll(/\s*\n\s*/g, ' ')}`);
  if (rule !== undefined)
    lines.push(
      `  by rule ${rule}${when === undefined ? '' : `, when ${when.trim().replaceAll(/\s*\n\s*/g, ' ')}`}`,
    );
  if (except.length > 0) lines.push(`  less what is denied by ${except.join(', ')}`);
  return lines.join('\n');
}
