/** The options of a proxy. */
import type { AuditLog } from '../audit/record.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import type { Fault } from '../base/fault.ts';
import type { IssuedToken } from '../credentials/jwt-svid.ts';
import type { ShareLimits, SharesOptions } from '../exchange/shares.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Interception } from '../interception/authority.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { ListenAddress } from '../policy/model/destination.ts';
import type { Rate } from '../policy/model/rule.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';
import type { Tasks } from '../tasks/tasks.ts';
import type { TlsContexts } from '../tls/context.ts';
import type { Resolver } from '../upstream/resolver.ts';
import type { Inherited } from './inherited.ts';

/** The part of the Sidecar document that the proxy reads. */
interface ProxySettings {
  readonly forward?: ListenAddress | undefined;
  /** Never dialled, like our own listeners. */
  readonly health?: ListenAddress | undefined;
  readonly agentApi?:
    { readonly tcp?: { readonly address: ListenAddress } | undefined } | undefined;
  readonly audit: { readonly onFailure: 'deny' | 'continue'; readonly refusals?: Rate };
}

/** The part of the identity source that the proxy uses. */
interface IdentityView {
  readonly states: Cell<IdentityState>;
  /** The identity that may be used now; throws a Fault `no-identity` or `identity-expired`. */
  current(): Identity;
  /** A fresh JWT-SVID for one audience, of that identity or of the one that is named. */
  fetchJwtSvid(audience: string, signal: AbortSignal, as?: SpiffeId): Promise<IssuedToken>;
}

export interface ProxyOptions {
  readonly sidecar: ProxySettings;
  readonly policy: Cell<Policy>;
  readonly identity: IdentityView;
  readonly audit: AuditLog;
  readonly contexts: TlsContexts;
  /** Stands in for the hosts of intercepted destinations; without it their tunnels are refused. */
  readonly interception?: Interception | undefined;
  readonly clock: Clock;
  /** undefined: a reference to a task is always wrong. */
  readonly tasks?: Tasks | undefined;
  /** Aborting it cuts everything at once. */
  readonly shutdown: AbortSignal;
  readonly resolver?: Resolver;
  /** Listening sockets that the process was started with. */
  readonly inherited?: Inherited | undefined;
  readonly limits?: HttpLimits;
  /** Those with identities of their own, at least; default none. */
  readonly agents?: readonly Agent[];
  /** Of each agent, and of what is nobody's. */
  readonly shares?: Partial<ShareLimits>;
  /** Told of each connection that is cut because its agent has too many. */
  readonly onDropped?: SharesOptions['onDropped'];
  /** Told of a listener that could not be bound after a reload. */
  readonly onFault?: (fault: Fault) => void;
  /** Told in words of what an operator may want to know of an upstream. */
  readonly onNotice?: (what: string) => void;
}
