/** What a Destination of protocol grpc says: the calls that its rules are about. */
import { Fault } from '../../base/fault.ts';
import { quote } from '../../net/host.ts';
import { type GrpcRule, METHOD, SERVICE } from '../../policy/protocols/grpc-rules.ts';
import type { GrpcService } from '../../policy/protocols/grpc.ts';
import { defaulted, flag, list, optional, record, text } from '../../schema/decode.ts';
import type { Infer } from '../../schema/schema.ts';
import { type CheckOf, at, when } from './finding.ts';
import type { ProtocolDocument } from './protocol-document.ts';
import { type Conditions, type RuleDocument, compileRules } from './rule.ts';

const grpcService = text({
  is: 'the full name of a gRPC service',
  example: 'billing.v1.Invoices',
  grammar: SERVICE,
  parse(value) {
    if (SERVICE.test(value)) return value;
    throw new Fault('config', `${quote(value)} is not the name of a service`, {
      hint: 'write its package and name, as in billing.v1.Invoices',
    });
  },
});

const grpcMethod = text({
  is: 'the name of a gRPC method, or *',
  example: 'GetInvoice',
  parse(value) {
    if (value === '*' || METHOD.test(value)) return value;
    throw new Fault('config', `${quote(value)} is not the name of a method`, {
      hint: 'write its name, as in GetInvoice, or *',
    });
  },
});

export const grpcMatch = record({
  services: optional(
    list(grpcService, { least: 1, most: 1000, unique: String }),
    'Exact, case-sensitive, with the package: `billing.v1.Invoices`. Without it: every service.',
  ),
  methods: optional(
    list(grpcMethod, { least: 1, most: 1000, unique: String }),
    'Exact, case-sensitive; `*` is every one. Without it: every method.',
  ),
  streaming: defaulted(
    flag(),
    false,
    'Allow rules alone: its calls send more than one message, so none of them is read ' +
      'whole to be approved. Calls stream either way: it matters for step-ups alone, where a ' +
      'call that sends a second message is refused unless the policy says `bound: false` and ' +
      '`uncounted: true`.',
  ),
});

interface GrpcSpec {
  readonly tls: { readonly mode: string };
  readonly rules: readonly (RuleDocument & {
    readonly grpc: Infer<typeof grpcMatch> | undefined;
  })[];
}

function compileGrpc({ rules }: GrpcSpec, conditions: Conditions): GrpcService {
  return Object.freeze({ protocol: 'grpc', rules: compileRules(rules, conditions, aboutCalls) });
}

function aboutCalls({ grpc }: GrpcSpec['rules'][number]): Pick<GrpcRule, 'grpc'> | undefined {
  if (grpc === undefined) return undefined;
  const { services, methods, streaming } = grpc;
  return {
    grpc: Object.freeze({
      services: services && new Set(services),
      methods: methods && new Set(methods),
      streaming,
    }),
  };
}

const GRPC_CHECKS: readonly CheckOf<GrpcSpec>[] = Object.freeze([
  {
    name: 'grpc-is-not-passthrough',
    doc: 'Protocol grpc is not for mode passthrough: its calls are judged one by one.',
    find: ({ tls }) =>
      when(
        tls.mode === 'passthrough',
        at('tls', 'mode'),
        'in mode passthrough the calls are inside the TLS of the agent',
        'write mode: mtls, web-mtls or web',
      ),
  },
  {
    name: 'streaming-is-allowed-only',
    doc: '`streaming` belongs to allow rules: deny rules hold for calls of every kind.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, grpc }, i) =>
        when(
          effect === 'deny' && grpc?.streaming === true,
          at('rules', i, 'grpc', 'streaming'),
          'a deny rule is about streaming calls anyway',
          'remove it',
        ),
      ),
  },
]);

export const GRPC_DOCUMENT: ProtocolDocument<GrpcSpec, GrpcService> = Object.freeze({
  keys: ['grpc'],
  example: 'write grpc: {} for all calls',
  hasPaths: false,
  choosesHttp: false,
  checks: GRPC_CHECKS,
  says: ({ grpc }) => grpc !== undefined,
  unread: ({ grpc }) => (grpc?.streaming === true ? 'streaming gRPC calls' : undefined),
  compile: compileGrpc,
} satisfies ProtocolDocument<GrpcSpec, GrpcService>);
