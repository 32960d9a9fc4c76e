/** Where a command reads and prints, handed in so that nothing below cmd/ does either. */
export interface Io {
  /** One line to standard output. */
  readonly out: (line: string) => void;
  /** One line to standard error. */
  readonly err: (line: string) => void;
  readonly env: NodeJS.ProcessEnv;
  /** Emphasis and colour, or the text itself where colour is not wanted (https://no-color.org). */
  readonly style: Style;
  /** How much is said besides what was asked for; the options of the command line set it. */
  detail: Detail;
}

/** `quiet`: nothing of what went well. `verbose`: more, and the causes of what went wrong. */
type Detail = 'quiet' | 'usual' | 'verbose';

/** Says that something was done, unless nobody wants to know. */
export function done(io: Io, line: string): void {
  if (io.detail !== 'quiet') io.out(line);
}

export interface Style {
  bold(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  dim(text: string): string;
}

const plain = (text: string): string => text;
const ansi =
  (on: number, off: number) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`;

export function style(colour: boolean): Style {
  if (!colour) return { bold: plain, good: plain, bad: plain, dim: plain };
  return { bold: ansi(1, 22), good: ansi(32, 39), bad: ansi(31, 39), dim: ansi(2, 22) };
}

/** As a shell has it of a program that wrote to nobody: 128 and SIGPIPE. */
const NO_READER = 141;

export function processIo(): Io {
  const noColour = (process.env['NO_COLOR'] ?? '') !== '';
  let guarded = false;
  return {
    out(line) {
      // Whoever reads may have had enough, as `head` has.
      if (!guarded) process.stdout.once('error', () => process.exit(NO_READER));
      guarded = true;
      process.stdout.write(`${line}\n`);
    },
    err: (line) => void process.stderr.write(`${line}\n`),
    env: process.env,
    style: style(process.stdout.isTTY && !noColour),
    detail: 'usual',
  };
}
