/**
 * `chaperone suggest`: the configuration with the least that would allow what an audit log says was
 * refused under `unlisted: report` or let through under `mode: report`. It prints documents that
 * load, to be reviewed, tested and compared (`paths --diff`); it changes nothing.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { suggestedText } from '../../lib/config/reference/suggested.ts';
import type { Observation } from '../../lib/policy/model/observation.ts';
import { suggest as suggestion } from '../../lib/policy/review/suggest.ts';
import { auditFiles } from '../audit-files.ts';
import type { Io } from '../io.ts';
import { counted } from '../table.ts';

export interface SuggestOptions {
  readonly config: readonly string[];
  /** Audit logs; the file sinks of the configuration when there are none. */
  readonly logs: readonly string[];
  readonly json?: boolean;
}

export async function suggest({ config, logs, json }: SuggestOptions, io: Io): Promise<void> {
  const loaded = await loadConfig(config, { generation: 1 });
  const files = logs.length > 0 ? logs : (await auditFiles(loaded, 'suggest LOG...')).flat();
  const seen: Observation[] = [];
  for (const file of files) for await (const one of observationsIn(file)) seen.push(one);
  const found = suggestion(seen, loaded.policy);
  const rules = [...found.rules.values()].reduce((sum, { length }) => sum + length, 0);
  if (json === true) {
    io.out(JSON.stringify({ ...found, rules: Object.fromEntries(found.rules) }));
  } else {
    const documents = loaded.sources.filter(
      (file) => /\.ya?ml$/.test(file) || config.includes(file),
    );
    const sources = await Promise.all(
      documents.map(async (file) => ({ file, text: await readFile(file, 'utf8') })),
    );
    io.out(suggestedText(sources, found).trimEnd());
  }
  io.err(
    `${counted(seen.length, 'record')} of what was refused or only let through: ` +
      `${counted(rules, 'rule')} and ` +
      `${counted(found.destinations.length, 'destination')} suggested, ` +
      `${found.left.length} left to you`,
  );
}

/** Codes of the records that say what a policy in the making lacks. */
const WANTED: ReadonlySet<unknown> = new Set(['reported', 'unlisted-reported']);

async function* observationsIn(file: string): AsyncGenerator<Observation> {
  try {
    for await (const line of createInterface({
      input: createReadStream(file),
      crlfDelay: Infinity,
    })) {
      const record = recordOf(line);
      if (record?.['kind'] === 'decided' && WANTED.has(record['code'])) yield observation(record);
    }
  } catch (failure) {
    const code =
      failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
    throw new Fault('config-unreadable', `${file} cannot be read (${code})`, {
      hint: 'look at the path and its permissions',
      cause: failure,
    });
  }
}

/** undefined for what is no record: a line that was cut off says nothing. */
function recordOf(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { ...value }
      : undefined;
  } catch {
    return undefined;
  }
}

function observation(record: Readonly<Record<string, unknown>>): Observation {
  const text = (key: string): string | undefined => {
    const value = record[key];
    return typeof value === 'string' ? value : undefined;
  };
  const { port } = record;
  return {
    destination: text('destination'),
    rule: text('rule'),
    entry: text('entry') ?? '',
    host: text('host') ?? '',
    port: typeof port === 'number' ? port : 0,
    method: text('method'),
    path: text('path'),
    mcpMethod: text('mcpMethod'),
    tool: text('tool'),
    prompt: text('prompt'),
    resource: text('resource'),
  };
}
