/**
 * The answer to a message that ends in a Fault: an error of JSON-RPC with the id of its
 * request, so that the client hands it on instead of giving up the connection. A request that
 * policy denied is told as the destination says (`mcp.denial`); everything else has the status of
 * its Fault. Codes are those that JSON-RPC and MCP define for what happened, and the destination's
 * own for a denial, never one that they keep for later.
 *
 *   {"jsonrpc":"2.0","id":7,"error":{"code":-31403,"message":"…","data":{"reason":"denied",
 *    "hint":"…","rule":"…","decision":"<exchange id>","retryable":false}}}
 */
import type { Code, Fault } from '../base/fault.ts';
import { type Id, errorText } from '../mcp/message.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { canonicalJson } from '../schema/json-writer.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { DescribedMcp, UnreadMcp } from './described.ts';
import { plain } from '../exchange/evidence.ts';
import { type Answer, faultAnswer, messageOf } from '../exchange/fault-response.ts';

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;
const HEADER_MISMATCH = -32020;
const UNSUPPORTED_VERSION = -32022;

const RPC_CODES: Partial<Readonly<Record<Code, number>>> = {
  'bad-json': PARSE_ERROR,
  'bad-message': INVALID_REQUEST,
  'unsupported-media': INVALID_REQUEST,
  'body-too-large': INVALID_REQUEST,
  'header-mismatch': HEADER_MISMATCH,
  'unsupported-version': UNSUPPORTED_VERSION,
};

const JSON_FIELDS = ['content-type', 'application/json'];

export function mcpRefusal(
  described: DescribedMcp | UnreadMcp,
  fault: Fault,
  exchange: Exchange,
): Answer {
  const { policy } = described.endpoint;
  const { denial } = policy;
  const id = described.kind === 'mcp' ? described.message.id : described.id;
  const decision = exchange.authorization?.decision;
  const rule = decision?.rule;
  const answer = faultAnswer(fault, { id: exchange.id, rule, fields: JSON_FIELDS });
  const denied = decision?.effect === 'deny' && id !== undefined;
  const message = messageOf(fault);
  const hint = fault.hint === undefined ? undefined : plain(fault.hint);
  const data = {
    reason: fault.code,
    hint,
    rule,
    decision: exchange.id,
    retryable: fault.retriable,
  };
  const private_ =
    denied || fault.http === 403 || fault.http === 404 ? denial.code : INTERNAL_ERROR;
  // The message can be read and a parameter cannot be sent: clients hand such an error on, in a
  // 200.
  const param =
    fault.code === 'bad-message' && fault.at?.startsWith('params.') === true && id !== undefined;
  const code = param ? INVALID_PARAMS : (RPC_CODES[fault.code] ?? private_);
  const error = { code, message, data: { ...data, ...supported(policy, fault) } };
  const mcp = described.facts.mcp;
  const asResult = denied && denial.as === 'result' && mcp?.method === 'tools/call';
  const text = asResult ? resultText(id, mcp, message) : errorText(id, error);
  const body = Buffer.from(text);
  const { head } = answer;
  const status = param
    ? 200
    : !denied
      ? head.status
      : asResult
        ? 200
        : fault.http === 429
          ? 429
          : denial.status;
  return { head: { ...head, status, length: body.length }, body };
}

function supported(policy: McpPolicy, { code }: Fault): { readonly supported?: readonly string[] } {
  return code === 'unsupported-version' ? { supported: [...policy.versions] } : {};
}

/** A tool that failed: models read why. */
function resultText(id: Id | undefined, { version }: McpFacts, message: string): string {
  const text = `denied by policy: ${message}`;
  const result = {
    content: [{ type: 'text', text }],
    isError: true,
    ...(isStateless(version) ? { resultType: 'complete' } : {}),
  };
  return `{"jsonrpc":"2.0","id":${canonicalJson(id ?? null)},"result":${JSON.stringify(result)}}`;
}
