/**
 * `spec` of a Sidecar document. A key of the design that is not built yet is named at the end and
 * refused.
 */
import { filePath } from '../../schema/file-path.ts';
import {
  choice,
  defaulted,
  flag,
  list,
  optional,
  record,
  refine,
  required,
} from '../../schema/decode.ts';
import { listenAddress, spiffeId, webhookUrl, workloadApi } from './addresses.ts';
import { agent } from './agents.ts';
import { audit } from './audit.ts';
import { UNSAFE_NON_LOOPBACK, task } from './common.ts';
import { intercept } from './intercept.ts';
import { listeners } from './listeners.ts';
import { dataClass, duration, folder, hint, socket } from './scalars.ts';
import { via } from './via.ts';

const select = refine(
  record({
    hint: optional(hint, 'The hint that the Workload API gives with the SVID.'),
    spiffeId: optional(spiffeId, 'The SPIFFE ID itself.'),
  }),
  ({ hint: byHint, spiffeId: byId }) => {
    if (byHint !== undefined && byId !== undefined)
      return { message: 'both hint and spiffeId are there', fix: 'keep one' };
    return { value: Object.freeze({ hint: byHint, spiffeId: byId }) };
  },
);

export const sidecarSpec = record(
  {
    identity: defaulted(
      record({
        workloadApi: optional(
          workloadApi,
          'Address of the Workload API. Without it $SPIFFE_ENDPOINT_SOCKET is used; there ' +
            'is no other default.',
        ),
        select: defaulted(
          select,
          {},
          'Which SVID to act as when there are several; the first one otherwise.',
        ),
        initialSync: defaulted(
          duration('90s'),
          '90s',
          'How long the first SVID may take before the wait is reported as a problem; ' +
            'trying goes on.',
        ),
        onFinal: defaulted(
          choice(['exit', 'wait']),
          'exit',
          'What happens when the Workload API answers InvalidArgument, after which it is ' +
            'not asked again: exit drains and ends with status 78, so that whoever starts it ' +
            'starts it again. wait turns /readyz to 503 and serves until the SVID expires.',
        ),
      }),
      {},
      'Where the identity comes from.',
    ),
    forward: optional(
      record({
        address: required(
          listenAddress,
          'Where the forward proxy listens: HTTP_PROXY and HTTPS_PROXY of the agent.',
        ),
        unsafeNonLoopback: defaulted(flag(), false, UNSAFE_NON_LOOPBACK),
      }),
      'The forward proxy; none without it.',
    ),
    intercept,
    adminApi: optional(
      record({
        socket: required(
          socket,
          'Its folder is made with mode 0700, the socket with 0600. Never mount it for the agent.',
        ),
      }),
      "The operator's door: see, approve and revoke tasks, quit. None without it.",
    ),
    agentApi: optional(
      record({
        socket: required(
          socket,
          'Mount its folder for the agent, and never that of adminApi. The sockets of ' +
            'tasks are beside it, in a folder of the same name with `.d` behind it.',
        ),
        mode: defaulted(
          choice(['0600', '0660', '0666']),
          '0660',
          'Who may use it: the user of the sidecar, its group too, or everybody who ' +
            'reaches the folder.',
        ),
        tcp: optional(
          record({
            address: required(listenAddress, 'A loopback address.'),
            tokenFile: required(
              filePath,
              'Holds what callers send as `chaperone-token`: 32 characters or more.',
            ),
          }),
          'For agents that cannot use a Unix socket.',
        ),
      }),
      "The agent's door: open tasks, see and end its own, ask for step-ups. None without " +
        'it, and then nobody can open a task but the operator. The short form of `agents` ' +
        'for one agent, which has the name of this document.',
    ),
    agents: optional(
      list(agent, { least: 1, most: 64, unique: (one) => one.name }),
      'Agents that are told apart, in place of `agentApi`: each reaches its own folder ' +
        'alone. What comes by a TCP port is nobody’s until it shows the ' +
        'credentials of a task.',
    ),
    stateDir: optional(
      folder,
      'Where the sidecar keeps what it must know after a restart: that it has run before, ' +
        'and what was counted against quotas. A folder of the sidecar alone, which lives as ' +
        'long as the agent does (an emptyDir of the pod); made with mode 0700. Without it ' +
        'the folder of `adminApi.socket`. Rules over the history of tasks, and quotas, do ' +
        'not load without either.',
    ),
    tasks: defaulted(
      record({
        webhook: optional(
          record({
            url: required(
              webhookUrl,
              'Is asked for each step-up that a webhook may approve: https, or http to a ' +
                'loopback address.',
            ),
            secretFile: required(
              filePath,
              'Signs the question and proves the answer (HMAC-SHA256): 32 characters or more.',
            ),
            timeout: defaulted(
              duration('30s'),
              '30s',
              'How long an answer may take; then the step-up stays open for others.',
            ),
          }),
          'Somebody outside who approves step-ups.',
        ),
      }),
      {},
      'Settings of tasks. What they may be granted is in TaskPolicy documents.',
    ),
    health: optional(
      record({ address: required(listenAddress, 'May be any address: the pages are read-only.') }),
      'livez, readyz and metrics; none without it.',
    ),
    audit,
    defaults: defaulted(
      record({
        task: defaulted(
          task,
          'required',
          'For destinations that do not say. Requests without a task are allowed only by ' +
            'the word optional, here or there.',
        ),
        via: optional(
          via,
          'The HTTP proxy through which destinations are reached that do not say: see ' +
            '[corporate-proxy.md](../corporate-proxy.md).',
        ),
        unlisted: defaulted(
          choice(['deny', 'report']),
          'deny',
          'Hosts that no destination has are refused either way; report marks the records.',
        ),
      }),
      {},
      'What holds where a destination says nothing.',
    ),
    dataClasses: defaulted(
      list(dataClass, { least: 1, most: 32, unique: String }),
      ['public', 'internal', 'confidential', 'restricted'],
      'How sensitive data can be, lowest first.',
    ),
    listeners,
    maxStale: defaulted(
      duration('10m'),
      '10m',
      'The newest configuration may be refused, or unreadable, for so long before /readyz ' +
        'says so; the last good one stays in force.',
    ),
    resolver: defaulted(
      choice(['dns', 'system']),
      'dns',
      'Who resolves names. dns: this process, by /etc/hosts and /etc/resolv.conf for names ' +
        'that the documents write, and as they stand for those that agents ask for. system: ' +
        'the C library with all that nsswitch.conf names, in a child process.',
    ),
    drain: defaulted(
      duration('30s'),
      '30s',
      'What is under way at SIGTERM has this long to finish.',
    ),
    log: defaulted(
      record({
        level: defaulted(
          choice(['debug', 'info', 'warn', 'error']),
          'info',
          'Least severe lines that are written.',
        ),
      }),
      {},
      'The operational log on standard error; it is no evidence.',
    ),
  },
  ['inbound', 'federation', 'console', 'tracing'],
);
