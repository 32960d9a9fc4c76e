/**
 * Protocol mcp: messages to the endpoints of a server, judged one by one, and requests beside them
 * (Streamable HTTP). A message's tool must be what it was when it was first seen; what belongs to
 * every conversation needs no rule.
 */
import type { Facts, HttpFacts, McpFacts } from '../model/facts.ts';
import { EVERY } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { Verdict } from '../model/verdict.ts';
import {
  OTHER_CALLS,
  type RuleTerms,
  judgeByRules,
  nothing,
  permittedByRules,
  reported,
  uninspectable,
} from './by-rules.ts';
import { PLAIN } from './entries.ts';
import { httpOutflow, stopsHttpOutflow } from './http-outflow.ts';
import { httpPermissions } from './http-permissions.ts';
import { HTTP_TERMS, allowsContentOnGet, mismatchInWords, requestInWords } from './http-rules.ts';
import { isMcpLike, reachesEndpoint } from './mcp-endpoint.ts';
import { mcpLoosened } from './mcp-loosened.ts';
import { messagePermissions } from './mcp-permissions.ts';
import { MCP_TERMS, messageMatches } from './mcp-rules.ts';
import type { BesideRule, McpDestination, McpRule, McpService } from './mcp-service.ts';
import { suggestMcp } from './mcp-suggest.ts';
import type { Outflow, ProtocolRow } from './row.ts';

type AnyRule = McpRule | BesideRule;

const OUTFLOW: Outflow = Object.freeze({
  words: 'messages that carry',
  guard: "mcp: { tools: ['*'] }",
});

export const MCP: ProtocolRow<McpService, AnyRule> = Object.freeze({
  name: 'mcp',
  phase: 'mcp',
  http2: false,
  upstreamGreets: false,
  entries: PLAIN,
  judge(question) {
    const { destination, facts } = question;
    if (facts.http === undefined) return uninspectable(destination);
    if (facts.mcp === undefined) return judgeBeside(question, facts.http);
    return (
      changed(destination, facts.mcp) ??
      reported(destination, judgeByRules(question, facts.mcp, destination.service.rules, MCP_TERMS))
    );
  },
  rules: ({ rules, beside }) => [...rules, ...beside],
  condition: nothing,
  mayAllowContentOnGet: (service) => service.beside.some(allowsContentOnGet),
  mismatch,
  permissionsOf,
  permitted: ({ mode, service }) =>
    permittedByRules(mode, [...service.rules, ...service.beside], permissionsOf),
  outflow: (rule) => ('mcp' in rule ? OUTFLOW : httpOutflow(rule)),
  stopsOutflow: (rule) => ('mcp' in rule ? rule.mcp.tools.has(EVERY) : stopsHttpOutflow(rule)),
  loosened: mcpLoosened,
  note: nothing,
  suggest: suggestMcp,
} satisfies ProtocolRow<McpService, AnyRule>);

function permissionsOf(rule: AnyRule): ReturnType<typeof httpPermissions> {
  return 'mcp' in rule ? messagePermissions(rule) : httpPermissions(rule);
}

function mismatch(rule: AnyRule, { http, mcp }: Facts): string | undefined {
  if (mcp !== undefined)
    return 'mcp' in rule && messageMatches(rule, mcp) ? undefined : OTHER_CALLS;
  if ('mcp' in rule || http === undefined) return OTHER_CALLS;
  return isAboutBeside(rule, http) ? undefined : (mismatchInWords(rule, http) ?? OTHER_CALLS);
}

/** What could be a message is let through by a rule that says so, and by nothing else. */
function isAboutBeside(rule: BesideRule, request: HttpFacts): boolean {
  if (rule.effect === 'allow' && !rule.http.mcpLike && isMcpLike(request)) return false;
  return HTTP_TERMS.isAbout(rule, request);
}

const BESIDE_TERMS: RuleTerms<BesideRule, HttpFacts> = Object.freeze({
  ...HTTP_TERMS,
  isAbout: isAboutBeside,
});

/** A request beside the endpoints: for rules about HTTP, if it can be no message. */
function judgeBeside(question: Question<McpService>, http: HttpFacts): Verdict {
  const { destination } = question;
  const { beside, endpoints } = destination.service;
  if (beside.length === 0 || reachesEndpoint(endpoints, http.path))
    return notMcp(destination, http);
  const verdict = reported(destination, judgeByRules(question, http, beside, BESIDE_TERMS));
  const refused = verdict.code === 'no-rule-matched' || verdict.code === 'reported';
  return refused && isMcpLike(http) ? mcpLike(destination, http) : verdict;
}

function notMcp({ name, service }: McpDestination, request: HttpFacts): Verdict {
  return {
    code: 'not-mcp',
    reason: `${requestInWords(request)} is no message to the MCP endpoint of destination ${name}`,
    hint: `messages go by POST to ${[...service.endpoints].join(' or ')}, without a query`,
  };
}

function mcpLike({ name }: McpDestination, request: HttpFacts): Verdict {
  return {
    code: 'not-mcp',
    reason:
      `${requestInWords(request)} of destination ${name} looks like a message of MCP ` +
      'beside its endpoints',
    hint:
      'a rule about HTTP lets it through if it says mcpLike: allow, and endpoints of the ' +
      'server belong to mcp.endpoints',
  };
}

/** undefined: the tool is what it was when it was first seen, or no tool is called. */
function changed(
  { name }: McpDestination,
  { tool = '', definition }: McpFacts,
): Verdict | undefined {
  const state = definition?.state;
  if (state !== 'changed' && state !== 'unverified') return undefined;
  const whose = `the definition of tool ${tool} of destination ${name}`;
  if (state === 'unverified')
    return {
      code: 'definition-changed',
      reason: `${whose} is pinned and was not seen yet`,
      hint: 'ask for tools/list first',
    };
  const hint =
    'look at what changed, then approve it (docs/mcp.md) or pin it in mcp.pins of the destination';
  return {
    code: 'definition-changed',
    reason: `${whose} is not the one that was pinned`,
    hint,
  };
}
