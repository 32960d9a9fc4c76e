/**
 * The tree of commands and their options. Help, completion and parsing are made of it alone: no
 * command's code is loaded.
 */
import { Command, CommanderError, Option } from 'commander';
import { helpful } from './help.ts';
import type { Io } from './io.ts';
import { operatorCommands } from './operator-commands.ts';
import { collect, configured as below } from './options.ts';
import { policyCommands } from './policy-commands.ts';
import { aboutCommands } from './about-commands.ts';
import { taskCommands } from './task-commands.ts';
import { VERSION } from './version.ts';

/** A check of `doctor` failed. */
const UNHEALTHY = 1;

/** The likeliest argument too many is the configuration. */
function withConfigHint(text: string): string {
  const [, file] = /^error: too many arguments for .+: (?:.+, )?(\S+\.ya?ml)\.$/m.exec(text) ?? [];
  return file === undefined ? text : `${text}(a configuration is named with -c: -c ${file})\n`;
}

export function program(io: Io): Command {
  const chaperone = new Command('chaperone')
    .description('SPIFFE workload-identity agent and mTLS sidecar proxy for AI agents')
    .version(VERSION)
    .addOption(new Option('-v', 'the same as --version'))
    .on('option:v', () => {
      io.out(VERSION);
      throw new CommanderError(0, 'commander.version', VERSION);
    })
    .addOption(new Option('--quiet', 'say nothing of what went well').conflicts('verbose'))
    .option('--verbose', 'say more: what held, what narrows, the causes of what went wrong')
    .hook('preAction', () => {
      const { quiet, verbose } = chaperone.opts();
      io.detail = quiet === true ? 'quiet' : verbose === true ? 'verbose' : 'usual';
    })
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(withConfigHint(text)) })
    .showHelpAfterError('(add --help for the commands and options)')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: true });
  const configured = (name: string, about: string): Command => below(chaperone, name, about);
  configured('run', 'run the sidecar until SIGTERM; SIGHUP loads the configuration again').action(
    async (options) => (await import('./commands/run.ts')).run(options.config, io),
  );
  chaperone
    .command('init')
    .description('write a commented starter configuration that passes check')
    .argument('[file]', 'where to; refuses to overwrite', 'chaperone.yaml')
    .action(async (file: string) => (await import('./commands/init.ts')).init(file, io));
  policyCommands(chaperone, io);
  chaperone
    .command('schema')
    .description('print the JSON Schema of the documents, for editors')
    .action(async () => (await import('./commands/schema.ts')).schema(io));
  configured(
    'doctor',
    'say what is wrong with this set-up, why, and what to do about it; exits 1 when a check fails',
  )
    .option('--workload-api <address>', 'instead of the one of the configuration')
    .option(
      '--egress <address>',
      'host:port or destination that must not be reachable directly; may be repeated',
      collect,
    )
    .option('--only <check>', 'this check alone; may be repeated', collect)
    .option('--timeout <duration>', 'how long to wait for an answer', '5s')
    .option('--json', 'one JSON document')
    .action(async (options) => {
      if (!(await (await import('./commands/doctor.ts')).doctor(options, io)))
        process.exitCode = UNHEALTHY;
    });
  agentCommands(configured, io);
  taskCommands(chaperone, io);
  operatorCommands(chaperone, io);
  svidCommands(chaperone, io);
  laptopCommands(chaperone, io);
  aboutCommands(chaperone, io);
  helpful(chaperone);
  return chaperone;
}

