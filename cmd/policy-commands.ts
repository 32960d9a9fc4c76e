/**
 * The commands that read policy and decide nothing for an agent: to write it, to test it, to review
 * it.
 */
import { type Command, Option } from 'commander';
import type { Io } from './io.ts';
import { collect, configured as below } from './options.ts';

export function policyCommands(chaperone: Command, io: Io): void {
  const configured = (name: string, about: string): Command => below(chaperone, name, about);
  configured('check', 'validate configuration, and warn of what is likely a mistake; dials nothing')
    .option('--strict', 'a warning is a problem: exit 78')
    .addOption(
      new Option('--format <format>', 'text; json, one document; sarif, as code scanning reads it')
        .choices(['text', 'json', 'sarif'])
        .default('text'),
    )
    .option('--json', 'the same as --format json')
    .action(async ({ json, ...options }) => {
      const format = json === true ? 'json' : options.format;
      process.exitCode = await (
        await import('./commands/check.ts')
      ).check({ ...options, format }, io);
    });
  explainCommand(configured, io);
  configured('test', 'hold the policy against the cases beside it; exits 1 when one fails')
    .argument(
      '[files...]',
      'files of PolicyTest documents; default: the *.test.yaml beside the configuration',
    )
    .option('--coverage <percent>', 'how many of the rules must decide a case')
    .option('--junit <file>', 'write a report in the format of JUnit')
    .option('--json', 'results as JSON')
    .action(async (files: readonly string[], options) =>
      (await import('./commands/test.ts')).test({ ...options, files }, io),
    );
  configured(
    'paths',
    'list every access path that the policy can ever permit, or what a change of policy opens',
  )
    .argument('[old]', 'with --diff: file or folder of the policy before')
    .argument('[new]', 'with --diff: file or folder of the policy after')
    .option('--diff', 'compare two policies; exits 1 when the second opens a path')
    .option('--json', 'as JSON')
    .action(async (before: string | undefined, after: string | undefined, options) =>
      (await import('./commands/paths.ts')).paths({ ...options, before, after }, io),
    );
  configured('suggest', 'print the configuration with what an audit log says it lacks, for review')
    .argument('[logs...]', 'audit logs; default: those that the configuration writes')
    .option('--json', 'what is suggested, as JSON')
    .action(async (logs: readonly string[], options) =>
      (await import('./commands/suggest.ts')).suggest({ ...options, logs }, io),
    );
}

type Configured = (name: string, about: string) => Command;

function explainCommand(configured: Configured, io: Io): void {
  configured('explain', 'say which rule decides one request, and why')
    .argument('<method>', 'GET, POST … or CONNECT')
    .argument(
      '<target>',
      'http://host/path, https://host/path through a tunnel, or host:port for CONNECT',
    )
    .option('--listener <destination>', 'as asked on the local listener of that destination')
    .option('-H, --header <field>', 'a header field, "name: value"; may be repeated', collect)
    .option('--tool <name>', 'POST: the tool of an MCP server that is called')
    .option('--args <json>', 'its arguments, a JSON object')
    .option('--message <json>', 'POST: the whole message, {"method": ..., "params": ...}')
    .option('--identity <spiffe-id>', 'our own SPIFFE ID; none otherwise')
    .option(
      '--task <purpose>',
      'as done for a task of this purpose that was granted all it can be; none otherwise',
    )
    .option('--time <time>', 'when it is asked, 2026-01-31T12:00:00Z; now otherwise')
    .option('--json', 'the decision as JSON')
    .action(async (method: string, target: string, options) =>
      (await import('./commands/explain.ts')).explain({ method, target, ...options }, io),
    );
}
