/** `chaperone completion`: scripts for shells, made of the same tree of commands that parses. */
import type { Command, Option } from 'commander';

interface Node {
  /** `chaperone task run` */
  readonly path: string;
  readonly commands: readonly Named[];
  readonly options: readonly Option[];
  /** What its first argument may be, where that is known. */
  readonly choices: readonly string[];
}

interface Named {
  readonly name: string;
  readonly about: string;
}

const SCRIPTS = { bash, zsh, fish } as const;

export function completion(shell: keyof typeof SCRIPTS, root: Command): string {
  return SCRIPTS[shell](nodesOf(root, root.name()));
}

function nodesOf(command: Command, path: string): readonly Node[] {
  const help = command.createHelp();
  const below = help.visibleCommands(command);
  const own: Node = {
    path,
    commands: below.map((one) => ({ name: one.name(), about: one.description() })),
    options: help.visibleOptions(command),
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [own, ...below.flatMap((one) => nodesOf(one, `${path} ${one.name()}`))];
}

const flagsOf = ({ short, long }: Option): readonly string[] =>
  [short, long].filter((flag) => flag !== undefined);
const takesValue = ({ required, optional }: Option): boolean => required || optional;

/** In single quotes, for bash and zsh. */
const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The patterns of a `case` for values of options, in two groups: those with choices, and files. */
function valued(nodes: readonly Node[]): {
  choices: readonly (readonly [string, string])[];
  files: string;
} {
  const all = nodes.flatMap(({ path, options }) =>
    options.filter(takesValue).map((option) => ({
      pattern: flagsOf(option)
        .map((flag) => quoted(`${path} ${flag}`))
        .join('|'),
      choices: option.argChoices,
    })),
  );
  return {
    choices: all.flatMap(({ pattern, choices }) =>
      choices === undefined ? [] : [[pattern, choices.join(' ')] as const],
    ),
    files: all
      .filter(({ choices }) => choices === undefined)
      .map(({ pattern }) => pattern)
      .join('|'),
  };
}

const descents = (nodes: readonly Node[]): string =>
  nodes
    .slice(1)
    .map(({ path }) => quoted(path))
    .join('|');

function bash(nodes: readonly Node[]): string {
  const { choices, files } = valued(nodes);
  const words = ({ commands, options, choices: known }: Node): string =>
    [...commands.map(({ name }) => name), ...known, ...options.flatMap(flagsOf)].join(' ');
  return `# source <(chaperone completion bash)
_chaperone() {
  local at=chaperone words= word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [[ $word == -- ]] && return
    case "$at $word" in
      ${descents(nodes)}) at="$at $word" ;;
    esac
  done
  case "$at \${COMP_WORDS[COMP_CWORD - 1]}" in
${choices.map(([pattern, list]) => `    ${pattern}) words=${quoted(list)} ;;`).join('\n')}
    ${files}) return ;;
    *)
      case "$at" in
${nodes.map((node) => `        ${quoted(node.path)}) words=${quoted(words(node))} ;;`).join('\n')}
      esac
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _chaperone chaperone`;
}

function zsh(nodes: readonly Node[]): string {
  const { choices, files } = valued(nodes);
  const described = ({ commands, options, choices: known }: Node): string =>
    [
      ...commands.map(({ name, about }) => quoted(`${name}:${about}`)),
      ...known.map(quoted),
      ...options.flatMap((option) =>
        flagsOf(option).map((flag) => quoted(`${flag}:${option.description}`)),
      ),
    ].join(' ');
  return `#compdef chaperone
# source <(chaperone completion zsh), or write it as _chaperone into a folder of $fpath
_chaperone() {
  local at=chaperone word i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    [[ $word == -- ]] && { _files; return }
    case "$at $word" in
      (${descents(nodes)}) at="$at $word" ;;
    esac
  done
  case "$at \${words[CURRENT - 1]}" in
${choices.map(([pattern, list]) => `    (${pattern}) compadd ${list}; return ;;`).join('\n')}
    (${files}) _files; return ;;
  esac
  case "$at" in
${nodes.map((node) => `    (${quoted(node.path)}) found=(${described(node)}) ;;`).join('\n')}
  esac
  _describe 'chaperone' found || _files
}
if [[ \${funcstack[1]} == _chaperone ]]; then _chaperone "$@"
else compdef _chaperone chaperone; fi`;
}

function fish(nodes: readonly Node[]): string {
  const text = (words: string): string =>
    `'${words.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
  const lines = nodes.flatMap(({ path, commands, options, choices }) => {
    const at = `complete -c chaperone -n "__chaperone_at '${path}'"`;
    return [
      ...commands.map(({ name, about }) => `${at} -f -a ${name} -d ${text(about)}`),
      ...choices.map((choice) => `${at} -f -a ${choice}`),
      ...options.map((option) => {
        const flags = flagsOf(option).map((flag) =>
          flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag[1]}`,
        );
        const value =
          option.argChoices === undefined ? '-r' : `-x -a ${text(option.argChoices.join(' '))}`;
        return [
          at,
          ...flags,
          ...(takesValue(option) ? [value] : []),
          '-d',
          text(option.description),
        ].join(' ');
      }),
    ];
  });
  const known = nodes.slice(1).map(({ path }) => text(path));
  return `# chaperone completion fish | source
function __chaperone_at
    set -l at chaperone
    for word in (commandline -opc)[2..-1]
        switch "$at $word"
            case ${known.join(' ')}
                set at "$at $word"
        end
    end
    test "$at" = "$argv[1]"
end
${lines.join('\n')}`;
}
