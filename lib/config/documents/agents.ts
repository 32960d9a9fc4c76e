/** One of `agents` of a Sidecar document. */
import { Fault } from '../../base/fault.ts';
import { UNKNOWN } from '../../policy/model/agent.ts';
import {
  choice,
  defaulted,
  list,
  optional,
  record,
  refine,
  required,
  text,
} from '../../schema/decode.ts';
import { spiffeId } from './addresses.ts';
import { absoluteFolder, hint, name } from './scalars.ts';

const GROUP = /^(?:\d{1,10}|[a-z_][a-z0-9_.-]{0,31})$/;

const group = text({
  is: 'a group',
  example: 'researcher',
  grammar: GROUP,
  parse(value) {
    if (GROUP.test(value)) return value;
    const fix = 'write its name as /etc/group has it, or its number in quotes';
    throw new Fault('config', `${JSON.stringify(value.slice(0, 80))} is not a group`, {
      hint: fix,
    });
  },
});

const identity = refine(
  record({
    hint: optional(hint, 'The hint that the Workload API gives with the SVID.'),
    spiffeId: optional(spiffeId, 'The SPIFFE ID itself.'),
  }),
  ({ hint: byHint, spiffeId: byId }) =>
    (byHint === undefined) === (byId === undefined)
      ? { message: 'an agent goes out with one SVID', fix: 'write hint or spiffeId' }
      : { value: Object.freeze({ hint: byHint, spiffeId: byId }) },
);

export const agent = refine(
  record({
    name: required(name, 'Stands in records, metrics and tasks, and in `agents` of a TaskPolicy.'),
    folder: required(
      absoluteFolder,
      'Belongs to this agent alone: `api.sock` (the agent API), `forward.sock` (the ' +
        'forward proxy) and the sockets of its tasks lie there. It is made with mode 0750; ' +
        'what is there must belong to the sidecar and be closed to others. Mount it into the ' +
        'container of this agent and into no other.',
    ),
    group: optional(
      group,
      'Group of the folder and of what is in it, by name or number: that of the user the ' +
        'agent runs as. The group of the sidecar without it.',
    ),
    mode: defaulted(
      choice(['0600', '0660']),
      '0660',
      'Of the sockets: the user of the sidecar alone (the folder is 0700 then), or the group too.',
    ),
    purposes: optional(
      list(name, { least: 1, most: 1000, unique: String }),
      'Purposes it may open tasks for; without it those of every TaskPolicy whose `agents` let it.',
    ),
    identity: optional(
      identity,
      'Which of the SVIDs that the Workload API gives this agent goes out with. Where it ' +
        'is not issued, what needs an identity is refused: another is never used in its ' +
        'place. All agents have one, or none has.',
    ),
  }),
  (one) =>
    one.name === UNKNOWN
      ? { message: `${UNKNOWN} stands for what is nobody's`, fix: 'choose another name' }
      : { value: one },
);
