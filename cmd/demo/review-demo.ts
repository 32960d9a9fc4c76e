/**
 * The part of the demo's story in which policy is made from evidence: what was refused becomes a
 * suggestion, and a review sees what it would open.
 */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { diffPaths } from '../../lib/policy/review/access-paths-diff.ts';
import { sideOf } from '../commands/paths.ts';
import { suggest } from '../commands/suggest.ts';
import { style, type Io } from '../io.ts';
import type { Stage } from './setup.ts';
import { expect, type Step } from './check.ts';

/** Asked for by the story before. */
const HOST = 'exfiltrate.example';

export const REVIEWED: readonly Step[] = [
  {
    title: 'From the log a policy is suggested, and its review names the path that it would open',
    check: suggested,
  },
];

async function suggested({ configFile, auditFile }: Stage): Promise<string> {
  const printed: string[] = [];
  const io: Io = {
    out: (line) => void printed.push(line),
    err: () => {},
    env: {},
    style: style(false),
    detail: 'usual',
  };
  await suggest({ config: [configFile], logs: [auditFile] }, io);
  const file = join(dirname(configFile), 'suggested.yaml');
  await writeFile(file, printed.join('\n'));
  const { opened, closed } = diffPaths(await sideOf([configFile]), await sideOf([file]));
  const hosts = opened.flatMap((change) => change.hosts);
  expect(
    hosts.join() === HOST && closed.length === 0,
    `the suggestion opens ${hosts.join()} and closes ${closed.length}`,
  );
  const [left] = printed
    .join('\n')
    .split('\n')
    .filter((line) => line.startsWith('# Not suggested: '));
  expect(
    left?.includes('169.254.169.254') === true,
    `it says nothing of the metadata service: ${left}`,
  );
  return (
    `the suggested policy loads; against the one in force it opens ${opened.length} path, to ` +
    `${HOST}: that is for a person to refuse`
  );
}