/** What an agent's environment is made of. */
function agentCommands(configured: (name: string, about: string) => Command, io: Io): void {
  configured('env', 'print the variables that send an agent through the sidecar')
    .option('--json', 'as JSON')
    .option('--agent <name>', 'the agent that it is for, where the configuration has several')
    .action(async (options) => (await import('./commands/env.ts')).env(options, io));
  configured(
    'trust',
    'write what programs need to trust the interception CA, and print the variables that name it',
  )
    .option(
      '--dir <folder>',
      'write ca.pem, bundle.pem and truststore.p12 there; default: intercept.trust.folder, ' +
        'which the sidecar writes',
    )
    .option(
      '--nss <folder>',
      'add the CA to this NSS database too, for browsers: $HOME/.pki/nssdb (needs certutil)',
    )
    .option('--mount <folder>', 'where the program sees that folder, as in another container')
    .option(
      '--ca <file>',
      'the CA certificate; default: ask the running sidecar on spec.health.address',
    )
    .option('--format <format>', 'shell, dotenv or json', 'shell')
    .action(async (options) => (await import('./commands/trust.ts')).trust(options, io));
}

function svidCommands(chaperone: Command, io: Io): void {
  const svid = chaperone
    .command('svid')
    .description('look at the identity that the Workload API gives');
  for (const [name, about] of [
    ['show', 'fetch once and print'],
    ['watch', 'print each update until SIGINT'],
  ] as const) {
    svid
      .command(name)
      .description(about)
      .option(
        '--workload-api <address>',
        'unix:///path or tcp://ip:port; default $SPIFFE_ENDPOINT_SOCKET',
      )
      .option('--timeout <duration>', 'how long to wait for the first SVID', '30s')
      .option('--json', 'one JSON object a line')
      .action(async (options) => (await import('./commands/svid.ts')).svid(name, options, io));
  }
  svid
    .command('write')
    .description(
      'keep a folder of PEM files in step with the identity, for programs that read files',
    )
    .argument('[args...]', 'after --: arguments of --on-update-command')
    .requiredOption('--dir <folder>', 'gets svid.pem, key.pem (0600) and bundle.<trust domain>.pem')
    .option(
      '--workload-api <address>',
      'unix:///path or tcp://ip:port; default $SPIFFE_ENDPOINT_SOCKET',
    )
    .option('--timeout <duration>', 'how long to wait for the first SVID', '30s')
    .option('--spiffe-id <id>', 'the SVID to write; default the first')
    .option('--hint <hint>', 'the SVID to write, by its hint')
    .option('--once', 'write once and end, as an init container does')
    .option('--keep', 'keep the files when the SVID is withdrawn or expires')
    .option('--on-update-command <program>', 'run after each update, without a shell')
    .option('--on-update-timeout <duration>', 'kill the program when it takes longer', '60s')
    .option('--on-update-signal <name>', 'sent after each update to the process of --pid-file')
    .option('--pid-file <file>', 'read anew for each signal')
    .action(async (args: readonly string[], options) =>
      (await import('./commands/svid-write.ts')).svidWrite({ ...options, args }, io),
    );
}

/** What stands in for SPIRE and for the upstreams of others. */
function laptopCommands(chaperone: Command, io: Io): void {
  chaperone
    .command('dev')
    .description('serve an embedded Workload API for a laptop; it attests nobody')
    .option('--socket <path>', 'Unix socket to serve on', '/tmp/chaperone/workload.sock')
    .option('--trust-domain <name>', 'trust domain', 'dev.local')
    .option(
      '--id <path>',
      'SPIFFE ID path to issue; may be repeated, the first is the default identity ' +
        '(default: /agent)',
      collect,
    )
    .option('--ttl <duration>', 'lifetime of an SVID; rotated at half of it', '5m')
    .option(
      '--serve <path=port>',
      "serve the demo's API over mTLS on 127.0.0.1 as this SPIFFE ID, such as /crm=8443; " +
        'may be repeated',
      collect,
    )
    .action(async (options) => (await import('./commands/dev.ts')).dev(options, io));
  chaperone
    .command('demo')
    .description('tell the whole story with embedded parts; exits 0 only if every claim held')
    .option('--keep', 'leave everything running until SIGINT')
    .option('--break <what>', 'prove that the demo can fail: allow-all or no-rotation')
    .action(async (options) => (await import('./commands/demo.ts')).demo(options, io));
}
