/**
 * What the program says about itself: examples, completion, version, and help that knows a slip.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Command } from 'commander';
import t from 'tap';
import { completion } from '../../cmd/commands/completion.ts';
import { EXAMPLES } from '../../cmd/help.ts';
import { processIo } from '../../cmd/io.ts';
import { program } from '../../cmd/program.ts';
import { VERSION } from '../../cmd/version.ts';
import { chaperone } from '../support/program.ts';

const root = program(processIo());

function all(
  command: Command,
  path: readonly string[] = [],
): readonly (readonly [readonly string[], Command])[] {
  return [[path, command], ...command.commands.flatMap((one) => all(one, [...path, one.name()]))];
}

t.test(
  'every command has examples in its help, and they are command lines that it takes',
  async (t) => {
    const commands = all(root).filter(([path]) => path.length < 2 || path.at(-1) !== 'help');
    t.same(Object.keys(EXAMPLES).toSorted(), commands.map(([path]) => path.join(' ')).toSorted());
    for (const [path, command] of commands) {
      const name = path.join(' ');
      for (const line of EXAMPLES[name] ?? []) {
        const [, words = ''] = /chaperone ?([^|<>)]*)/.exec(line) ?? [];
        const [own = ''] = words.split(' -- ');
        t.ok(name === '' || name === 'mcp' || own.startsWith(name), `${name}: ${line}`);
        const known = [command, ...command.commands].flatMap(({ options }) => options);
        for (const [flag] of own.matchAll(/(?<= )--?[a-z][a-z-]*/g))
          t.ok(
            known.some(({ short, long }) => flag === short || flag === long),
            `${line}: ${flag}`,
          );
      }
    }
    t.match(
      (await chaperone(['audit', '--help'])).out,
      /\nExamples:\n {2}chaperone audit --denied -n 20\n/,
    );
    t.match((await chaperone(['--help'])).out, /\nExamples:\n {2}chaperone init\n/);
  },
);

t.test('help of a command that is not there is an error with what was meant', async (t) => {
  t.match(await chaperone(['help', 'chek']), {
    status: 64,
    out: '',
    err: /unknown command 'chek'\n\(Did you mean check\?\)/,
  });
  t.match(await chaperone(['task', 'help', 'rnu']), { status: 64, err: /Did you mean run\?/ });
  t.match(await chaperone(['help', 'xyzzyxyzzy']), {
    status: 64,
    err: /known are run, init, check/,
  });
  t.match(await chaperone(['help', 'task', 'run']), {
    status: 0,
    out: /Usage: chaperone task run/,
  });
  t.match(await chaperone(['help']), { status: 0, out: /Usage: chaperone \[options\]/ });
});

t.test('bash completes commands, options and values from the tree that parses', async (t) => {
  const script = (await chaperone(['completion', 'bash'])).out;
  const complete = (...words: readonly string[]): readonly string[] => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const ask =
      `COMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _chaperone; printf '%s\\n' ` +
      `"\${COMPREPLY[@]}"`;
    const out = execFileSync('bash', ['-c', `${script}\n${ask}`], { encoding: 'utf8' });
    return out.split('\n').filter((word) => word !== '');
  };
  t.same(complete('chaperone', 'che'), ['check']);
  t.same(complete('chaperone', 'task', 'q'), ['questions']);
  t.same(complete('chaperone', 'task', 'run', '--int'), ['--intent']);
  t.same(complete('chaperone', 'check', '--format', ''), ['text', 'json', 'sarif']);
  t.same(complete('chaperone', 'check', '--strict', '--f'), ['--format']);
  t.same(complete('chaperone', 'completion', ''), ['bash', 'zsh', 'fish', '-h', '--help']);
  t.same(complete('chaperone', 'check', '-c', ''), [], 'files are left to the shell');
  t.same(complete('chaperone', 'task', 'run', '--', 'che'), [], 'and what stands behind --');
});

t.test(
  'the scripts for zsh and fish name every command and option, and are read by the shell',
  async (t) => {
    for (const shell of ['zsh', 'fish'] as const) {
      const script = completion(shell, root);
      for (const [path, { options, commands }] of all(root)) {
        t.ok(script.includes(['chaperone', ...path].join(' ')), path.join(' '));
        for (const one of commands) t.ok(script.includes(one.name()), one.name());
        for (const { long } of options.filter((one) => one.long !== undefined))
          t.ok(
            script.includes(shell === 'zsh' ? String(long) : `-l ${String(long).slice(2)}`),
            long ?? '',
          );
      }
      const checked = spawnSync(shell, ['-n'], { input: script, encoding: 'utf8' });
      if (checked.error === undefined) t.match(checked, { status: 0, stderr: '' }, shell);
    }
    t.match(await chaperone(['completion', 'tcsh']), {
      status: 64,
      err: /Allowed choices are bash, zsh, fish/,
    });
  },
);

t.test('version says which program, which commit and which Node', async (t) => {
  const { status, out } = await chaperone(['version', '--json']);
  t.equal(status, 0);
  t.match(JSON.parse(out), { version: VERSION, node: process.version, arch: process.arch });
  t.match(
    (await chaperone(['version'])).out,
    /^chaperone \S+\ncommit {4}\S+\nnode {6}v\d+\.\d+\.\d+ linux \w+\n$/,
  );
  const head = spawnSync('git', ['-C', join(import.meta.dirname, '../..'), 'rev-parse', 'HEAD'], {
    encoding: 'utf8',
  });
  if (head.status === 0)
    t.ok(JSON.parse(out).commit.startsWith(head.stdout.slice(0, 12)), 'of the repository');
});
