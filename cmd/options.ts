/** Options that several commands have. */
import type { Command } from 'commander';

const FILES = 'configuration file or folder; may be repeated (default: chaperone.yaml)';
const DEFAULT_FILE = 'chaperone.yaml';

/** Which socket `--api` names. */
export const AGENT =
  'socket of the agent API, or its folder; default $CHAPERONE_AGENT_API, then that of the ' +
  'configuration';
export const ADMIN =
  'socket of the admin API; default $CHAPERONE_ADMIN_API, then that of the configuration';

/** An option that may be given more than once. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** A command below `parent` that takes `-c`. */
export function configured(parent: Command, name: string, about: string): Command {
  return parent
    .command(name)
    .description(about)
    .option('-c, --config <path>', FILES, collect)
    .hook('preAction', (_, command) => {
      if (command.opts()['config'] === undefined) command.setOptionValue('config', [DEFAULT_FILE]);
    });
}

/** A command that speaks to a socket, which `api` describes. */
export function speaking(parent: Command, name: string, about: string, api: string): Command {
  return configured(parent, name, about).option('--api <socket>', api);
}
