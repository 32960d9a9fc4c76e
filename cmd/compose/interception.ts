/**
 * The interception authority put together, where the configuration asks for one: its code is loaded
 * here and nowhere else, so that it costs nothing where it is off.
 */
import type { X509Certificate } from 'node:crypto';
import { Fault } from '../../lib/base/fault.ts';
import type { InterceptSpec } from '../../lib/config/load/compile-sidecar.ts';
import type { Interception } from '../../lib/interception/authority.ts';
import type { Parts } from './parts.ts';

/** Throws a Fault `intercept-ca` or `trust-files`. */
export async function startInterception(
  spec: InterceptSpec | undefined,
  { clock, log, recordEvent }: Parts,
): Promise<Interception | undefined> {
  if (spec === undefined) return undefined;
  const { openInterception } = await import('../../lib/interception/authority.ts');
  const { domains, refusals, caFolder: folder, trustFolder } = spec;
  const authority = await openInterception({ domains, folder, clock, refusals });
  if (authority.kept === 'disk') {
    const hint = 'mount a tmpfs there';
    log.log(
      'warn',
      'intercept',
      `the key of the interception CA is on a disk (${folder}) and outlives this pod`,
      {
        hint,
      },
    );
  }
  const publish = async (certificate: X509Certificate): Promise<void> => {
    if (trustFolder === undefined) return;
    const { writeTrust } = await import('../../lib/interception/trust.ts');
    await writeTrust(trustFolder, certificate);
  };
  const announce = ({ fingerprint256, validToDate }: X509Certificate): void =>
    recordEvent('interception-authority', {
      fingerprint: fingerprint256,
      notAfter: validToDate.toISOString(),
      domains: domains.join(' '),
      key: authority.kept,
    });
  authority.onRenewed((certificate) => {
    announce(certificate);
    publish(certificate).catch((failure: unknown) =>
      log.log('error', 'intercept', Fault.from(failure, 'trust-files').describe()),
    );
  });
  await publish(authority.authority());
  announce(authority.authority());
  return authority;
}
