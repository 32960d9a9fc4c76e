/** What does not load. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const CHECKS = 'lib/config/checks/tls.ts';

const STALE = by(
  'test/scenarios/takes-the-newest-policy-once-what-was-in-its-way-is-gone.test.ts',
  'takes the newest policy once what was in its way is gone, and says that it has not when that takes long',
);

export const CONFIG: readonly Sabotage[] = [
  sabotage(
    'a load that failed is tried again',
    'cmd/compose/staleness.ts',
    ['notAgain = clock.after(delay.next(), again);', 'notAgain = clock.after(86_400_000, again);'],
    STALE,
  ),
  sabotage(
    'what is named as a file and is none is not read',
    'lib/base/read-file.ts',
    ['!found.isFile() && !(pipes && found.isFIFO())', '!found.isFile() && path.length === 0'],
    by(
      'test/config/load.test.ts',
      'what is in a folder and is no file is a problem, and holds nothing up',
    ),
  ),
  sabotage(
    'a configuration that is not in force for long is no readiness',
    'cmd/compose/staleness.ts',
    ['ready.undone(`the newest', 'why.concat(`the newest'],
    STALE,
  ),
  sabotage(
    'mtls without peers does not load',
    CHECKS,
    [
      "tls.mode === 'mtls' && tls.peers === undefined,",
      "tls.mode === 'web' && tls.peers !== undefined,",
    ],
    by('test/config/checks.test.ts', 'mtls-needs-peers: tls: { mode: mtls }'),
  ),
  sabotage(
    'a bearer token is never sent in the clear',
    CHECKS,
    ['spec.credentials !== undefined && (!isOf', 'spec.credentials === null && (!isOf'],
    by(
      'test/config/checks.test.ts',
      'credentials-need-tls: tls: { mode: plaintext, insecure: true } credentials: { jwtSvid: { audience: crm } }',
    ),
  ),
  sabotage(
    'unknown keys are refused',
    'lib/schema/decode.ts',
    ['if (names.includes(key)) continue;', 'if (key !== "") continue;'],
    by('test/config/load.test.ts', 'every problem is named, with place, key, problem and fix'),
  ),
  sabotage(
    'hosts that tie do not load',
    'lib/policy/decision/lookup.ts',
    ['if (other !== undefined) ties.push(', 'if (other === null) ties.push('],
    by(
      'test/policy/lookup.test.ts',
      'two destinations that claim the same pattern and port tie; other ports do not',
    ),
  ),
  sabotage(
    'the admin socket is for its owner alone',
    'lib/api/admin.ts',
    ['if ((mode & 0o077) !== 0) {', 'if (mode < 0) {'],
    by('test/api/admin.test.ts', 'a folder that others may enter is refused'),
  ),
];
