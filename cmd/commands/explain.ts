/**
 * `chaperone explain METHOD URL`: which rule decides one request, and why, in the words of the 403,
 * with every rule on the way and every part of its condition. The request is described and decided
 * by the functions of the proxy itself; nothing is dialled or resolved. Values of header fields are
 * never printed.
 */
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import type { ConditionTrace } from '../../lib/policy/conditions/trace.ts';
import {
  explain as explained,
  type Explanation,
  type RuleStep,
} from '../../lib/policy/review/explain.ts';
import type { Facts } from '../../lib/policy/model/facts.ts';
import { isObject } from '../../lib/schema/json.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { shownPath, shownQuery, shownUri } from '../../lib/policy/model/shown.ts';
import { supposedTask } from '../../lib/policy/review/hypothetical-task.ts';
import { simulate } from '../../lib/listen/hypothetical.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { Io, Style } from '../io.ts';

export interface ExplainOptions {
  readonly config: readonly string[];
  readonly method: string;
  readonly target: string;
  readonly listener?: string;
  readonly header?: readonly string[];
  readonly message?: string;
  readonly tool?: string;
  readonly args?: string;
  readonly identity?: string;
  readonly time?: string;
  /** Purpose of a task that is granted the whole ceiling of its TaskPolicy. */
  readonly task?: string;
  readonly json?: boolean;
}

export async function explain(options: ExplainOptions, io: Io): Promise<void> {
  const { policy } = await loadConfig(options.config, { generation: 1 });
  const { method, target, listener, header, identity, time, task } = options;
  if (listener === undefined && method !== 'CONNECT' && !/^[a-z]+:\/\//i.test(target)) {
    throw new Fault('usage', `${JSON.stringify(target)} is no whole URL`, {
      hint: 'write http://HOST/PATH or https://HOST/PATH; with --listener, the path alone',
    });
  }
  const facts = simulate(
    {
      method,
      target,
      listener,
      fields: header ?? [],
      message: messageOf(options),
      time: timeOf(time),
      task: task === undefined ? undefined : supposedTask({ ...FRESH, purpose: task }, policy),
    },
    policy,
  );
  const explanation = explained(
    policy,
    facts,
    identity === undefined ? undefined : parseSpiffeId(identity),
  );
  io.out(
    options.json === true
      ? JSON.stringify(plain(explanation, facts))
      : asText(explanation, facts, io.style),
  );
  if (explanation.decision.effect === 'deny') process.exitCode = DENIED;
}

/** A task that has done nothing yet. */
const FRESH = Object.freeze({
  id: 'supposed',
  depth: 0,
  read: 'none',
  wrote: 'none',
  actions: [],
  destinations: [],
  uses: 0,
  elevated: [],
});

/** Exit status of a request that would be denied, as of the Fault `denied`. */
const DENIED = 77;

/** `--tool` and `--args` are short for the message that calls it. */
function messageOf({ message, tool, args }: ExplainOptions): string | undefined {
  if (tool === undefined) {
    if (args !== undefined) throw new Fault('usage', '--args needs --tool');
    return message;
  }
  if (message !== undefined)
    throw new Fault('usage', '--tool and --message are two ways of saying one thing');
  if (args !== undefined) readArgs(args);
  return `{"method":"tools/call","params":{"name":${JSON.stringify(tool)},"arguments":${args ?? '{}'}}}`;
}

/** Told of by its own place, not by that in the message that it becomes a part of. */
function readArgs(args: string): void {
  let problem = 'an object is wanted';
  try {
    if (isObject(parseJson(Buffer.from(args)))) return;
  } catch (failure) {
    problem = Fault.from(failure, 'usage').message;
  }
  throw new Fault('usage', `--args: ${problem}`, {
    hint: `write a JSON object, as in '{"amount": 40}'`,
  });
}

function timeOf(text: string | undefined): number {
  const time = text === undefined ? Date.now() : Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new Fault('usage', `${JSON.stringify(text)} is no time`, {
    hint: 'write 2026-01-31T12:00:00Z',
  });
}

function plain(
  { decision, row, condition, steps }: Explanation,
  facts: Facts,
): Readonly<Record<string, unknown>> {
  const { effect, code, reason, hint, destination, rule, action, policyError } = decision;
  return {
    effect,
    code,
    reason,
    hint,
    destination: destination?.name,
    dataClass: destination?.dataClass,
    at: destination?.at,
    rule,
    action,
    policyError,
    entry: row && { entry: row.entry, outcome: row.outcome, why: row.why },
    condition,
    rules: steps,
    facts: shown(facts),
  };
}

/** What was judged, without what a header field holds. */
function shown({
  entry,
  host,
  port,
  listener,
  http,
  mcp,
  grpc,
  time,
}: Facts): Readonly<Record<string, unknown>> {
  const names = http?.fields.filter((_, i) => i % 2 === 0);
  const request = http && {
    method: http.method,
    path: shownPath(http.path),
    query: shownQuery(http.query),
    websocket: http.websocket,
  };
  const message = mcp && {
    method: mcp.method,
    tool: mcp.tool,
    prompt: mcp.prompt,
    resource: mcp.resource && shownUri(mcp.resource),
  };
  return {
    entry,
    host,
    port,
    listener,
    http: request && { ...request, fields: names },
    mcp: message,
    grpc,
    time: new Date(time).toISOString(),
  };
}

function asText({ decision, condition, steps }: Explanation, facts: Facts, style: Style): string {
  const { effect, code, reason, hint, destination, rule } = decision;
  const lines = [
    `${effect === 'allow' ? style.good('allow') : style.bad('deny')} (${code}): ${reason}`,
  ];
  if (hint !== undefined) lines.push(`  hint: ${hint}`);
  if (destination !== undefined)
    lines.push(`  destination: ${destination.name}, ${destination.at}`);
  if (rule !== undefined) lines.push(`  rule: ${rule}`);
  const asked =
    facts.http === undefined ? '' : `, ${facts.http.method} ${shownPath(facts.http.path)}`;
  lines.push(`  judged: ${facts.entry}, ${facts.host} port ${facts.port}${asked}${about(facts)}`);
  if (condition !== undefined) lines.push('  when:', ...traceLines(condition, 4));
  if (steps.length > 0)
    lines.push(
      '  rules, in the order in which they are read:',
      ...steps.flatMap((one) => stepLines(one, style)),
    );
  return lines.join('\n');
}

function about({ mcp, grpc }: Facts): string {
  if (mcp !== undefined) {
    const uri = mcp.resource && shownUri(mcp.resource);
    return `, ${[mcp.method, mcp.tool ?? mcp.prompt ?? uri].filter(Boolean).join(' ')}`;
  }
  return grpc === undefined ? '' : `, ${grpc.service}/${grpc.method}`;
}

function stepLines(
  { rule, effect, outcome, why, condition }: RuleStep,
  style: Style,
): readonly string[] {
  const words = outcome === 'decides' ? style.bold(outcome) : outcome;
  const line = `    ${effect} ${rule}: ${words}${why === undefined ? '' : ` (${why})`}`;
  return [line, ...(condition === undefined ? [] : traceLines(condition, 6))];
}

function traceLines({ text, answer, parts }: ConditionTrace, indent: number): readonly string[] {
  const line = `${' '.repeat(indent)}${answer}: ${text.trim().replaceAll(/\s*\n\s*/g, ' ')}`;
  return [line, ...parts.flatMap((part) => traceLines(part, indent + 2))];
}
