/**
 * The Workload API's socket, the identity that it gives to whoever runs this, and the clock by
 * which that identity is judged.
 */
import type { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { NetConnectOpts } from 'node:net';
import { Fault } from '../../lib/base/fault.ts';
import type { Endpoint } from '../../lib/identity/address.ts';
import { workloadApi } from '../../lib/identity/client.ts';
import { startIdentity } from '../../lib/identity/source.ts';
import { splitCertificates } from '../../lib/spiffe/certificate.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import { trustDomainOf } from '../../lib/spiffe/id.ts';
import { counted } from '../table.ts';
import { codeOf, fail, ok, warn, type Patient, type Verdict } from './finding.ts';
import { reach } from './reach.ts';

const AGENT =
  'is the SPIRE agent running, and is the folder of its socket (not the socket itself) ' +
  'mounted here?';

export async function checkSocket({
  endpoint,
  patience,
  clock,
}: Patient): Promise<readonly Verdict[]> {
  if (endpoint === undefined) return [UNKNOWN];
  const { path, text } = endpoint;
  try {
    if (path !== undefined && !(await stat(path)).isSocket())
      return [fail(`${path} is not a socket`, 'something else is there', AGENT)];
  } catch (failure) {
    const code = codeOf(failure);
    const fix = code === 'EACCES' ? 'let the user that runs this enter the folder' : AGENT;
    return [fail(`${path} cannot be seen`, code, fix)];
  }
  const code = await reach(whereOf(endpoint), patience, clock);
  if (code === undefined) return [ok(`${text} answers`)];
  const [what, fix] = REFUSALS[code] ?? ['it cannot be reached', AGENT];
  return [fail(`${text}: ${what}`, code, fix)];
}

const UNKNOWN = fail(
  'the address of the Workload API is not known or malformed',
  'neither the configuration nor SPIFFE_ENDPOINT_SOCKET names a good one',
  'set identity.workloadApi to unix:///path/of/the/socket',
);

const REFUSALS: Readonly<Record<string, readonly [string, string]>> = Object.freeze({
  EACCES: ['it may not be opened', 'give the user that runs this write permission on the socket'],
  ECONNREFUSED: ['it is there, and nobody serves it', AGENT],
});

function whereOf({ path, text }: Endpoint): NetConnectOpts {
  if (path !== undefined) return { path };
  const { hostname, port } = new URL(text);
  return { host: hostname.replace(/[[\]]/g, ''), port: Number(port) };
}

/** Which SVID we get, how long it lives, and whose authorities come with it. */
export async function checkIdentity(patient: Patient): Promise<readonly Verdict[]> {
  const { endpoint, config, patience, clock } = patient;
  if (endpoint === undefined) return [UNKNOWN];
  await using source = startIdentity({
    endpoint: endpoint.text,
    select: config?.sidecar.identity.select ?? {},
    clock,
    onNote: () => {},
  });
  const limit = new AbortController();
  const giveUp = clock.after(
    patience,
    () => limit.abort(new Fault('timeout', 'no SVID came in time')),
    true,
  );
  try {
    const identity = await source.firstUpdate(limit.signal);
    return [...judgeSvid(identity, patient), ...judgeBundles(identity, patient)];
  } catch {
    const state = source.states.get();
    const why =
      (state?.kind === 'current' ? undefined : state?.problem) ?? `no answer within ${patience} ms`;
    const fix =
      'compare the registration entry with this process (user, path, container) and ' +
      'identity.select with the entry';
    return [fail('there is no SVID for us', why, fix)];
  } finally {
    giveUp();
  }
}

/** SPIRE renews at half of the lifetime: less than this share left means that it does not. */
const RENEWAL = 1 / 3;

function judgeSvid({ svid, svids }: Identity, { config, clock }: Patient): readonly Verdict[] {
  const left = svid.notAfter - clock.now();
  const until = new Date(svid.notAfter).toISOString();
  const verdicts = [
    left < (svid.notAfter - svid.notBefore) * RENEWAL
      ? warn(
          `the SVID ${svid.id} has ${seconds(left)} left, until ${until}`,
          'renewal is due at half of its life',
          'look at the log of the SPIRE agent: can it reach its server?',
        )
      : ok(`SVID ${svid.id}, serial ${svid.serial}, valid until ${until}`),
  ];
  const { spiffeId, hint } = config?.sidecar.identity.select ?? {};
  if (svids.length > 1 && spiffeId === undefined && hint === undefined) {
    const others = svids.map(({ id }) => id).join(', ');
    verdicts.push(
      warn(
        `the first of ${svids.length} SVIDs is used`,
        `issued are ${others}, and their order may change`,
        'write identity.select',
      ),
    );
  }
  return verdicts;
}

function judgeBundles({ svid, bundles }: Identity, { config, clock }: Patient): readonly Verdict[] {
  const wanted = new Map([[trustDomainOf(svid.id), 'our own SVID']]);
  for (const { name, tls } of config?.policy.destinations ?? []) {
    for (const { trustDomain } of tls.peers)
      if (!wanted.has(trustDomain)) wanted.set(trustDomain, `destination ${name}`);
  }
  return [...wanted].map(([trustDomain, by]) => {
    const anchors = bundles.get(trustDomain)?.anchors ?? [];
    const live = anchors.filter((one) => one.validToDate.getTime() > clock.now());
    if (live.length > 0)
      return ok(`bundle of ${trustDomain}: ${counted(live.length, 'authority', 'authorities')}`);
    return fail(
      `there is no usable bundle of ${trustDomain}, which ${by} needs`,
      anchors.length === 0 ? 'the Workload API gives none' : 'all of its authorities have expired',
      'federate the trust domains: federatesWith of the registration entry',
    );
  });
}

/**
 * The newest SVID as it was sent, since one that is not valid by our clock is never used and so
 * never seen elsewhere.
 */
export async function checkClock({
  endpoint,
  patience,
  clock,
}: Patient): Promise<readonly Verdict[]> {
  const limit = new AbortController();
  const giveUp = clock.after(
    patience,
    () => limit.abort(new Fault('timeout', 'no SVID came in time')),
    true,
  );
  const leaf = endpoint && (await newestLeaf(endpoint, limit.signal).catch(() => undefined));
  giveUp();
  if (leaf !== undefined)
    return [judgeClock(clock.now(), leaf.validFromDate.getTime(), leaf.validToDate.getTime())];
  const fix = 'see the findings above, then run this again';
  return [warn('the clock cannot be compared with anything', 'there is no SVID', fix)];
}

async function newestLeaf(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<X509Certificate | undefined> {
  for await (const { svids } of workloadApi(endpoint).x509Svids(signal)) {
    return splitCertificates(
      svids[0]?.x509Svid ?? new Uint8Array(),
      'the X.509-SVID',
      'bad-svid',
    )[0];
  }
  return undefined;
}

function judgeClock(now: number, notBefore: number, notAfter: number): Verdict {
  const here = `it is ${new Date(now).toISOString()} here`;
  const fix =
    'set the clock by NTP, here and where SPIRE runs; a machine that slept must catch up first';
  if (now < notBefore) {
    const why = `the newest SVID is valid from ${new Date(notBefore).toISOString()}`;
    return fail(`the clock is at least ${seconds(notBefore - now)} slow: ${here}`, why, fix);
  }
  if (now >= notAfter) {
    const why =
      `the newest SVID was valid until ${new Date(notAfter).toISOString()}: the clock is ` +
      'fast, or the SPIRE agent has lost its server';
    return fail(`the newest SVID expired ${seconds(now - notAfter)} ago: ${here}`, why, fix);
  }
  return ok(`${here}, within the life of the newest SVID`);
}

function seconds(ms: number): string {
  return `${Math.max(1, Math.round(ms / 1000))} s`;
}
