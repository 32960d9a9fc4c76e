/** Commands about the program itself. */
import { Argument, type Command } from 'commander';
import type { Io } from './io.ts';

export function aboutCommands(chaperone: Command, io: Io): void {
  chaperone
    .command('version')
    .description('print the version, the commit it was built from and the Node it runs on')
    .option('--json', 'as JSON')
    .action(async (options) => (await import('./commands/version.ts')).version(options, io));
  chaperone
    .command('completion')
    .description('print what completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(['bash', 'zsh', 'fish']))
    .action(async (shell: 'bash' | 'zsh' | 'fish') =>
      io.out((await import('./commands/completion.ts')).completion(shell, chaperone)),
    );
}
