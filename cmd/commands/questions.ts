/**
 * A question as an operator reads it: first the call itself, as the sidecar kept it when it refused
 * it, then what the agent says about it, which nobody has proved.
 */
import { field, textOf, wordsOf } from '../api-client.ts';

/** What is approved or refused, in one line. */
export function stepUpWords(stepUp: unknown): string {
  const rule = wordsOf(stepUp, 'rule');
  const by = rule === '' ? '' : ` by rule ${rule}`;
  const call = callLine(field(stepUp, 'call'));
  return (
    `${textOf(stepUp, 'action')} on ${textOf(stepUp, 'destination')}${by} for task ` +
    `${textOf(stepUp, 'task')}: ${call}`
  );
}

/** @param task its task, where it is still there */
export function questionLines(stepUp: unknown, task: unknown): readonly string[] {
  const call = field(stepUp, 'call');
  const [rule, digest] = [wordsOf(stepUp, 'rule'), wordsOf(stepUp, 'digest')];
  const calls = String(field(stepUp, 'maxCalls'));
  const bound = digest === '' ? 'any call of this rule, not this one alone' : 'this call alone';
  const said = ['reason', 'purpose', 'owner', 'onBehalfOf'].flatMap((name) => {
    const words =
      name === 'reason' ? wordsOf(field(stepUp, 'untrusted'), name) : wordsOf(task, name);
    return words === '' ? [] : [`${name} ${JSON.stringify(words)}`];
  });
  return [
    `${textOf(stepUp, 'id')}  agent ${wordsOf(stepUp, 'agent')}, task ${textOf(stepUp, 'task')}`,
    line('call', callLine(call)),
    ...pairs('query', field(call, 'query')),
    ...pairs('field', field(call, 'fields')),
    ...['arguments', 'meta', 'params', 'body'].flatMap((name) =>
      wordsOf(call, name) === '' ? [] : [line(name, wordsOf(call, name))],
    ),
    ...listed(field(call, 'leftOut')).map((one) =>
      line('not shown', `${String(one)}; it is part of what is approved`),
    ),
    line(
      'approves',
      `${bound}: action ${textOf(stepUp, 'action')} on ` +
        `${textOf(stepUp, 'destination')}${rule === '' ? '' : ` by rule ${rule}`}`,
    ),
    line(
      'for',
      `${calls} ${calls === '1' ? 'call' : 'calls'} within ` +
        `${Number(field(stepUp, 'ttl')) / 1000} s${digest === '' ? '' : `, ${digest}`}`,
    ),
    line('agent says', `${said.join(', ')} (unproved)`),
    line(
      'answer',
      `chaperone approve ${textOf(stepUp, 'id')} | chaperone deny ${textOf(stepUp, 'id')}`,
    ),
  ];
}

function callLine(call: unknown): string {
  const [method, tool] = [wordsOf(call, 'method'), wordsOf(call, 'tool')];
  const about = tool || wordsOf(call, 'prompt') || wordsOf(call, 'resource');
  const where = `${wordsOf(call, 'host')}:${String(field(call, 'port'))}${wordsOf(call, 'path')}`;
  return (
    `${method === '' ? 'a connection' : method} ` +
    `${about === '' ? where : `${about} at ${where}`}`
  );
}

function line(name: string, words: string): string {
  return `    ${name.padEnd(10)}  ${words}`;
}

function pairs(name: string, values: unknown): readonly string[] {
  return listed(values).map((pair) => line(name, listed(pair).map(String).join(' = ')));
}

function listed(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
