/**
 * `chaperone svid show|watch`: what the Workload API gives whoever runs this. Prints identifiers
 * and dates, never a key.
 */
import { systemClock } from '../../lib/base/clock.ts';
import { endpointFrom } from '../../lib/identity/address.ts';
import { startIdentity } from '../../lib/identity/source.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { firstSvid } from '../first-svid.ts';
import type { Io } from '../io.ts';
import { counted } from '../table.ts';
import { processSignals } from '../signals.ts';

export interface SvidOptions {
  readonly workloadApi?: string;
  readonly timeout: string;
  readonly json?: boolean;
}

export async function svid(what: 'show' | 'watch', options: SvidOptions, io: Io): Promise<void> {
  const endpoint = endpointFrom(options.workloadApi, io.env);
  await using source = startIdentity({
    endpoint: endpoint.text,
    select: {},
    clock: systemClock,
    onNote: ({ level, stream, text }) => io.err(`${level}: ${stream}: ${text}`),
  });
  const print = (identity: Identity): void =>
    io.out(options.json === true ? asJson(identity) : asText(identity, io));
  print(await firstSvid(source, options.timeout, new AbortController().signal));
  if (what === 'watch') await watch(source.states, print, io);
}

async function watch(
  states: { follow(act: (state: IdentityState) => void, signal: AbortSignal): void },
  print: (identity: Identity) => void,
  io: Io,
): Promise<void> {
  const stop = new AbortController();
  let seen = 1;
  states.follow((state) => {
    if (state.kind === 'withdrawn') io.out(`withdrawn: ${state.problem}`);
    if (state.kind !== 'current' || state.identity.generation === seen) return;
    seen = state.identity.generation;
    print(state.identity);
  }, stop.signal);
  using signals = processSignals(() => {});
  await signals.stop;
  stop.abort();
}

function asJson({ generation, svids, bundles }: Identity): string {
  return JSON.stringify({
    generation,
    svids: svids.map(({ id, hint, serial, notBefore, notAfter }) => ({
      spiffeId: id,
      hint,
      serial,
      notBefore: new Date(notBefore).toISOString(),
      notAfter: new Date(notAfter).toISOString(),
    })),
    bundles: [...bundles.values()].map(({ trustDomain, anchors }) => ({
      trustDomain,
      authorities: anchors.length,
    })),
  });
}

function asText({ generation, svid: used, svids, bundles }: Identity, { style }: Io): string {
  const lines = [`generation ${generation}`];
  for (const { id, hint, serial, notAfter } of svids) {
    const mark = id === used.id ? style.bold(id) : id;
    lines.push(`  ${mark}${hint === '' ? '' : ` (hint ${hint})`}`);
    lines.push(`    serial ${serial}, valid until ${new Date(notAfter).toISOString()}`);
  }
  for (const { trustDomain, anchors } of bundles.values()) {
    lines.push(
      `  trust bundle ${trustDomain}: ${counted(anchors.length, 'authority', 'authorities')}`,
    );
  }
  return lines.join('\n');
}
