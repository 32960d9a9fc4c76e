/** What the tests with clients of other make share. */
import { execFileSync } from 'node:child_process';

export type Command = readonly [string, ...string[]];

export interface Client {
  readonly name: string;
  /** Whether it is on this machine: a command that must succeed. */
  readonly needs: Command;
  /**
   * Prints `<status> <body>` for a URL; `roots` is a PEM file to trust, for what no variable tells.
   */
  readonly command: (url: string, roots?: string) => Command;
}

/** Why a test is skipped; false when what it needs is here. */
export function missing([program, ...args]: Client['needs']): string | false {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return false;
  } catch {
    return `not on this machine: ${[program, ...args].join(' ')}`;
  }
}
