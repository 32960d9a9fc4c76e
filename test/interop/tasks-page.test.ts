/**
 * docs/tasks.md: its ten minutes, run as they are written, in a folder and on ports of this test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import t from 'tap';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import { missing } from './clients.ts';

t.setTimeout(300_000);

const ROOT = resolve(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/tasks.md'), 'utf8');
const SECTION = PAGE.slice(PAGE.indexOf('## Ten minutes'), PAGE.indexOf('## Plain HTTP'));
const PATIENCE = 30_000;

interface Said {
  readonly command: string;
  readonly output: string;
}

/** Commands and what the page says they print, in order. */
function commands(): readonly Said[] {
  const blocks = [...SECTION.matchAll(/```console\n([\s\S]*?)```/g)].map(([, block = '']) => block);
  return blocks
    .flatMap((block) => block.split(/^\$ /m).slice(1))
    .map((text) => {
      const [command = '', ...lines] = text
        .replaceAll(/ \\\n +/g, ' ')
        .trimEnd()
        .split('\n');
      return { command, output: lines.join('\n') };
    });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = Object(server.address());
  server.close();
  await once(server, 'close');
  return port;
}

interface Shell extends AsyncDisposable {
  /** What a command prints, both streams. */
  run(command: string): Promise<string>;
}

/** One shell for all commands, as a reader has it: what they export stays. */
function shell(folder: string): Shell {
  const child = spawn('bash', ['--norc'], {
    cwd: folder,
    env: environment(folder),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  let count = 0;
  return {
    async run(command) {
      const end = `end-of-${(count += 1)}`;
      text = '';
      child.stdin.write(`{ ${command}\n} 2>&1; printf '\\n${end}\\n'\n`);
      await until(`the end of ${command}`, () => text.includes(`\n${end}\n`), PATIENCE);
      return text.slice(0, text.indexOf(`\n${end}\n`)).trim();
    },
    [Symbol.asyncDispose]: () => stop(child),
  };
}

function environment(folder: string): NodeJS.ProcessEnv {
  return { PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`, HOME: folder };
}

/** `…` stands for anything. */
function pattern(output: string): RegExp {
  const parts = output
    .split('…')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('[^]*')}$`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'close');
}

t.test(
  'every command of the ten minutes prints what the page says',
  { skip: missing(['curl', '--version']) },
  async (t) => {
    const folder = shortFolder(t);
    const ports = new Map<string, number>();
    for (const port of ['15001', '15021', '8443']) ports.set(port, await freePort());
    const here = (text: string): string =>
      [...ports].reduce(
        (so, [port, free]) => so.replaceAll(port, String(free)),
        text.replaceAll('/tmp/chaperone', folder),
      );
    const [documents = '', intent = ''] = [...SECTION.matchAll(/```yaml\n([\s\S]*?)```/g)].map(
      ([, yaml = '']) => yaml,
    );
    writeFileSync(join(folder, 'chaperone.yaml'), here(documents));
    writeFileSync(join(folder, 'intent.yaml'), intent);
    await using sh = shell(folder);
    const program = `'${process.execPath}' '${join(ROOT, 'cmd/chaperone.ts')}'`;
    await sh.run(`chaperone() { ${program} "$@"; }`);
    let [stepUp, decision, ran] = ['s-…', '…', 0];
    for (const { command, output } of commands()) {
      const wanted = here(command)
        .replace('s-…', stepUp)
        .replace('"decision":"…"', `"decision":"${decision}"`);
      const [, server] = /^chaperone (dev|run)\b/.exec(command) ?? [];
      if (server !== undefined) {
        const args = [join(ROOT, 'cmd/chaperone.ts'), ...wanted.split(' ').slice(1)];
        if (server === 'dev') args.push('--socket', join(folder, 'workload.sock'));
        const child = spawn(process.execPath, args, { cwd: folder, env: environment(folder) });
        t.teardown(() => stop(child));
        let text = '';
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
        const ready = server === 'dev' ? /serving the demo's API/ : /listening: /;
        await until(`${server} is up: ${text}`, () => ready.test(text) || undefined, PATIENCE);
        if (server === 'run') {
          const health = `http://127.0.0.1:${ports.get('15021')}/readyz`;
          await until('ready', async () => (await fetch(health)).status === 200, PATIENCE);
        }
      } else {
        const printed = await sh.run(wanted);
        t.match(printed, pattern(output), command);
        decision = /decision ([0-9a-f-]{36})\]/.exec(printed)?.[1] ?? decision;
        stepUp = /s-[0-9a-f-]{36}/.exec(printed)?.[0] ?? stepUp;
      }
      ran += 1;
    }
    t.ok(ran > 12, 'the page is read');
  },
);
