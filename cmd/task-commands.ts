/** The commands that have to do with tasks; their code is loaded when they are called. */
import type { Command } from 'commander';
import type { Io } from './io.ts';
import { ADMIN, AGENT, speaking as below } from './options.ts';

const WHOSE = 'the agent that it is for, where the configuration has several';

export function taskCommands(chaperone: Command, io: Io): void {
  const task = chaperone
    .command('task')
    .description('what an agent is doing, and may do: just in time, and gone when it ends');
  below(task, 'run', 'run a program inside a task, which ends with it', AGENT)
    .requiredOption('--intent <file>', 'what the task is for (docs/tasks.md)')
    .option('--agent <name>', WHOSE)
    .argument('<command...>', 'after --: the program and its arguments')
    .action(async (command: readonly string[], options) => {
      process.exitCode = await (
        await import('./commands/task-run.ts')
      ).taskRun({ ...options, command }, io);
    });
  below(
    task,
    'open',
    'open a task and print the variables that send a program through the sidecar as that task',
    AGENT,
  )
    .requiredOption('--intent <file>', 'what the task is for (docs/tasks.md)')
    .option('--agent <name>', WHOSE)
    .option('--json', 'the whole answer of the API')
    .action(async (options) => (await import('./commands/task.ts')).taskOpen(options, io));
  below(task, 'list', 'the tasks that are open, and the step-ups that wait for an answer', ADMIN)
    .option('--json', 'as JSON')
    .action(async (options) => (await import('./commands/task.ts')).taskList(options, io));
  below(
    task,
    'questions',
    'the calls that wait for an approval: each with all that would be approved',
    ADMIN,
  )
    .option('--json', 'as JSON')
    .action(async (options) => (await import('./commands/task.ts')).taskQuestions(options, io));
  below(task, 'end', 'complete a task', ADMIN)
    .argument('<task>', 'its id')
    .action(async (id: string, options) =>
      (await import('./commands/task.ts')).taskEnd({ ...options, task: id }, io),
    );
  below(task, 'watch', 'print what happens to tasks until SIGINT', ADMIN)
    .option('--json', 'one JSON object a line')
    .action(async (options) => (await import('./commands/task.ts')).taskWatch(options, io));
  answers(chaperone, io);
}

function answers(chaperone: Command, io: Io): void {
  below(chaperone, 'approve', 'approve a step-up', ADMIN)
    .argument('<step-up>', 'its id, as `task questions` shows it')
    .option('--by <name>', 'who approves; default the user of this process')
    .option('--ttl <duration>', 'shorter than the policy has it')
    .option('--max-calls <number>', 'fewer calls than the policy has it')
    .action(async (stepUp: string, options) =>
      (await import('./commands/task.ts')).approve({ ...options, stepUp }, io),
    );
  below(chaperone, 'deny', 'refuse a step-up', ADMIN)
    .argument('<step-up>', 'its id')
    .option('--by <name>', 'who refuses; default the user of this process')
    .option('--reason <words>', 'for the agent')
    .option(
      '--ttl <duration>',
      'how long the agent may not ask for it again; default as long as its tasks may last',
    )
    .action(async (stepUp: string, options) =>
      (await import('./commands/task.ts')).deny({ ...options, stepUp }, io),
    );
  below(
    chaperone,
    'revoke',
    'revoke a task and those derived from it: what is under way is cut',
    ADMIN,
  )
    .argument('[task]', 'its id')
    .option('--all', 'every task')
    .option('--by <name>', 'who revokes; default the user of this process')
    .option('--reason <words>', 'stands in the records')
    .action(async (id: string | undefined, options, command: Command) => {
      if ((id === undefined) === (options.all !== true))
        command.error('error: name one task, or --all');
      await (await import('./commands/task.ts')).revoke({ ...options, task: id }, io);
    });
}
