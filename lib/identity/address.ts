/**
 * Where the Workload API is (SPIFFE_Workload_Endpoint.md section 4): `unix:///path` or
 * `tcp://<IP>:<port>` and nothing else. There is no default: with neither configuration nor
 * SPIFFE_ENDPOINT_SOCKET the answer is an error that names the variable.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { Fault } from '../base/fault.ts';
import { quoted } from '../spiffe/trust-domain.ts';

export interface Endpoint {
  /** What grpc-js dials. */
  readonly target: string;
  /** As it was written. */
  readonly text: string;
  /** The socket's path; undefined for tcp. */
  readonly path: string | undefined;
}

const ENDPOINT_VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';

const EXAMPLE = 'write unix:///run/spire/agent-sockets/api.sock';

/**
 * Bytes of a socket address without its closing zero (unix(7)); the engine cuts longer ones short.
 */
const MAX_SOCKET_PATH = process.platform === 'linux' ? 107 : 103;

function refuse(text: string, problem: string, hint: string = EXAMPLE): never {
  throw new Fault(
    'workload-api-address',
    `${quoted(text)} is not the address of a Workload API: ${problem}`,
    { hint },
  );
}

function unixPath(text: string): string {
  const rest = text.slice('unix:'.length);
  const hierarchical = rest.startsWith('//');
  const raw = hierarchical ? rest.slice(2) : rest;
  if (/[?#]/.test(raw)) refuse(text, 'it has a query or a fragment');
  if (raw === '') refuse(text, 'it has no path');
  if (hierarchical && !raw.startsWith('/')) {
    const meant = raw.includes('@')
      ? EXAMPLE
      : `did you mean unix:///${raw}? after unix: there are three slashes or one`;
    refuse(
      text,
      `${quoted(raw.split('/')[0] ?? '')} stands where a host would; a socket has none`,
      meant,
    );
  }
  if (!raw.startsWith('/')) refuse(text, 'the path is not absolute');
  if (raw.startsWith('//') || raw.endsWith('/')) refuse(text, 'the path does not name a file');
  const path = percentDecoded(text, raw);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    refuse(
      text,
      `the path is longer than the ${MAX_SOCKET_PATH} bytes of a socket address`,
      'use a shorter folder',
    );
  }
  return path;
}

function percentDecoded(text: string, raw: string): string {
  try {
    const path = decodeURIComponent(raw);
    if (!path.includes('\0')) return path;
  } catch {
    return refuse(text, 'it has a broken percent escape');
  }
  return refuse(text, 'the path holds a zero byte');
}

function tcpTarget(text: string): string {
  const found = /^tcp:\/\/(?:\[([^\]]*)\]|([^:[\]/?#@]*)):([0-9]{1,5})$/.exec(text);
  const hint = 'write an IP address and a port, tcp://127.0.0.1:8081';
  if (found === null) refuse(text, 'tcp takes an IP address and a port, and nothing else', hint);
  const [, six, four = '', port = ''] = found;
  if (String(Number(port)) !== port || Number(port) < 1 || Number(port) > 65_535) {
    refuse(text, `${port} is not a port`, hint);
  }
  if (six !== undefined && isIPv6(six) && !six.includes('%')) return `ipv6:[${six}]:${port}`;
  if (six === undefined && isIPv4(four)) return `ipv4:${four}:${port}`;
  return refuse(text, `${quoted(six ?? four)} is not an IP address`, hint);
}

/** @throws Fault `workload-api-address` */
export function parseEndpoint(text: string): Endpoint {
  if (!/^[\x21-\x7e]+$/.test(text)) {
    refuse(
      text,
      text === '' ? 'it is empty' : 'it has a space, a control character or one that is not ASCII',
    );
  }
  if (text.startsWith('unix:')) {
    const path = unixPath(text);
    return Object.freeze({ text, path, target: `unix:${path}` });
  }
  if (text.startsWith('tcp:'))
    return Object.freeze({ text, path: undefined, target: tcpTarget(text) });
  return refuse(
    text,
    'it begins with neither unix: nor tcp:',
    text.startsWith('/') ? `write unix://${text}` : EXAMPLE,
  );
}

/**
 * The configured address, else the one of SPIFFE_ENDPOINT_SOCKET.
 * @throws Fault `workload-api-address`, also when there is neither
 */
export function endpointFrom(
  configured: string | undefined,
  env: Readonly<NodeJS.ProcessEnv>,
): Endpoint {
  if (configured !== undefined) return parseEndpoint(configured);
  const text = env[ENDPOINT_VARIABLE];
  if (text === undefined || text === '') {
    throw new Fault('workload-api-address', 'the address of the Workload API is not known', {
      hint:
        `set identity.workloadApi, or the variable ${ENDPOINT_VARIABLE}, to ` +
        'unix:///path/of/the/socket',
    });
  }
  try {
    return parseEndpoint(text);
  } catch (failure) {
    const { message, hint } = Fault.from(failure, 'workload-api-address');
    throw new Fault('workload-api-address', message, {
      at: ENDPOINT_VARIABLE,
      ...(hint !== undefined && { hint }),
    });
  }
}
