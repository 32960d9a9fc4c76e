/**
 * `spec` of a Sidecar document. A key of the design that is not built yet is named at the end and
 * refused.
 */
import { agent } from './agents.ts';
import {
  choice,
  defaulted,
  flag,
  integer,
  list,
  optional,
  record,
  refine,
  required,
} from '../../schema/decode.ts';
import {
  dataClass,
  dnsDomain,
  duration,
  folder,
  hint,
  listenAddress,
  rate,
  size,
  socket,
  spiffeId,
  webhookUrl,
  workloadApi,
} from './scalars.ts';
import { filePath } from '../../schema/file-path.ts';
import { sinks } from './sinks.ts';
import { task, UNSAFE_NON_LOOPBACK } from './common.ts';
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
    intercept: optional(
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
    ),
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
    audit: defaulted(
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
            rate: defaulted(
              rate,
              '10/s',
              'How often refusals of one agent have records of their own.',
            ),
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
    ),
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
    listeners: defaulted(
      record({
        headersTimeout: defaulted(
          duration('10s'),
          '10s',
          'A request head that is not complete after this is refused with 408.',
        ),
        idleTimeout: defaulted(
          duration('75s'),
          '75s',
          'A connection of the agent without a request is closed after this.',
        ),
        maxConnections: defaulted(
          integer(1, 1_000_000),
          4096,
          'Connections of each agent at one time, over all listeners, and as many of what ' +
            'nobody has proved to be an agent’s; more are closed at once. Fewer where the ' +
            'limit of open files is too low for that.',
        ),
        maxHead: defaulted(
          size('32KiB', 1024, 131_072),
          '32KiB',
          'A longer request head is refused with 431, of an upstream with 502. At most ' +
            '128KiB. What follows it below is raised with it.',
        ),
        maxField: optional(
          size('16KiB', 256, 131_072),
          'A longer field line, such as a large token or cookie, is refused in the same ' +
            'way. Without it: half of `maxHead`.',
        ),
        maxFields: defaulted(
          integer(8, 1000),
          128,
          'More fields in one head are refused in the same way.',
        ),
        maxTarget: optional(
          size('8KiB', 256, 65_536),
          'A longer request target is refused with 414, and so is a path of more than half ' +
            'of it. Without it: a quarter of `maxHead`.',
        ),
        bodyTimeout: defaulted(
          duration('30s'),
          '30s',
          'A request body that is read before its request is judged (MCP) and pauses so ' +
            'long is refused with 408. Other bodies: `timeouts.idle` of the destination.',
        ),
        writeTimeout: defaulted(
          duration('60s'),
          '60s',
          'An agent or an upstream that takes nothing of what is sent to it for so ' +
            'long is cut off.',
        ),
        connectionMaxAge: defaulted(
          duration('10m'),
          '10m',
          'A pooled connection to an upstream that is older is not used again.',
        ),
        connectionIdle: defaulted(
          duration('60s'),
          '60s',
          'A pooled connection to an upstream that is not used for so long is closed.',
        ),
      }),
      {},
      'Limits of all listeners that the agent reaches, and of connections that are kept.',
    ),
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
