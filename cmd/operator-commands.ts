/** What an operator asks of a running sidecar and of the evidence it wrote. */
import type { Command } from 'commander';
import type { Io } from './io.ts';
import { ADMIN, collect, configured, speaking } from './options.ts';

/** The sidecar is not ready: the same question may be answered otherwise later (EX_TEMPFAIL). */
const NOT_READY = 75;

export function operatorCommands(chaperone: Command, io: Io): void {
  speaking(
    chaperone,
    'status',
    'say how a running sidecar stands; exits 75 while it is not ready',
    ADMIN,
  )
    .option('--json', 'as JSON')
    .action(async (options) => {
      if (!(await (await import('./commands/status.ts')).status(options, io)))
        process.exitCode = NOT_READY;
    });
  mcpCommands(chaperone, io);
  configured(chaperone, 'audit', 'read the evidence: one readable line a record, oldest first')
    .option(
      '--file <path>',
      'instead of the file that the configuration names; may be repeated',
      collect,
    )
    .option(
      '-f, --follow',
      'go on with what is written from now on, until SIGINT; files may be rotated',
    )
    .option('-n, --lines <number>', 'only the last so many of those that match')
    .option('--destination <name>', 'of this destination alone')
    .option('--task <id>', 'of this task alone')
    .option('--agent <name>', 'of this agent alone')
    .option('--denied', 'only what was refused')
    .option('--json', 'the records as they are, one a line')
    .action(async (options) => (await import('./commands/audit.ts')).audit(options, io));
}

function mcpCommands(chaperone: Command, io: Io): void {
  const mcp = chaperone
    .command('mcp')
    .description('the definitions of tools that MCP servers gave');
  speaking(
    mcp,
    'pins',
    'list the tools with the definition that is pinned and the one that was seen last',
    ADMIN,
  )
    .option('--destination <name>', 'of this destination alone')
    .option('--changed', 'only those that are no longer what was pinned')
    .option('--json', 'as JSON')
    .action(async (options) => (await import('./commands/mcp.ts')).mcpPins(options, io));
  speaking(
    mcp,
    'approve',
    'pin the definition of a tool that was seen last, once you have looked at it',
    ADMIN,
  )
    .argument('<destination>', 'its name')
    .argument('<tool>', 'its name')
    .argument(
      '<digest>',
      'the digest that `mcp pins --json` shows as current; the beginning will do where it is one',
    )
    .action(async (destination: string, tool: string, digest: string, options) =>
      (await import('./commands/mcp.ts')).mcpApprove({ ...options, destination, tool, digest }, io),
    );
}
