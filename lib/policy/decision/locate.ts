/** Which destination an exchange is for: the listener's own, or the most specific one. */
import { formatAuthority } from '../../net/authority.ts';
import { quote } from '../../net/host.ts';
import type { Facts } from '../model/facts.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Destination } from '../protocols/index.ts';
import type { Policy } from './policy.ts';

/** A destination, or why there is none to go to; the verdict may name the one that was meant. */
export type Located =
  | { readonly destination: Destination; readonly verdict?: undefined }
  | { readonly destination: Destination | undefined; readonly verdict: Verdict };

export function locate(policy: Policy, facts: Facts): Located {
  const { host, port, listener } = facts;
  const found = policy.find(host, port);
  if (listener === undefined)
    return found === undefined
      ? { destination: undefined, verdict: unlisted(policy, facts) }
      : { destination: found };
  const own = policy.byName.get(listener);
  if (own === undefined) {
    const reason = `destination ${quote(listener)} of this listener is no longer in the policy`;
    return { destination: undefined, verdict: { code: 'unlisted', reason } };
  }
  if (found === own) return { destination: own };
  const reason =
    `the local listener of destination ${own.name} was asked for ` +
    `${formatAuthority(host, port)}, which is not that destination`;
  const hint = `ask it for ${hostsInWords(own)}`;
  return { destination: own, verdict: { code: 'misdirected', reason, hint } };
}

function hostsInWords({ hosts, ports }: Destination): string {
  return `${hosts.map(({ text }) => text).join(' or ')}, port ${ports.join(' or ')}`;
}

function unlisted(policy: Policy, { host, port }: Facts): Verdict {
  const reason = `no destination has ${formatAuthority(host, port)}`;
  const ports = policy.portsOf(host);
  const hint =
    ports.length > 0
      ? `${host} is listed for port ${ports.slice(0, 8).join(', ')}: use that, or add port ` +
        `${port} to its destination`
      : 'add a Destination document with this host and port if the agent may go there';
  return { code: policy.unlisted === 'report' ? 'unlisted-reported' : 'unlisted', reason, hint };
}
