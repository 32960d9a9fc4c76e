/** Examples under every --help, and `help` that knows a slip from a command. */
import type { Command } from 'commander';
import { nearest } from '../lib/base/nearest.ts';

/** By the words after `chaperone`, '' for itself. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  '': ['chaperone init', 'chaperone check', 'chaperone run', 'chaperone help task run'],
  run: ['chaperone run', 'chaperone run -c /etc/chaperone'],
  init: ['chaperone init', 'chaperone init policy/chaperone.yaml'],
  check: [
    'chaperone check -c policy',
    'chaperone check --strict',
    'chaperone check --format sarif > chaperone.sarif',
  ],
  explain: [
    'chaperone explain GET http://crm.internal/v1/customers/1001',
    'chaperone explain POST http://tickets.internal/mcp --tool refund --args ' +
      `'{"id":"T-1","amount":40}'`,
    'chaperone explain CONNECT db.internal:5432 --task support',
  ],
  test: ['chaperone test', 'chaperone test policy/crm.test.yaml --junit report.xml --coverage 100'],
  paths: ['chaperone paths', 'chaperone paths --diff main/policy policy'],
  suggest: [
    'chaperone suggest > suggested.yaml',
    'chaperone suggest /var/log/chaperone/audit.jsonl',
  ],
  schema: ['chaperone schema > chaperone.schema.json'],
  doctor: ['chaperone doctor', 'chaperone doctor --egress crm.internal:443 --json'],
  env: ['eval "$(chaperone env)"', 'chaperone env --agent support --json'],
  trust: ['chaperone trust --dir /run/chaperone/trust', 'chaperone trust --format dotenv'],
  task: ['chaperone task run --intent intent.yaml -- python agent.py', 'chaperone task list'],
  'task run': ['chaperone task run --intent intent.yaml -- python agent.py'],
  'task open': [
    'eval "$(chaperone task open --intent intent.yaml)"',
    'chaperone task open --intent intent.yaml --json',
  ],
  'task list': ['chaperone task list', 'chaperone task list --json'],
  'task questions': ['chaperone task questions'],
  'task end': ['chaperone task end 0b9f2c4e'],
  'task watch': ['chaperone task watch', 'chaperone task watch --json'],
  approve: ['chaperone approve 5d1c7a90 --ttl 5m --max-calls 1'],
  deny: ["chaperone deny 5d1c7a90 --reason 'ask the customer first'"],
  revoke: ['chaperone revoke 0b9f2c4e', "chaperone revoke --all --reason 'incident 12'"],
  status: ['chaperone status', 'chaperone status --api /run/chaperone/admin/api.sock --json'],
  mcp: ['chaperone mcp pins --changed', 'chaperone mcp approve tickets refund 2c26b46b68ffc68f'],
  'mcp pins': ['chaperone mcp pins --changed', 'chaperone mcp pins --destination tickets --json'],
  'mcp approve': ['chaperone mcp approve tickets refund 2c26b46b68ffc68f'],
  audit: [
    'chaperone audit --denied -n 20',
    'chaperone audit --follow --destination crm',
    'chaperone audit --task 0b9f2c4e --json',
  ],
  svid: ['chaperone svid show', 'chaperone svid watch --json'],
  'svid show': ['chaperone svid show --workload-api unix:///run/spire/agent.sock'],
  'svid watch': ['chaperone svid watch --json'],
  'svid write': [
    'chaperone svid write --dir /run/svid --once',
    'chaperone svid write --dir /run/svid --on-update-command nginx -- -s reload',
  ],
  dev: ['chaperone dev', 'chaperone dev --id /agent --serve /crm=8443'],
  demo: ['chaperone demo', 'chaperone demo --keep'],
  version: ['chaperone version', 'chaperone version --json'],
  completion: [
    'source <(chaperone completion bash)',
    'chaperone completion zsh > ~/.zfunc/_chaperone',
    'chaperone completion fish > ~/.config/fish/completions/chaperone.fish',
  ],
  help: ['chaperone help task run'],
};

/** Gives a command and all below it their examples, and those that have commands a `help`. */
export function helpful(command: Command, path = ''): void {
  const examples = EXAMPLES[path] ?? [];
  if (examples.length > 0)
    command.addHelpText(
      'after',
      ['', 'Examples:', ...examples.map((line) => `  ${line}`)].join('\n'),
    );
  if (command.commands.length === 0) return;
  for (const one of command.commands) helpful(one, `${path} ${one.name()}`.trimStart());
  const help = command
    .createCommand('help')
    .description('say what a command does and takes')
    .argument('[command...]');
  help.action((words: readonly string[]) => found(command, words).help());
  if (path === '') helpful(help, 'help');
  command.helpCommand(false).addCommand(help);
}

function found(command: Command, words: readonly string[]): Command {
  let at = command;
  for (const word of words) {
    const names = at.commands.map((one) => one.name());
    const next = at.commands.find((one) => one.name() === word);
    if (next === undefined) {
      const meant = nearest(word, names);
      const hint =
        meant === undefined ? `(known are ${names.join(', ')})` : `(Did you mean ${meant}?)`;
      command.error(
        `error: unknown command '${word}'\n${names.length === 0 ? '' : hint}`.trimEnd(),
      );
    }
    at = next;
  }
  return at;
}
