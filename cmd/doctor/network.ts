/**
 * Names and ways out. `dns` resolves the upstreams that the documents write and judges the answer
 * as the proxy would; `egress` tries to go round the sidecar, to addresses that were named for it
 * and to none else. It says something about the agent only where the agent runs and as its user.
 */
import { isIP } from 'node:net';
import { link } from '../../lib/base/signal.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { Config } from '../../lib/config/load/load.ts';
import { formatAuthority, parseAuthority } from '../../lib/net/authority.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { dialler, type Dialler } from '../../lib/upstream/dial.ts';
import { routes } from '../../lib/upstream/route.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { resolverOf } from '../system-resolver.ts';
import { fail, ok, warn, type Patient, type Verdict } from './finding.ts';
import { listenersOf } from './host.ts';
import { reach } from './reach.ts';

export async function checkDns({ config, patience, clock }: Patient): Promise<readonly Verdict[]> {
  if (config === undefined) return [];
  const own = new Set(listenersOf(config).map(([, { host, port }]) => formatAuthority(host, port)));
  const resolver = resolverOf(config.sidecar.resolver, clock);
  const dial = dialler({
    resolver,
    contexts: tlsContexts(),
    clock,
    own: (address, port) => own.has(formatAuthority(address, port)),
  });
  const written = config.policy.destinations.filter(
    ({ upstream, via }) => upstream !== undefined || via !== undefined,
  );
  try {
    return await Promise.all(
      written.map((destination) => resolves(destination, dial, { patience, clock })),
    );
  } finally {
    resolver.close?.();
  }
}

async function resolves(
  destination: Destination,
  dial: Dialler,
  { patience, clock }: Pick<Patient, 'patience' | 'clock'>,
): Promise<Verdict> {
  const { name, hosts, ports, via } = destination;
  const facts = {
    host: hosts[0]?.host ?? '',
    port: ports[0] ?? 0,
    listener: undefined,
    http: undefined,
  };
  const route = routes().to(destination, { ...facts, entry: 'forward', time: clock.now() });
  using limit = link();
  const cancel = clock.after(
    patience,
    () => limit.abort(new Fault('timeout', 'DNS did not answer in time')),
    true,
  );
  try {
    const addresses = await dial.resolve(route, limit.signal);
    if (via !== undefined)
      return ok(`${name} is reached through ${via.text}: ${addresses.join(', ')}`);
    const shown = route.literal ? 'may be dialled' : `is ${addresses.join(', ')}`;
    return ok(`upstream of ${name}: ${route.host} ${shown}`);
  } catch (failure) {
    const { message, hint } = Fault.from(failure, 'upstream-unresolved');
    return fail(
      `upstream of ${name}: ${message}`,
      `${destination.at} writes it`,
      hint ?? 'look at DNS',
    );
  } finally {
    cancel();
  }
}

const ROUND =
  'a NetworkPolicy, a network namespace or a firewall rule by user has to leave the ' +
  'sidecar as the only way out';

export async function checkEgress(patient: Patient): Promise<readonly Verdict[]> {
  if (patient.egress.length > 0) {
    return (await Promise.all(patient.egress.map((text) => goRound(text, patient)))).flat();
  }
  return [
    warn(
      'whether the agent can go round the sidecar is not known',
      'HTTP_PROXY is cooperative, and no address was named to try',
      'where the agent runs and as its user: chaperone doctor --only egress --egress HOST:PORT',
    ),
  ];
}

async function goRound(
  text: string,
  { config, patience, clock }: Patient,
): Promise<readonly Verdict[]> {
  let addresses: readonly string[];
  const target = targetOf(text, config);
  if (target === undefined) {
    return [
      fail(
        `${text} is neither host:port nor a destination`,
        'nothing was tried',
        'name one of them',
      ),
    ];
  }
  const { host, port } = target;
  using limit = link();
  const cancel = clock.after(patience, () => limit.abort(new Fault('timeout', 'no answer')), true);
  const resolver = resolverOf(config?.sidecar.resolver ?? 'dns', clock);
  try {
    const asking = { absolute: false, signal: limit.signal, of: text };
    addresses = isIP(host) === 0 ? await resolver.resolve(host, asking) : [host];
  } catch (failure) {
    const { message } = Fault.from(failure, 'upstream-unresolved');
    return [
      warn(
        `${text}: ${message}`,
        'its addresses could still be reached',
        'name an address with --egress',
      ),
    ];
  } finally {
    cancel();
    resolver.close?.();
  }
  return await Promise.all(
    addresses.map(async (address) =>
      judgeWay(
        formatAuthority(address, port),
        await reach({ host: address, port }, patience, clock),
      ),
    ),
  );
}

function targetOf(
  text: string,
  config: Config | undefined,
): { readonly host: string; readonly port: number } | undefined {
  const destination = config?.policy.byName.get(text);
  if (destination !== undefined) {
    const { upstream, hosts, ports } = destination;
    const host = hosts.find(({ kind }) => kind !== 'wildcard')?.host;
    return upstream ?? (host === undefined ? undefined : { host, port: ports[0] ?? 0 });
  }
  try {
    return parseAuthority(text, undefined);
  } catch {
    return undefined;
  }
}

function judgeWay(where: string, code: string | undefined): Verdict {
  switch (code) {
    case undefined:
      return fail(
        `${where} was reached directly`,
        'whoever runs here can go round the sidecar',
        ROUND,
      );
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return warn(
        `${where} refused the connection (${code})`,
        'a firewall may have done that, or the machine itself, which was reached then',
        'name an address and a port where something listens',
      );
    default:
      return ok(`${where} cannot be reached directly (${code})`);
  }
}
