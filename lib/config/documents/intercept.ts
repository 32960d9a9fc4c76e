/** `intercept` of a Sidecar document: which names the interception CA may vouch for. */
import { choice, defaulted, list, optional, record, required } from '../../schema/decode.ts';
import { dnsDomain } from './addresses.ts';
import { folder } from './scalars.ts';

export const intercept = optional(
  record({
    domains: required(
      list(dnsDomain, { least: 1, most: 100, unique: String }),
      'Names that may be stood in for, each with all below it. The CA can vouch for ' +
        'nothing else: they are its critical name constraints.',
    ),
    ca: defaulted(
      record({
        folder: optional(
          folder,
          'Where the key of the CA is kept, so that a sidecar that starts again breaks ' +
            'no running program: a tmpfs of the sidecar alone, never mounted where the ' +
            'agent runs. It is made with mode 0700 and refused when it is open to ' +
            'others. Without it the key is in memory.',
        ),
      }),
      {},
      'The CA of this sidecar. Its certificate lasts 90 days and is renewed at half of ' +
        'that; those it issues last 24 hours at most.',
    ),
    trust: optional(
      record({
        folder: required(
          folder,
          'At the start and at each renewal ca.pem, bundle.pem (the roots of the ' +
            'system and ours) and truststore.p12 are written there, readable to all; no ' +
            'key. Mount it where the agent runs, and set the variables that `chaperone ' +
            'trust` prints.',
        ),
      }),
      'What programs need to trust the CA, written by the sidecar. Without it: ' +
        '`chaperone trust`.',
    ),
    refusals: defaulted(
      choice(['inside', 'connect']),
      'inside',
      'Where a CONNECT to one of the domains that policy denies is told why. inside: ' +
        'TLS is set up with a certificate for that host and the first request is ' +
        'answered with the refusal, because most clients hide the answer to a CONNECT. ' +
        'connect: the CONNECT is answered. What is not decided by policy is always told ' +
        'at the CONNECT.',
    ),
  }),
  'Ending the TLS of the agent inside CONNECT tunnels, for destinations that say ' +
    '`tls.intercept: true`. Off without it.',
);
