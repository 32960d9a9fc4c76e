/** `audit` of a Sidecar document: where evidence is written. */
import { choice, defaulted, integer, record } from '../../schema/decode.ts';
import { duration, rate } from './scalars.ts';
import { sinks } from './sinks.ts';

export const audit = defaulted(
  record({
    sinks: defaulted(sinks, [{ stdout: true }], 'Every record goes to all of them.'),
    timeout: defaulted(
      duration('5s'),
      '5s',
      'How long a sink may take for records. One that is slower has failed: see ' +
        'onFailure. Records are written again once it has taken those before.',
    ),
    onFailure: defaulted(
      choice(['deny', 'continue']),
      'deny',
      'deny: a request whose `decided` record cannot be written is refused. continue: ' +
        'it goes on, and the failure is counted.',
    ),
    refusals: defaulted(
      record({
        rate: defaulted(rate, '10/s', 'How often refusals of one agent have records of their own.'),
        burst: defaulted(integer(1, 1_000_000), 500, 'How many at once.'),
      }),
      {},
      'Refusals over this rate, of each agent and of what is nobody’s, are counted ' +
        'into one `refusals` record every ten seconds: nobody fills the sinks with what ' +
        'was not allowed.',
    ),
  }),
  {},
  'Where evidence goes.',
);
